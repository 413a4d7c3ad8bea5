from collections.abc import Callable
from contextvars import Context

from typing_extensions import Buffer, Self

from pystack.engine.tcp import TcpHandle
from pystack.engine.watch import Watch, Watcher

class Stream(Watch):
    def __new__(
        cls,
        watcher: Watcher,
        handle: TcpHandle,
        callback: Callable[[int], object],
        context: Context,
    ) -> Self: ...
    @property
    def protocol(self) -> object: ...
    def hand_over(
        self, protocol: object, failed: Callable[[str, BaseException], object]
    ) -> None: ...
    def write(self, data: Buffer) -> int: ...
