"""Programs of others, unmodified, on virtual hosts: servers on one stack, clients on another.

Two stacks joined by a wire in memory. A server runs in a thread of its own, on an event loop that
knows its stack (pystack.aio.install) or within pystack.patch; a client runs in the test.
"""

from __future__ import annotations

import asyncio
import functools
import hashlib
import importlib.util
import ssl
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from concurrent.futures import Future
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest
from effort import some

import pystack
from pystack import PipeDevice, aio

HERE = Path(__file__).parent
PEM = HERE.parent / "scenario/aio/server.pem"  # server.test, 10.1.0.5; its own authority
PATIENCE = 60  # seconds until what should end counts as hanging

NEAR = ("10.1.0.0/24", "fd01::/64")
FAR = ("10.2.0.0/24", "fd02::/64")
NAMES = {"server.test": "10.1.0.5", "six.test": "fd01::5"}

BIG = some(32) << 20
PIECE = bytes(range(256)) * 256


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What others deprecate among themselves is not ours to fail for."""
    for item in items:
        if HERE in item.path.parents:
            for kind in ("DeprecationWarning", "PendingDeprecationWarning"):
                item.add_marker(pytest.mark.filterwarnings(f"ignore::{kind}"))


def pytest_runtest_setup(item: pytest.Item) -> None:
    for mark in item.iter_markers("needs"):
        for name in mark.args:
            if importlib.util.find_spec(name) is None:
                pytest.skip(f"{name} is not installed: pip install '.[integration]'")


def contexts() -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Of a server, and of a client that trusts it."""
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(PEM)
    return server, ssl.create_default_context(cafile=PEM)


def big() -> Iterator[bytes]:
    """The file that is sent."""
    for _ in range(BIG // len(PIECE)):
        yield PIECE


@functools.cache
def big_sum() -> str:
    found = hashlib.sha256()
    for piece in big():
        found.update(piece)
    return found.hexdigest()


class Wire:
    """The two ends of a wire; a stack at each is made by what runs there."""

    def __init__(self) -> None:
        self.near, self.far = PipeDevice.pair()

    @contextmanager
    def serving(
        self, program: Callable[[], AbstractAsyncContextManager[Any]], patched: bool = False
    ) -> Iterator[None]:
        """A program for asyncio at the near end, on an event loop that also turns the stack.

        patched: it makes its sockets itself, so that the loop is left as it is.
        """
        started: Future[Callable[[], None]] = Future()

        @asynccontextmanager
        async def stack() -> AsyncIterator[None]:
            if patched:
                with self.near_patched():
                    yield
                return
            async with aio.Stack(*NEAR, device=self.near) as one:
                with aio.install(asyncio.get_running_loop(), one, names=NAMES):
                    yield

        async def main() -> None:
            loop = asyncio.get_running_loop()
            ending = asyncio.Event()
            try:
                async with stack(), program():
                    started.set_result(lambda: loop.call_soon_threadsafe(ending.set) and None)
                    await ending.wait()
            except BaseException as problem:
                if started.done():
                    raise
                started.set_exception(problem)

        with in_thread(lambda: asyncio.run(main()), lambda: started.result()()):
            started.result(PATIENCE)
            yield

    @contextmanager
    def near_patched(self) -> Iterator[pystack.Stack]:
        """Blocking servers of the near end are to be made in this block."""
        with pystack.Stack(*NEAR, device=self.near) as stack, pystack.patch(stack, names=NAMES):
            yield stack

    @contextmanager
    def away(self) -> Iterator[pystack.Stack]:
        """Blocking clients at the far end, to whom the near end's addresses are reached there."""
        with (
            pystack.Stack(*FAR, device=self.far) as stack,
            pystack.patch(stack, routes=NEAR, names=NAMES),
        ):
            yield stack

    def ask(self, program: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
        """What a program for asyncio at the far end returns."""

        async def main() -> Any:
            loop = asyncio.get_running_loop()
            async with aio.Stack(*FAR, device=self.far) as stack:
                with aio.install(loop, stack, routes=NEAR, names=NAMES):
                    return await asyncio.wait_for(program(), PATIENCE)

        return asyncio.run(main())


@pytest.fixture
def wire(monkeypatch: pytest.MonkeyPatch) -> Wire:
    """Nothing around the test has a say in whom programs trust, or ask."""
    authorities = ("ssl_cert_file", "ssl_cert_dir", "requests_ca_bundle", "curl_ca_bundle")
    for name in ("http_proxy", "https_proxy", "all_proxy", *authorities):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    return Wire()


@contextmanager
def in_thread(run: Callable[[], object], end: Callable[[], object]) -> Iterator[None]:
    """A blocking server, while the block lasts."""
    done: Future[object] = Future()

    def main() -> None:
        try:
            done.set_result(run())
        except BaseException as problem:
            done.set_exception(problem)

    thread = threading.Thread(target=main, daemon=True)
    thread.start()
    try:
        yield
    finally:
        end()
        done.result(PATIENCE)
        thread.join()
