"""TLS on sockets of a stack: what ssl.SSLContext.wrap_socket makes of them.

Called by: teach, which lets ssl know of it; patching.
RFCs: 8446 section 5.1 (the length of a record); the documentation of ssl is the reference.

An ssl.SSLSocket leaves reading and writing to OpenSSL, which needs a descriptor that carries data.
A stack's socket has none: here OpenSSL works in memory, and the records go through the socket.
"""

from __future__ import annotations

import errno
import socket
import ssl
from collections import deque
from collections.abc import Callable
from contextlib import contextmanager, suppress
from threading import Lock
from typing import TYPE_CHECKING, Any
from weakref import ref

from pystack.engine.tcp import TcpHandle
from pystack.socket import Socket

if TYPE_CHECKING:
    from collections.abc import Iterator

    from typing_extensions import Buffer

HEADER = 5  # bytes of a record, the last two of which are the length of the rest
SLICE = 1 << 18  # bytes that are encrypted at a time
SECOND = 1_000_000_000

kernels: Any = ssl.SSLContext.sslsocket_class


class Channel:
    """In the place of OpenSSL's object of an SSLSocket: the same calls, on a stack's connection.

    As OpenSSL does, it reads no more than the record that is asked for: what the socket has beyond
    it, select still sees.
    """

    def __init__(self, sock: Any, server_side: bool) -> None:
        self.owner = ref(sock)  # which is to be found by the garbage collector
        self.handle: TcpHandle = sock.handle
        self.incoming = ssl.MemoryBIO()
        self.outgoing = ssl.MemoryBIO()
        context: Any = sock.context
        self.inner = context._wrap_bio(
            self.incoming,
            self.outgoing,
            server_side,
            sock.server_hostname,
            owner=sock,
            session=sock._session,
        )
        self.lock = Lock()  # of all that OpenSSL does, and of what goes in and comes out
        self.receiving = Lock()
        self.sending = Lock()
        self.pending_out: deque[memoryview] = deque()
        self.owed = 0  # bytes of a write that has been encrypted, but not been sent in time
        self.filled = 0  # how often something has arrived
        self.header = b""
        self.missing = 0  # bytes of the record that has begun

    def __getattr__(self, name: str) -> Any:
        """What neither reads nor writes is OpenSSL's own: cipher, getpeercert, version, ..."""
        return getattr(self.inner, name)

    @property
    def context(self) -> Any:
        return self.inner.context

    @context.setter
    def context(self, value: Any) -> None:
        self.inner.context = value

    @property
    def session(self) -> Any:
        return self.inner.session

    @session.setter
    def session(self, value: Any) -> None:
        self.inner.session = value

    # The calls of an SSLSocket.

    def do_handshake(self) -> None:
        self.run("handshake", self.until(), self.inner.do_handshake)

    def read(self, length: int = 1024, *buffer: Buffer) -> Any:
        """It does not wait for room: its peer may be waiting for it to read."""
        return self.run("read", self.until(), self.inner.read, length, *buffer)

    def write(self, data: Buffer) -> int:
        """All of it, if it may wait; as OpenSSL's, a write that fails for now is to be repeated."""
        until = self.until()
        done = 0
        with memoryview(data) as whole, whole.cast("B") as view:
            if self.owed:
                if len(view) < self.owed:
                    raise ssl.SSLError(ssl.SSL_ERROR_SSL, "[SSL: BAD_WRITE_RETRY] bad write retry")
                self.flush("write", until)
                done, self.owed = self.owed, 0
            else:
                self.flush("write", until)
            while True:
                if done == len(view) and (done or view):
                    return done
                with view[done : done + SLICE] as piece:
                    count = self.encrypt(piece, until)
                try:
                    self.flush("write", until)
                except OSError:
                    self.owed = done + count
                    raise
                done += count
                if self.timeout == 0.0 or not view:
                    return done

    def encrypt(self, piece: memoryview, until: float | None) -> int:
        count: int = self.run("write", until, self.inner.write, piece, flush=False)
        return count

    def shutdown(self) -> Any:
        self.run("shutdown", self.until(), self.inner.shutdown)
        return self.owner()

    # How they wait.

    @property
    def timeout(self) -> float | None:
        owner = self.owner()
        return 0.0 if owner is None else owner.gettimeout()

    def until(self) -> float | None:
        """When a call that begins now gives up, in the stack's time; 0: it does not wait."""
        timeout = self.timeout
        if not timeout:
            return timeout
        return self.handle.clock() + timeout * SECOND

    def left(self, until: float | None) -> float | None:
        """Seconds until then."""
        if not until:
            return until
        return max((until - self.handle.clock()) / SECOND, 1e-9)

    @contextmanager
    def turn(self, lock: Lock, until: float | None) -> Iterator[bool]:
        """Hold a lock while another thread may hold it as long as it waits; False: it does."""
        left = self.left(until)
        got = (
            lock.acquire(timeout=-1 if left is None else min(left, 1e6))
            if left != 0
            else (lock.acquire(blocking=False))
        )
        try:
            yield got
        finally:
            if got:
                lock.release()

    def run(
        self,
        what: str,
        until: float | None,
        call: Callable[..., Any],
        *arguments: Any,
        flush: bool = True,
    ) -> Any:
        """Let OpenSSL do something, with all that it wants to send and to receive for it."""
        while True:
            filled = self.filled
            with self.lock:
                try:
                    result = call(*arguments)
                    want = None
                except ssl.SSLWantReadError as problem:
                    want = problem
                except ssl.SSLError:
                    self.collect()
                    with suppress(OSError):  # an alert, if there is room for one
                        self.flush(what, 0.0)
                    raise
                self.collect()
            if flush or want is not None:
                self.flush(what, until)
            if want is None:
                return result
            self.fill(what, until, filled, want)

    def collect(self) -> None:
        """Take what OpenSSL wants to send, in its order; with the lock."""
        if self.outgoing.pending:
            self.pending_out.append(memoryview(self.outgoing.read()))

    def flush(self, what: str, until: float | None) -> None:
        """Send what is to be sent; of a read what there is room for, and nothing for a writer."""
        if what == "read":
            if not self.sending.locked():
                with suppress(ssl.SSLWantWriteError):
                    self.send("write", 0.0)
        else:
            self.send(what, until)

    def send(self, what: str, until: float | None) -> None:
        while self.pending_out:
            with self.turn(self.sending, until) as mine:
                try:
                    if not mine:
                        raise BlockingIOError if until == 0 else TimeoutError
                    while self.pending_out:
                        first = self.pending_out[0]
                        count = self.handle.send(first, 0, self.left(until))
                        if count == len(first):
                            self.pending_out.popleft()
                        else:
                            self.pending_out[0] = first[count:]
                except BlockingIOError:
                    raise ssl.SSLWantWriteError(
                        ssl.SSL_ERROR_WANT_WRITE, "The operation did not complete (write)"
                    ) from None
                except TimeoutError as problem:
                    raise timed_out(what, problem) from None

    def fill(self, what: str, until: float | None, filled: int, want: ssl.SSLError) -> None:
        """Wait for more of the record that is arriving, unless another thread has got some."""
        with self.turn(self.receiving, until) as mine:
            if self.filled != filled:
                return
            try:
                if not mine:
                    raise BlockingIOError if until == 0 else TimeoutError
                data = self.handle.recv(
                    self.missing or HEADER - len(self.header), 0, self.left(until)
                )
            except BlockingIOError:
                raise want from None
            except TimeoutError as problem:
                raise timed_out(what, problem) from None
            with self.lock:
                self.filled += 1
                if not data:
                    self.incoming.write_eof()
                    return
                self.incoming.write(data)
            if self.missing:
                self.missing -= len(data)
                return
            self.header += data
            if len(self.header) == HEADER:
                self.missing = int.from_bytes(self.header[-2:], "big")
                self.header = b""


def timed_out(what: str, problem: TimeoutError) -> TimeoutError:
    """As ssl says it; a connection that has timed out itself has an errno."""
    if problem.errno is not None:
        return problem
    return TimeoutError(f"The {what} operation timed out")


class TlsSocket(ssl.SSLSocket, Socket):  # type: ignore[misc]
    """An ssl.SSLSocket whose connection is a stack's."""

    _context: Any
    _session: Any
    _sslobj: Any
    _connected: bool
    do_handshake_on_connect: bool
    suppress_ragged_eofs: bool

    @classmethod
    def _create(
        cls,
        sock: Socket,
        server_side: bool = False,
        do_handshake_on_connect: bool = True,
        suppress_ragged_eofs: bool = True,
        server_hostname: str | None = None,
        context: Any = None,
        session: Any = None,
    ) -> TlsSocket:
        """Take the place of a socket, which is closed by it, as SSLSocket._create does."""
        if sock.type != socket.SOCK_STREAM:
            raise NotImplementedError("only stream sockets are supported")
        if isinstance(sock, TlsSocket) and sock._sslobj is not None:
            raise NotImplementedError("pystack: TLS within TLS needs a MemoryBIO")
        if server_side and server_hostname:
            raise ValueError("server_hostname can only be specified in client mode")
        if server_side and session is not None:
            raise ValueError("session can only be specified in client mode")
        if context.check_hostname and not server_hostname:
            raise ValueError("check_hostname requires server_hostname")
        try:
            hostname = context._encode_hostname(server_hostname)
        except ValueError:
            sock.close()
            raise
        self = cls.__new__(cls)
        self._succeed(sock)
        self._context = context
        self._session = session
        self._sslobj = None
        self.server_side = server_side
        self.server_hostname = hostname
        self.do_handshake_on_connect = do_handshake_on_connect
        self.suppress_ragged_eofs = suppress_ragged_eofs
        self._connected = False
        try:
            self._connected = self._is_connected()
            if self._connected:
                self._sslobj = Channel(self, server_side)
                if do_handshake_on_connect:
                    if self.gettimeout() == 0.0:
                        raise ValueError(
                            "do_handshake_on_connect should not be specified for non-blocking "
                            "sockets"
                        )
                    self.do_handshake()
        except (OSError, ValueError):
            self.close()
            raise
        return self

    def _is_connected(self) -> bool:
        """Data of a connection that has ended before TLS began must not seem to be TLS's."""
        try:
            self.getpeername()
        except OSError as problem:
            if problem.errno != errno.ENOTCONN:
                raise
        else:
            return True
        data = b""
        with suppress(OSError):
            data = self.handle.recv(1, 0, 0.0)
        if data:
            reason = "Closed before TLS handshake with data in recv buffer."
            failure = ssl.SSLError(errno.ENOTCONN, reason)
            failure.reason = reason
            failure.library = None  # type: ignore[assignment]
            raise failure
        return False

    def detach(self) -> int:
        """The descriptor carries what TLS would have read: records."""
        number = super().detach()
        self._sslobj = None
        return number

    def _real_connect(self, address: Any, connect_ex: bool) -> int | None:
        call = Socket.connect_ex if connect_ex else Socket.connect
        return connect_tls(self, lambda: call(self, address))


def connect_tls(sock: Any, connect: Callable[[], int | None]) -> int | None:
    """As SSLSocket._real_connect: TLS begins where connect ends."""
    if sock.server_side:
        raise ValueError("can't connect in server-side mode")
    if sock._connected or sock._sslobj is not None:
        raise ValueError("attempt to connect already-connected SSLSocket!")
    sock._sslobj = Channel(sock, False)
    try:
        code = connect()
        if not code:
            sock._connected = True
            if sock.do_handshake_on_connect:
                sock.do_handshake()
    except (OSError, ValueError):
        sock._sslobj = None
        raise
    return code


def stacks_own(sock: Any) -> Socket | None:
    """The stack's socket that an object is, or that it passes its calls on to; None: no stack's."""
    if isinstance(sock, Socket):
        return sock
    if isinstance(sock, socket.socket) or not isinstance(getattr(sock, "handle", None), TcpHandle):
        return None
    made: Socket = sock.dup()
    sock.close()
    return made


class Wrapper(ssl.SSLSocket):
    """Whom wrap_socket asks for an SSLSocket: sockets of the kernel get what they always got."""

    @classmethod
    def _create(cls, sock: Any, *arguments: Any, **options: Any) -> ssl.SSLSocket:
        own = stacks_own(sock)
        if own is not None:
            return TlsSocket._create(own, *arguments, **options)
        made: ssl.SSLSocket = kernels._create(sock, *arguments, **options)
        return made


def teach_ssl(wrapper: type[Wrapper] = Wrapper) -> None:
    """Let wrap_socket of all contexts take sockets of stacks; nothing else changes."""
    if not issubclass(ssl.SSLContext.sslsocket_class, wrapper):
        ssl.SSLContext.sslsocket_class = wrapper
