"""Sockets of a stack: socket.socket's calls, constants, errors and timeouts, without a descriptor.

Called by: applications, through Stack.socket and its kin.
RFCs: 9293 section 3.9.1, 768, 3493; the documentation of Python's socket module is the reference.
"""

from __future__ import annotations

import errno
import os
import socket
import warnings
from collections.abc import Iterable
from contextlib import suppress
from operator import index
from stat import S_ISREG

from pystack import sockopt
from pystack.addresses import SocketAddress, from_tuple, to_tuple
from pystack.engine.datagram import DatagramHandle
from pystack.engine.tcp import TcpHandle
from pystack.shown import Handle, Shown, handle_at, known, place_of
from pystack.socketoptions import SocketOptions, fault

# What few need is imported when it is first used, what only names types not at all: import pystack
# shall take no time that one would notice.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from typing_extensions import Buffer

    from pystack.stack import Stack
    from pystack.tcpconfig import TcpConfig
    from pystack.tcpinfo import TcpInfo

PROTOCOLS: dict[tuple[int, int], tuple[int, ...]] = {
    (socket.AF_INET, socket.SOCK_STREAM): (6,),
    (socket.AF_INET6, socket.SOCK_STREAM): (6,),
    (socket.AF_INET, socket.SOCK_DGRAM): (17, 1),  # 1: ICMP echo, as Linux's ping sockets
    (socket.AF_INET6, socket.SOCK_DGRAM): (17, 58),
}
MSG_ERRQUEUE: int = getattr(socket, "MSG_ERRQUEUE", 0x2000)
MSG_FASTOPEN: int = getattr(socket, "MSG_FASTOPEN", 0)  # where the system has it
NONBLOCK = getattr(socket, "SOCK_NONBLOCK", 0)
TYPE_FLAGS = NONBLOCK | getattr(socket, "SOCK_CLOEXEC", 0)


def unwritable(call: str, buffer: object) -> TypeError:
    name = type(buffer).__name__
    return TypeError(f"{call}() argument 1 must be read-write bytes-like object, not {name}")


class Socket(socket.socket):
    """A socket of a stack, used like a kernel's.

    Addresses are numeric. There is no descriptor behind it; fileno() makes one that select, poll,
    epoll and asyncio can wait on, and through which data flows once detach() has given it away.
    """

    __slots__ = (
        "_family", "_handle", "_lent", "_number", "_options", "_proto", "_stack", "_timeout",
        "_type",
    )  # fmt: skip

    _handle: Handle
    _timeout: float | None
    _options: SocketOptions
    _number: int  # of the descriptor; -1: none yet

    def __init__(
        self,
        stack: Stack,
        family: int = socket.AF_INET,
        type: int = socket.SOCK_STREAM,
        proto: int = 0,
        fileno: int | None = None,
    ) -> None:
        """As socket.socket; the stack lives at least as long as the socket.

        fileno: a descriptor of a socket of this stack, which this socket closes; its family, type
        and protocol are that socket's.
        """
        if fileno is not None:
            joined = handle_at(fileno)
            if joined is None or joined.shown.stack is not stack:
                raise fault(
                    errno.ENOTSOCK, f"pystack: descriptor {fileno} is of no socket of {stack!r}"
                )
            self._join(joined, fileno)
            return
        kind = type & ~TYPE_FLAGS
        if family not in (socket.AF_INET, socket.AF_INET6):
            raise fault(errno.EAFNOSUPPORT)
        protocols = PROTOCOLS.get((family, kind))
        if protocols is None:
            raise fault(getattr(errno, "ESOCKTNOSUPPORT", errno.EPROTONOSUPPORT))
        if proto and proto not in protocols:
            raise fault(errno.EPROTONOSUPPORT)
        v6 = family == socket.AF_INET6
        handle: Handle
        if kind == socket.SOCK_STREAM:
            handle = TcpHandle(stack.engine, v6)
        else:
            handle = DatagramHandle(stack.engine, v6, proto or protocols[0])
        self._adopt(stack, handle, family, kind, proto)
        if type & NONBLOCK:
            self._timeout = 0.0

    def _adopt(self, stack: Stack, handle: Handle, family: int, kind: int, proto: int) -> None:
        """Become the socket of a handle. socket.socket.__init__ would open a kernel's socket."""
        self._io_refs = 0
        self._closed = False
        self._stack = stack
        self._handle = handle
        self._family = socket.AddressFamily(family)
        self._type = socket.SocketKind(kind)
        self._proto = proto
        self._timeout = stack.initial_timeout
        self._options = SocketOptions(handle, self._family)
        self._number = -1
        self._lent = False

    def lend(self) -> Handle:
        """The handle, for a transport that will close it; the socket may be forgotten."""
        self._lent = True
        return self._handle

    def _leave(self) -> None:
        """Have nothing any more."""
        nothing = type(self._handle)
        self._handle = nothing.__new__(nothing, self._stack.engine)
        self._options = SocketOptions(self._handle, self._family)
        self._number = -1

    def _succeed(self, other: Socket) -> None:
        """Become what another socket has been, which is closed from now on."""
        self._adopt(other._stack, other._handle, other._family, other._type, other._proto)
        self._timeout = other._timeout
        self._options = other._options
        self._number = other._number
        other._leave()
        other._closed = True

    def _join(self, handle: Handle, number: int) -> None:
        """Become one more socket of a connection, with a descriptor of it."""
        shown = handle.shown
        if handle.holders <= 0:
            from pystack.detached import carrier_of

            carrier_of(shown.stack).give_back(handle, number)
        elif number == handle.own_fileno:
            handle.move_fileno(os.dup(number))
        handle.hold()
        self._adopt(shown.stack, handle, shown.family, shown.kind, shown.proto)
        self._options = shown.options
        self._number = number
        self._flag()

    @classmethod
    def of_number(cls, handle: Handle, number: int) -> Socket:
        """Another socket of a connection, to which a descriptor of it belongs."""
        made = cls.__new__(cls)
        made._join(handle, number)
        return made

    @classmethod
    def of_handle(cls, stack: Stack, handle: Handle, family: int, kind: int) -> Socket:
        """The socket of a handle that has been made elsewhere."""
        made = cls.__new__(cls)
        made._adopt(stack, handle, family, kind, 0)
        return made

    @property
    def handle(self) -> Handle:
        """What the engine knows it by."""
        return self._handle

    def __repr__(self) -> str:
        """As socket.socket's; fd only if there is one, since to ask would make it."""
        closed = " [closed]" if self._closed else ""
        shown = f" fd={self.fileno()}," if self._number >= 0 or self._closed else ""
        text = f"<{type(self).__module__}.{type(self).__qualname__}{closed}{shown}"
        text += f" family={self._family!s}, type={self._type!s}, proto={self._proto}"
        if not self._closed:
            for name, call in (("laddr", self.getsockname), ("raddr", self.getpeername)):
                try:
                    text += f", {name}={call()}"
                except OSError:
                    break
        return f"{text}>"

    def __del__(self) -> None:
        handle = getattr(self, "_handle", None)
        if handle is not None and not (handle.closed or self._closed or self._lent):
            warnings.warn(f"unclosed {self!r}", ResourceWarning, source=self, stacklevel=2)
            self._timeout = 0.0
            last = handle.let_go()
            self._close_number(last=last)
            if last:  # at once: perhaps within the stack, where nothing can be carried on
                handle.close(0.0)

    # What it is.

    @property
    def family(self) -> socket.AddressFamily:
        return self._family

    @property
    def type(self) -> socket.SocketKind:
        return self._type

    @property
    def proto(self) -> int:
        return self._proto

    @property
    def stack(self) -> Stack:
        """The stack that it speaks through."""
        return self._stack

    def fileno(self) -> int:
        """A descriptor that is readable and writable when the socket is; -1 once closed.

        Only to wait on, as long as it is the socket's: nothing that is read from it or written to
        it has a meaning. O_NONBLOCK is set as socket.socket does it, wherever there is a timeout.
        """
        if self._handle.closed:  # not before its files are
            return -1
        if self._number < 0:
            self._number = self._handle.lend_fileno()
            self._know()
            self._flag()
        return self._number

    def _know(self) -> None:
        """Have the descriptor found by others that have only its number, or a duplicate."""
        place = place_of(self._number)
        if self._handle.shown is None:
            self._handle.shown = Shown(self, place)
        self._handle.shown.place = place
        known[place] = self._handle

    def _check_open(self) -> None:
        """What the handle is not asked about; a socket whose stack has been closed still is one."""
        if self._closed and self._handle.closed:
            raise fault(errno.EBADF)

    def _flag(self) -> None:
        """Tell those who look at the descriptor whether the socket blocks."""
        if self._number >= 0 and not self._handle.closed:
            os.set_blocking(self._number, self._timeout is None)

    def replace(self, number: int) -> None:
        """Have this number for a descriptor, whatever was open there; before fileno is called."""
        os.dup2(self._handle.fileno(), number, inheritable=False)
        os.close(self._handle.move_fileno(number))
        self._number = self._handle.lend_fileno()
        self._know()
        self._flag()

    def detach(self) -> int:
        """Close the socket, but not its connection, which belongs to the descriptor from now on.

        The data of a stream, and the datagrams of a socket that is connected, flow through the
        descriptor, also in other processes that have it. Closing it, and all duplicates, closes the
        connection. A socket can be made of it again: Stack.socket(fileno=), and within
        pystack.patch socket.socket(fileno=) and socket.fromfd.
        """
        from pystack.detached import carrier_of

        handle = self._handle
        if handle.closed:
            if self._closed:
                return -1
            raise fault(errno.EBADF)
        carrier = carrier_of(self._stack)
        number = self.fileno()
        if handle.holders > 1:
            handle.let_go()
            if number == handle.own_fileno:
                handle.move_fileno(os.dup(number))
        else:
            carrier.carry(handle, number)
            handle.let_go()
        handle.shown.detached = True
        self._closed = True
        self._leave()
        return number

    def dup(self) -> Socket:
        """Another socket for the same connection, which lasts until both are closed."""
        self._handle.hold()
        made = Socket.__new__(Socket)
        made._adopt(self._stack, self._handle, self._family, self._type, self._proto)
        made._timeout = self._timeout
        made._options = self._options
        return made

    def get_inheritable(self) -> bool:
        self._check_open()
        return False

    def set_inheritable(self, inheritable: bool) -> None:
        self._check_open()
        if inheritable:
            raise fault(errno.EOPNOTSUPP, "pystack: a stack's socket cannot be inherited")

    # Timeouts.

    @property
    def timeout(self) -> float | None:
        return self._timeout

    def gettimeout(self) -> float | None:
        return self._timeout

    def settimeout(self, value: float | None, /) -> None:
        if value is not None:
            value = value if isinstance(value, float) else float(index(value))
            if not value >= 0:
                raise ValueError("Timeout value out of range")
        self._check_open()
        self._timeout = value
        self._flag()

    def getblocking(self) -> bool:
        return self._timeout != 0.0

    def setblocking(self, flag: bool, /) -> None:
        self.settimeout(None if flag else 0.0)

    # Names.

    def bind(self, address: Any, /) -> None:
        self._handle.bind(*from_tuple(self._family, address, "bind"))

    def getsockname(self) -> SocketAddress:
        return to_tuple(self._family, *self._handle.getsockname())

    def getpeername(self) -> SocketAddress:
        return to_tuple(self._family, *self._handle.getpeername())

    # Connections.

    def listen(self, backlog: int = min(socket.SOMAXCONN, 128), /) -> None:
        self._stream().listen(backlog)

    def _stream(self) -> TcpHandle:
        """The handle, for calls that only streams have."""
        if not isinstance(self._handle, TcpHandle):
            raise fault(errno.EOPNOTSUPP)
        return self._handle

    def accept(self) -> tuple[Socket, SocketAddress]:
        handle, address, port = self._stream().accept(self._timeout)
        accepted = Socket.__new__(Socket)
        accepted._adopt(self._stack, handle, self._family, self._type, self._proto)
        accepted._options.inherit(self._options)
        return accepted, to_tuple(self._family, address, port)

    def connect(self, address: Any, /) -> None:
        packed, port = from_tuple(self._family, address, "connect")
        self._label(address)
        self._handle.connect(packed, port, self._timeout)

    def _label(self, address: Any) -> None:
        """IPV6_FLOWINFO_SEND: connect's address says under which flow label to send."""
        if sockopt.IPV6_FLOWINFO_SEND in self._options.asked:
            self._handle.set_flow_label(flow_label(address))

    def connect_ex(self, address: Any, /) -> int:
        """connect, but an errno instead of an exception."""
        packed, port = from_tuple(self._family, address, "connect_ex")
        try:
            self._label(address)
            self._handle.connect(packed, port, self._timeout)
        except TimeoutError as problem:
            return problem.errno or errno.EAGAIN
        except OSError as problem:
            if problem.errno is None:
                raise
            return problem.errno
        return 0

    def disconnect(self) -> None:
        """Forget the peer, as connect to AF_UNSPEC does; a stream's peer gets a reset.

        The socket can be connected again. Its options stay, its address does not.
        """
        self._handle.disconnect()
        if self._number >= 0:
            self._know()  # it may be another pair of sockets

    def shutdown(self, how: int, /) -> None:
        self._handle.shutdown(how)

    def _real_close(self, _ss: Any = None) -> None:
        """What socket.socket.close calls when no file from makefile uses the socket any more."""
        handle = self._handle
        last = handle.let_go()
        self._close_number(last=last)
        if not last:
            self._leave()
            return
        if handle.shown is not None and handle.shown.detached and not handle.closed:
            from pystack.detached import carrier_of

            with suppress(OSError):
                carrier_of(self._stack).carry(handle)
                return
        handle.close(self._timeout)

    def _close_number(self, *, last: bool) -> None:
        """That of the handle is closed with it, or has been."""
        number, self._number = self._number, -1
        if number < 0:
            return
        if number == self._handle.own_fileno:
            if last or self._handle.closed:
                return
            self._handle.move_fileno(os.dup(number))
        os.close(number)

    def abort(self) -> None:
        """Close with a reset: what is queued is lost, the peer gets ConnectionResetError."""
        self._closed = True
        self._stream().abort()
        self._close_number(last=True)

    # Receiving.

    def recv(self, bufsize: int, flags: int = 0, /) -> bytes:
        return self._handle.recv(bufsize, flags, self._timeout)

    def recv_into(self, buffer: Buffer, nbytes: int = 0, flags: int = 0) -> int:
        try:
            return self._handle.recv_into(buffer, nbytes, flags, self._timeout)
        except BufferError:
            raise unwritable("recv_into", buffer) from None

    def recvfrom(self, bufsize: int, flags: int = 0, /) -> tuple[bytes, Any]:
        """As recv, with the sender; of a stream that is None."""
        handle = self._handle
        if isinstance(handle, TcpHandle):
            return handle.recv(bufsize, flags, self._timeout), None
        data, address, port, *_ = handle.recvmsg(bufsize, flags, self._timeout)
        return data, to_tuple(self._family, address, port)

    def recvfrom_into(self, buffer: Buffer, nbytes: int = 0, flags: int = 0) -> tuple[int, Any]:
        handle = self._handle
        try:
            if isinstance(handle, TcpHandle):
                return handle.recv_into(buffer, nbytes, flags, self._timeout), None
            count, address, port, *_ = handle.recvmsg_into(buffer, nbytes, flags, self._timeout)
        except BufferError:
            raise unwritable("recvfrom_into", buffer) from None
        return count, to_tuple(self._family, address, port)

    def recvmsg(
        self, bufsize: int, ancbufsize: int = 0, flags: int = 0, /
    ) -> tuple[bytes, list[sockopt.ControlMessage], int, Any]:
        """Data, control messages, flags, sender.

        Control messages, if setsockopt asked for them: SO_TIMESTAMP and its kin (when it came),
        SO_RXQ_OVFL (how many were lost), IP_PKTINFO (the address that the datagram was sent to),
        IP_ORIGDSTADDR, IP_TTL, IP_TOS and those of IPv6, UDP_GRO; of a stream TCP_INQ (what is
        left).
        With MSG_ERRQUEUE, an error of the error queue (IP_RECVERR), which extended_error reads;
        never blocks.
        """
        handle = self._handle
        if index(ancbufsize) < 0:
            raise ValueError("negative ancillary data buffer size")
        if flags & MSG_ERRQUEUE:
            return self._take_error(bufsize, ancbufsize)
        if isinstance(handle, TcpHandle):
            return self._receive_stream(handle, bufsize, ancbufsize, flags)
        data, address, port, length, arrival = handle.recvmsg(bufsize, flags, self._timeout)
        messages: list[sockopt.ControlMessage] = []
        told = 0
        options = self._options
        if options.asked or options.stamps or arrival[1]:
            if options.stamps:
                messages = options.stamps.messages(arrival[6] + handle.epoch())
            messages += sockopt.control_messages(options.asked, arrival)
            messages, told = sockopt.fitting(messages, ancbufsize)
        if length > len(data):
            told |= socket.MSG_TRUNC
        return data, messages, told, to_tuple(self._family, address, port)

    def _receive_stream(
        self, handle: TcpHandle, bufsize: int, ancbufsize: int, flags: int
    ) -> tuple[bytes, list[sockopt.ControlMessage], int, Any]:
        data = handle.recv(bufsize, flags, self._timeout)
        options = self._options
        if not options.asked and not options.stamps:
            return data, [], 0, None
        # As Linux, the end of the stream is worth another read.
        left = handle.queues()[0] or int(bool(handle.poll() & sockopt.READY_END))
        messages = sockopt.stream_messages(options.asked, left)
        if options.stamps and data:
            messages = options.stamps.messages(handle.text_at() + handle.epoch()) + messages
        messages, told = sockopt.fitting(messages, ancbufsize)
        return data, messages, told, None

    def _take_error(
        self, bufsize: int, ancbufsize: int
    ) -> tuple[bytes, list[sockopt.ControlMessage], int, Any]:
        """What was quoted of a packet that met an error; to whom it went."""
        from pystack import errorqueue

        report = self._handle.take_error(bufsize)
        told = MSG_ERRQUEUE | (socket.MSG_TRUNC if report[1] > len(report[0]) else 0)
        kind = sockopt.RECVERR[self._family]
        messages = [(*kind, errorqueue.control_message(self._family, report))]
        arrival = (report[4], 0, report[12], report[13], 0, 0, 0, 0)
        asked = self._options.asked - {sockopt.IP_PKTINFO, sockopt.IPV6_PKTINFO, *sockopt.ORIGINAL}
        if report[6] != errorqueue.LOCAL:
            messages = sockopt.control_messages(asked, arrival) + messages
        messages, lost = sockopt.fitting(messages, ancbufsize)
        return report[0], messages, told | lost, errorqueue.sender(self._family, report)

    def recvmsg_into(
        self, buffers: Iterable[Buffer], ancbufsize: int = 0, flags: int = 0, /
    ) -> tuple[int, list[sockopt.ControlMessage], int, Any]:
        views = [memoryview(buffer).cast("B") for buffer in buffers]
        if any(view.readonly for view in views):  # before anything is received
            raise TypeError("recvmsg_into() argument 1 must be an iterable of read-write buffers")
        size = sum(map(len, views))
        data, messages, told, sender = self.recvmsg(size, ancbufsize, flags)
        at = 0
        for view in views:
            piece = data[at : at + len(view)]
            view[: len(piece)] = piece
            at += len(piece)
        return len(data), messages, told, sender

    # Sending.

    def send(self, data: Buffer, flags: int = 0, /) -> int:
        return self._handle.send(data, flags, self._timeout)

    def sendall(self, data: Buffer, flags: int = 0, /) -> None:
        self._handle.sendall(data, flags, self._timeout)

    def sendto(self, data: Buffer, *arguments: Any) -> int:
        """sendto(data, address), sendto(data, flags, address).

        With MSG_FASTOPEN a stream is opened with data in its SYN (RFC 7413), if the peer's cookie
        is known; otherwise the SYN asks for one.
        """
        if not 1 <= len(arguments) <= 2:
            raise TypeError(f"sendto() takes 2 or 3 arguments ({len(arguments) + 1} given)")
        flags = arguments[0] if len(arguments) == 2 else 0
        handle = self._handle
        if isinstance(handle, TcpHandle):
            if flags & MSG_FASTOPEN and arguments[-1] is not None:
                to = from_tuple(self._family, arguments[-1], "sendto")
                return handle.fast_open(data, flags, *to, self._timeout)
            return handle.send(data, flags, self._timeout)
        address, port = from_tuple(self._family, arguments[-1], "sendto")
        if sockopt.IPV6_FLOWINFO_SEND in self._options.asked:
            label = flow_label(arguments[-1])
            return handle.sendto(data, flags, address, port, flow_label=label)
        return handle.sendto(data, flags, address, port)

    def sendmsg(
        self,
        buffers: Iterable[Buffer],
        ancdata: Iterable[tuple[int, int, Buffer]] = (),
        flags: int = 0,
        address: Any = None,
        /,
    ) -> int:
        """Send buffers as one.

        Control messages for datagrams: IP_PKTINFO, IPV6_PKTINFO (the address of ours to send
        from), UDP_SEGMENT (the size of the datagrams to cut the data into), IP_TTL, IP_TOS,
        IPV6_HOPLIMIT, IPV6_TCLASS.
        """
        data = b"".join(buffers)
        messages = sockopt.messages_of(ancdata)
        to, port = (None, 0) if address is None else from_tuple(self._family, address, "sendmsg")
        handle = self._handle
        if isinstance(handle, TcpHandle):
            if flags & MSG_FASTOPEN and to is not None:
                return handle.fast_open(data, flags, to, port, self._timeout)
            return handle.send(data, flags, self._timeout)
        try:
            said = sockopt.send_options(messages)
        except ValueError as problem:
            raise fault(errno.EINVAL, f"pystack: sendmsg: {problem} is not supported") from None
        label = 0
        if address is not None and sockopt.IPV6_FLOWINFO_SEND in self._options.asked:
            label = flow_label(address)
        return handle.sendto(
            data, flags, to, port, said.source, said.segment, label, said.ttl, said.tos
        )

    def sendfile(self, file: Any, offset: int = 0, count: int | None = None) -> int:
        """By send: os.sendfile would write to a descriptor that is only to wait on.

        As that, it begins at `offset` of a regular file, wherever that is read.
        """
        if not offset and is_regular(file):
            file.seek(0)
        sent: int = self._sendfile_use_send(file, offset, count)  # type: ignore[attr-defined]
        return sent

    # What is queued, and what would not block.

    def queued(self) -> tuple[int, int, int]:
        """Bytes of a stream: to be read, not acknowledged yet, not sent yet.

        What Linux's ioctls SIOCINQ, SIOCOUTQ and SIOCOUTQNSD tell. Of a datagram socket: bytes of
        the next datagram; nothing waits to be sent.
        """
        return self._handle.queues()

    def ioctl(self, request: int) -> int:
        """What fcntl.ioctl tells of a kernel's socket: SIOCINQ (FIONREAD), SIOCOUTQ, SIOCOUTQNSD
        and SIOCATMARK, by Linux's numbers.
        """
        handle = self._handle
        stream = isinstance(handle, TcpHandle)
        if request not in sockopt.IOCTLS or not (stream or request in sockopt.IOCTLS_OF_ALL):
            raise fault(errno.ENOTTY)
        if request == sockopt.SIOCATMARK:
            return int(self._stream().at_mark())
        if stream and handle.getsockopt(*sockopt.SO_ACCEPTCONN):
            raise fault(errno.EINVAL)
        return handle.queues()[sockopt.IOCTLS[request]]

    def tcp_info(self) -> TcpInfo:
        """What the connection is doing; getsockopt with TCP_INFO gives the same as bytes."""
        from pystack.tcpinfo import TcpInfo

        return TcpInfo.from_bytes(self._stream().info())

    def poll(self) -> int:
        """What poll() would report of a kernel's socket: POLLIN, POLLOUT and so on."""
        return sockopt.poll_events(self._handle.poll())

    # Options.

    def configure(self, tcp: TcpConfig) -> None:
        """A TcpConfig for this socket and all that it accepts, instead of the stack's.

        Before connect and listen; then EISCONN. Options that the configuration has a word on
        (buffers, keepalive, the congestion control) begin anew with it. What is of the whole stack
        stays so: pystack.tcpconfig.STACK_WIDE.
        """
        self._stream().configure(tcp.core())

    def setsockopt(
        self, level: int, option: int, value: int | Buffer | None, optlen: int | None = None, /
    ) -> None:
        """An option with the number that this system has for it; ENOPROTOOPT for an unknown one."""
        self._check_open()
        self._options.set(level, option, value)

    def getsockopt(self, level: int, option: int, buflen: int = 0, /) -> Any:
        """An int, or with buflen up to so many bytes."""
        self._check_open()
        return self._options.get(level, option, buflen)


def is_regular(file: Any) -> bool:
    """A file of the system's, with contents that have places."""
    try:
        return S_ISREG(os.fstat(file.fileno()).st_mode)
    except (AttributeError, OSError):
        return False


def flow_label(address: Any) -> int:
    """Of an IPv6 socket address, 0 for none."""
    return address[2] & 0xFFFFF if len(address) > 2 else 0
