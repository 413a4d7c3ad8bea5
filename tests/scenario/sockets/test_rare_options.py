"""Options that few programs set: what each does, on a stack of one process and on the kernel."""

from __future__ import annotations

import errno
import fcntl
import select
import socket
import struct
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress

import pytest

import pystack
from pystack import PipeDevice, Stack

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the judge is Linux")

STREAM, DGRAM = socket.SOCK_STREAM, socket.SOCK_DGRAM
V4, V6 = socket.AF_INET, socket.AF_INET6
SOL, IP, IPV6 = socket.SOL_SOCKET, socket.IPPROTO_IP, socket.IPPROTO_IPV6
PEEK = socket.MSG_PEEK
LATER = 5000  # attempts, 1 ms apart: the kernel begins with timestamps when it has time for that
FOREIGN = {V4: "203.0.113.1", V6: "2001:db8::1"}


class Host:
    """Sockets that speak to each other within one host, which delivers at once."""

    def __init__(self, name: str, stack: Stack | None) -> None:
        self.name = name
        self.stack = stack
        self.ending = ExitStack()

    def address(self, family: int = V4) -> str:
        if self.stack is None:
            return "127.0.0.1" if family == V4 else "::1"
        return "10.0.0.1" if family == V4 else "fd00::1"

    def socket(self, kind: int = STREAM, family: int = V4) -> socket.socket:
        make = socket.socket if self.stack is None else self.stack.socket
        return self.ending.enter_context(make(family, kind))

    def bound(self, kind: int, family: int = V4) -> socket.socket:
        made = self.socket(kind, family)
        made.bind((self.address(family), 0))
        return made

    def connected(self) -> tuple[socket.socket, socket.socket]:
        listener = self.bound(STREAM)
        listener.listen()
        client = self.socket()
        client.connect(listener.getsockname())
        return client, self.ending.enter_context(listener.accept()[0])


@pytest.fixture(params=["kernel", "pystack"])
def host(request: pytest.FixtureRequest) -> Iterator[Host]:
    with ExitStack() as ending:
        stack = None
        if request.param == "pystack":
            device = PipeDevice.pair()[0]  # with a device calls may block
            stack = ending.enter_context(Stack("10.0.0.0/24", "fd00::/64", device=device))
        made = Host(request.param, stack)
        ending.enter_context(made.ending)
        yield made


def number_of_error(call: Callable[..., object], *arguments: object) -> int:
    with pytest.raises(OSError) as caught:
        call(*arguments)
    return caught.value.errno or 0


# SO_RCVTIMEO, SO_SNDTIMEO.

SHORT = struct.pack("qq", 0, 20_000)


@pytest.mark.parametrize("option", [socket.SO_RCVTIMEO, pystack.SO_RCVTIMEO_NEW])
def test_a_receive_timeout_ends_with_eagain(host, option):
    client, _ = host.connected()
    listener, datagrams = host.bound(STREAM), host.bound(DGRAM)
    listener.listen()
    for sock in (client, listener, datagrams):
        sock.setsockopt(SOL, option, SHORT)
        assert sock.getsockopt(SOL, socket.SO_RCVTIMEO, 16) == SHORT
        began = time.monotonic()
        call = sock.accept if sock is listener else lambda sock=sock: sock.recv(10)
        assert number_of_error(call) == errno.EAGAIN
        # The kernel counts its ticks, also those that it has missed and makes up for.
        least = 0.015 if host.stack is not None else 0
        assert least < time.monotonic() - began < 5


def test_a_send_timeout_ends_with_eagain_or_what_was_taken(host):
    client, _ = host.connected()
    client.setsockopt(SOL, socket.SO_SNDTIMEO, SHORT)
    code = 0
    while code == 0:
        try:
            assert client.send(bytes(1 << 20)) > 0
        except OSError as problem:
            code = problem.errno or 0
    assert code == errno.EAGAIN
    client.settimeout(0.02)  # Python's own comes first
    with pytest.raises(TimeoutError):
        client.sendall(bytes(1 << 24))


def test_a_connect_that_takes_longer_than_so_sndtimeo_goes_on():
    with Stack("10.0.0.0/24", device=PipeDevice.pair()[0]) as stack, stack.socket() as sock:
        sock.setsockopt(SOL, socket.SO_SNDTIMEO, SHORT)
        assert sock.connect_ex((FOREIGN[V4], 9)) == errno.EINPROGRESS
        sock.setblocking(False)
        assert sock.connect_ex((FOREIGN[V4], 9)) == errno.EALREADY


def test_timeouts_are_inherited_from_the_listener(host):
    listener = host.bound(STREAM)
    listener.setsockopt(SOL, socket.SO_RCVTIMEO, SHORT)
    listener.listen()
    client = host.socket()
    client.connect(listener.getsockname())
    server = host.ending.enter_context(listener.accept()[0])
    assert server.getsockopt(SOL, socket.SO_RCVTIMEO, 16) == SHORT
    assert number_of_error(server.recv, 1) == errno.EAGAIN


@pytest.mark.parametrize(
    "value",
    [b"", bytes(8), struct.pack("qq", 0, 0), struct.pack("qq", -1, 0), struct.pack("qq", 5, -1),
     struct.pack("qq", 0, 1_000_000), struct.pack("qq", 3, 500_000), 5],
)  # fmt: skip
def test_timeouts_are_structs_timeval(host, value):
    results = []
    for sock in (host.socket(), socket.socket()):
        with sock:
            try:
                sock.setsockopt(SOL, socket.SO_RCVTIMEO, value)
            except OSError as problem:
                results.append(problem.errno)
            else:
                results.append(sock.getsockopt(SOL, socket.SO_RCVTIMEO, 16))
    assert results[0] == results[1]


# SO_PEEK_OFF.


def test_a_stream_is_looked_at_piece_by_piece(host):
    client, server = host.connected()
    server.setsockopt(SOL, pystack.SO_PEEK_OFF, 0)
    client.sendall(b"abcdefgh")
    assert server.recv(3, PEEK) == b"abc"
    assert server.recv(3, PEEK) == b"def"
    assert server.getsockopt(SOL, pystack.SO_PEEK_OFF) == 6
    assert server.recv(4) == b"abcd"
    assert server.getsockopt(SOL, pystack.SO_PEEK_OFF) == 2
    assert server.recv(10, PEEK) == b"gh"
    assert number_of_error(server.recv, 1, PEEK | socket.MSG_DONTWAIT) == errno.EAGAIN
    client.sendall(b"ij")
    assert server.recv(10, PEEK) == b"ij"
    client.shutdown(socket.SHUT_WR)
    assert server.recv(10, PEEK) == b""
    server.setsockopt(SOL, pystack.SO_PEEK_OFF, -1)
    assert server.recv(10, PEEK) == server.recv(10) == b"efghij"


def test_datagrams_are_looked_at_piece_by_piece(host):
    one, other = host.bound(DGRAM), host.bound(DGRAM)
    one.setblocking(False)
    one.setsockopt(SOL, pystack.SO_PEEK_OFF, 0)
    for data in (b"abcd", b"", b"efgh"):
        other.sendto(data, one.getsockname())
    seen = [one.recvmsg(3, 0, PEEK)[:3:2] for _ in range(5)]
    assert seen == [
        (b"abc", socket.MSG_TRUNC), (b"d", 0), (b"", 0), (b"efg", socket.MSG_TRUNC), (b"h", 0),
    ]  # fmt: skip
    assert number_of_error(one.recv, 9, PEEK) == errno.EAGAIN
    assert one.getsockopt(SOL, pystack.SO_PEEK_OFF) == 8
    assert one.recv(9) == b"abcd"
    assert one.getsockopt(SOL, pystack.SO_PEEK_OFF) == 4
    one.setsockopt(SOL, pystack.SO_PEEK_OFF, 1)
    assert one.recv(9) == b""
    assert one.recv(9, PEEK) == b"fgh"


# Timestamps, SO_RXQ_OVFL, the original destination.


def messages(sock: socket.socket) -> dict[tuple[int, int], bytes]:
    return {(level, kind): data for level, kind, data in sock.recvmsg(100, 512)[1]}


@pytest.mark.parametrize(
    ("name", "unit"),
    [("SO_TIMESTAMP", 10**6), ("SO_TIMESTAMPNS", 10**9), ("SO_TIMESTAMP_NEW", 10**6),
     ("SO_TIMESTAMPNS_NEW", 10**9)],
)  # fmt: skip
@pytest.mark.parametrize("kind", [STREAM, DGRAM])
def test_a_timestamp_says_when_data_came(host, kind, name, unit):
    option = getattr(pystack, name)
    one, other = host.connected() if kind == STREAM else (host.bound(kind), host.bound(kind))
    if kind == DGRAM:
        other.connect(one.getsockname())
    one.setsockopt(SOL, option, 1)
    before = time.time()
    for _ in range(LATER):
        other.send(b"x")
        told = messages(one)
        if told:
            break
        time.sleep(0.001)
    assert list(told) == [(SOL, option)]
    seconds, part = struct.unpack("qq", told[SOL, option])
    assert before - 0.1 < seconds + part / unit < time.time() + 0.1
    one.setsockopt(SOL, option, 0)
    other.send(b"x")
    assert messages(one) == {}


@pytest.mark.parametrize("kind", [STREAM, DGRAM])
@pytest.mark.parametrize(
    ("flags", "told"), [(1 << 3, False), (1 << 4, True), (1 << 3 | 1 << 4, True),
                        (1 << 4 | 1 << 17, False), (1 << 3 | 1 << 4 | 1 << 17, True)],
)  # fmt: skip
def test_so_timestamping_tells_of_software_timestamps(host, kind, flags, told):
    """Linux's timestamping.rst: reported with SOF_TIMESTAMPING_SOFTWARE."""
    one, other = host.connected() if kind == STREAM else (host.bound(kind), host.bound(kind))
    if kind == DGRAM:
        other.connect(one.getsockname())
    one.setsockopt(SOL, pystack.SO_TIMESTAMPING, flags)
    if host.name == "kernel" and not flags & 1 << 3:
        return  # whether there are any depends on what other sockets ask for
    for _ in range(LATER if told else 1):
        other.send(b"x")
        found = messages(one)
        if found:
            break
        time.sleep(0.001)
    assert (list(found) == [(SOL, pystack.SO_TIMESTAMPING)]) is told
    if told:
        stamps = struct.unpack("6q", found[SOL, pystack.SO_TIMESTAMPING])
        assert abs(stamps[0] + stamps[1] / 1e9 - time.time()) < 5
        assert stamps[2:] == (0, 0, 0, 0)


def test_timestamps_of_one_kind_replace_those_of_another(host):
    sock = host.socket(DGRAM)
    names = ("SO_TIMESTAMP", "SO_TIMESTAMPNS", "SO_TIMESTAMP_NEW", "SO_TIMESTAMPNS_NEW")
    numbers = [getattr(pystack, name) for name in names]
    for number in numbers:
        sock.setsockopt(SOL, number, 1)
        told = [one for one in numbers if sock.getsockopt(SOL, one)]
        # As the kernel, SO_TIMESTAMP_NEW tells of both new ones.
        assert told == ([numbers[2], number] if number == numbers[3] else [number])
    sock.setsockopt(SOL, pystack.SO_TIMESTAMP, 0)
    assert not any(sock.getsockopt(SOL, one) for one in numbers)


def test_a_datagram_tells_how_many_were_lost_before_it(host):
    """SO_RXQ_OVFL."""
    one, other = host.bound(DGRAM), host.bound(DGRAM)
    one.setblocking(False)
    one.setsockopt(SOL, socket.SO_RCVBUF, 8000)
    one.setsockopt(SOL, pystack.SO_RXQ_OVFL, 1)
    for _ in range(100):
        other.sendto(bytes(1000), one.getsockname())
    count = 0
    with suppress(BlockingIOError):
        while True:
            assert messages(one) == {}
            count += 1
    assert 0 < count < 100
    other.sendto(b"x", one.getsockname())
    assert messages(one) == {(SOL, pystack.SO_RXQ_OVFL): struct.pack("I", 100 - count)}


@pytest.mark.parametrize("family", [V4, V6])
def test_the_original_destination_is_told(host, family):
    one, other = host.bound(DGRAM, family), host.bound(DGRAM, family)
    level, option = (IP, pystack.IP_RECVORIGDSTADDR)
    if family == V6:
        level, option = (IPV6, pystack.IPV6_RECVORIGDSTADDR)
    one.setsockopt(level, option, 1)
    other.sendto(b"x", one.getsockname())
    port = one.getsockname()[1]
    expected = struct.pack("=H", family) + port.to_bytes(2, "big")
    packed = socket.inet_pton(family, host.address(family))
    expected += packed + bytes(8) if family == V4 else bytes(4) + packed + bytes(4)
    assert messages(one) == {(level, option): expected}


# Flow labels.


def label_seen(one: socket.socket, other: socket.socket, address: tuple[object, ...]) -> int:
    other.sendto(b"x", address)
    data = messages(one).get((IPV6, pystack.IPV6_FLOWINFO), bytes(4))
    return int.from_bytes(data, "big") & 0xFFFFF


def test_a_flow_label_is_drawn_chosen_or_none(host):
    """RFC 6437 section 3; IPV6_AUTOFLOWLABEL, IPV6_FLOWINFO_SEND, IPV6_FLOWINFO."""
    one, other = host.bound(DGRAM, V6), host.bound(DGRAM, V6)
    one.setsockopt(IPV6, pystack.IPV6_FLOWINFO, 1)
    host_name, port = one.getsockname()[:2]
    drawn = label_seen(one, other, (host_name, port))
    assert drawn
    assert label_seen(one, other, (host_name, port, 0x12345, 0)) == drawn
    other.setsockopt(IPV6, pystack.IPV6_FLOWINFO_SEND, 1)
    assert label_seen(one, other, (host_name, port, 0x12345, 0)) == 0x12345
    assert label_seen(one, other, (host_name, port)) == drawn
    other.setsockopt(IPV6, pystack.IPV6_AUTOFLOWLABEL, 0)
    assert label_seen(one, other, (host_name, port)) == 0
    other.connect((host_name, port, 0x54321, 0))
    other.send(b"x")
    assert messages(one)[IPV6, pystack.IPV6_FLOWINFO] == (0x54321).to_bytes(4, "big")


# Ports and addresses.


@pytest.mark.parametrize("kind", [STREAM, DGRAM])
@pytest.mark.parametrize(("low", "high"), [(40000, 40003), (60990, 0), (0, 32770), (1, 65535)])
def test_ports_are_of_the_sockets_own_range(host, kind, low, high):
    """IP_LOCAL_PORT_RANGE; an end outside the system's range counts for nothing."""
    ports = set()
    for _ in range(4):
        sock = host.socket(kind)
        sock.setsockopt(IP, pystack.IP_LOCAL_PORT_RANGE, struct.pack("HH", low, high))
        assert sock.getsockopt(IP, pystack.IP_LOCAL_PORT_RANGE) & 0xFFFFFFFF == low | high << 16
        with suppress(OSError):  # somebody else on this machine may have the last one
            sock.bind((host.address(), 0))
            ports.add(sock.getsockname()[1])
    first = low if 32768 <= low <= 60999 else 32768
    last = high if 32768 <= high <= 60999 else 60999
    assert ports
    assert all(first <= port <= last for port in ports)
    if last - first == 3 and host.name == "pystack":
        assert ports == {40000, 40001, 40002, 40003}


def test_a_range_serves_connect_too(host):
    listener = host.bound(STREAM)
    listener.listen()
    client = host.socket()
    client.setsockopt(IP, pystack.IP_LOCAL_PORT_RANGE, struct.pack("HH", 45000, 45009))
    client.connect(listener.getsockname())
    assert 45000 <= client.getsockname()[1] <= 45009


@pytest.mark.parametrize("kind", [STREAM, DGRAM])
@pytest.mark.parametrize("family", [V4, V6])
def test_a_socket_may_be_bound_to_an_address_that_is_nobodys(host, kind, family):
    """IP_FREEBIND, which in IPv4 gives no right to speak from there; IP_TRANSPARENT does."""
    level, free, transparent = IP, pystack.IP_FREEBIND, pystack.IP_TRANSPARENT
    if family == V6:
        level, free, transparent = IPV6, pystack.IPV6_FREEBIND, pystack.IPV6_TRANSPARENT
    for option in (free, transparent):
        sock = host.socket(kind, family)
        address = (FOREIGN[family], 0)
        assert number_of_error(sock.bind, address) == errno.EADDRNOTAVAIL
        sock.setsockopt(level, option, 1)
        sock.bind(address)
        assert sock.getsockname()[0] == FOREIGN[family]
        if family == V4 and option == free:
            to = (host.address(), 9)
            call = sock.connect if kind == STREAM else lambda sock=sock, to=to: sock.sendto(b"", to)
            assert number_of_error(call, *([to] if kind == STREAM else [])) == errno.ENETUNREACH


def test_who_is_transparent_speaks_from_addresses_of_others(host):
    sock, receiver = host.socket(DGRAM), host.bound(DGRAM)
    sock.setsockopt(IP, pystack.IP_TRANSPARENT, 1)
    sock.bind(("10.0.0.77" if host.stack else "127.3.2.1", 4321))
    sock.sendto(b"x", receiver.getsockname())
    assert receiver.recvfrom(9)[1][1] == 4321


# SO_REUSEPORT.


def sharing(host: Host, kind: int, number: int) -> list[socket.socket]:
    """Sockets at one address and port."""
    made: list[socket.socket] = []
    for _ in range(number):
        sock = host.socket(kind)
        sock.setsockopt(SOL, socket.SO_REUSEPORT, 1)
        sock.bind(made[0].getsockname() if made else (host.address(), 0))
        if kind == STREAM:
            sock.listen(100)
        sock.setblocking(False)
        made.append(sock)
    return made


def test_listeners_share_connections_by_their_flow(host):
    listeners = sharing(host, STREAM, 3)
    for _ in range(60):
        host.socket().connect(listeners[0].getsockname())
    accepted = [0, 0, 0]
    for number, listener in enumerate(listeners):
        with suppress(BlockingIOError):
            while True:
                host.ending.enter_context(listener.accept()[0])
                accepted[number] += 1
    assert sum(accepted) == 60
    assert min(accepted) >= 5


def test_one_that_is_closed_before_it_listens_leaves_the_port_to_the_others():
    with Stack("10.1.0.0/24", now=0) as stack:
        bound = [stack.socket() for _ in range(3)]
        for sock in bound:
            sock.setsockopt(SOL, socket.SO_REUSEPORT, 1)
            sock.bind(("10.1.0.1", 80))
        bound.pop(0).close()
        with stack.socket() as other, pytest.raises(OSError, match="in use"):
            other.bind(("10.1.0.1", 80))
        for sock in bound:
            sock.listen()
            sock.close()


def test_a_listener_that_has_gone_gets_nothing_more(host):
    listeners = sharing(host, STREAM, 3)
    address = listeners[0].getsockname()
    for gone in (0, 1):
        listeners[gone].close()
        for _ in range(8):
            host.socket().connect(address)
    rest = [host.ending.enter_context(listeners[2].accept()[0]) for _ in range(8)]
    assert len(rest) == 8
    listeners[2].close()
    assert number_of_error(host.socket().connect, address) == errno.ECONNREFUSED


def test_datagrams_of_one_flow_go_to_one_of_those_that_share(host):
    receivers = sharing(host, DGRAM, 3)
    for _ in range(40):
        sender = host.bound(DGRAM)
        for _ in range(3):
            sender.sendto(b"x", receivers[0].getsockname())
    flows: list[dict[object, int]] = []
    for receiver in receivers:
        seen: dict[object, int] = {}
        with suppress(BlockingIOError):
            while True:
                source = receiver.recvfrom(9)[1]
                seen[source] = seen.get(source, 0) + 1
        flows.append(seen)
    assert sum(map(len, flows)) == 40
    assert all(count == 3 for seen in flows for count in seen.values())
    assert min(map(len, flows)) >= 3


@pytest.mark.parametrize("kind", [STREAM, DGRAM])
@pytest.mark.parametrize("both", [(1, 0), (0, 1)])
def test_a_port_is_shared_only_if_both_want_it(host, kind, both):
    one, other = host.socket(kind), host.socket(kind)
    one.setsockopt(SOL, socket.SO_REUSEPORT, both[0])
    other.setsockopt(SOL, socket.SO_REUSEPORT, both[1])
    one.bind((host.address(), 0))
    assert number_of_error(other.bind, one.getsockname()) == errno.EADDRINUSE


# ioctl, and urgent text.

SIOCINQ, SIOCOUTQ, SIOCOUTQNSD, SIOCATMARK = 0x541B, 0x5411, 0x894B, 0x8905


def ioctl(sock: socket.socket, request: int) -> int:
    if isinstance(sock, pystack.Socket):
        return sock.ioctl(request)
    return int.from_bytes(fcntl.ioctl(sock, request, bytes(4)), sys.byteorder)


def test_urgent_text_is_told_and_marked(host):
    """By select's exceptional condition, and SIOCATMARK; MSG_WAITALL ends at the mark, too."""
    client, server = host.connected()
    server.setsockopt(SOL, socket.SO_OOBINLINE, 1)
    watching = select.poll()
    watching.register(server, select.POLLIN | select.POLLPRI)
    client.sendall(b"before")
    client.send(b"!", socket.MSG_OOB)
    client.sendall(b"after")
    assert ioctl(server, SIOCINQ) == 12
    assert watching.poll(1000) == [(server.fileno(), select.POLLIN | select.POLLPRI)]
    assert select.select([], [], [server], 0) == ([], [], [server])
    assert not ioctl(server, SIOCATMARK)
    assert server.recv(12, socket.MSG_WAITALL) == b"before"
    assert ioctl(server, SIOCATMARK)
    assert server.recv(100) == b"!after"
    assert not ioctl(server, SIOCATMARK)
    assert watching.poll(0) == []


def test_ioctls_tell_what_is_queued(host):
    client, server = host.connected()
    client.sendall(b"abc")
    assert ioctl(server, SIOCINQ) == 3
    assert ioctl(client, SIOCOUTQ) == ioctl(client, SIOCOUTQNSD) == ioctl(server, SIOCATMARK) == 0
    datagrams, other = host.bound(DGRAM), host.bound(DGRAM)
    assert ioctl(datagrams, SIOCINQ) == 0
    for data in (b"four", b"x"):
        other.sendto(data, datagrams.getsockname())
    assert ioctl(datagrams, SIOCINQ) == 4
    assert ioctl(datagrams, SIOCOUTQ) == 0
    listener = host.bound(STREAM)
    assert ioctl(listener, SIOCINQ) == 0
    listener.listen()
    assert number_of_error(ioctl, listener, SIOCINQ) == errno.EINVAL
    assert number_of_error(ioctl, datagrams, SIOCOUTQNSD) == errno.ENOTTY
    assert number_of_error(ioctl, client, 0x1234) == errno.ENOTTY


# Datagrams in pieces, and without checksums.

UDP = socket.IPPROTO_UDP
MORE = socket.MSG_MORE


@pytest.mark.parametrize("family", [V4, V6])
def test_a_datagram_is_written_in_pieces(host, family):
    """UDP_CORK, MSG_MORE; the first piece says where it goes."""
    one, other, third = (host.bound(DGRAM, family) for _ in range(3))
    one.setblocking(False)
    other.setsockopt(UDP, pystack.UDP_CORK, 1)
    assert other.sendto(b"ab", one.getsockname()) == 2
    assert other.sendto(b"cd", third.getsockname()) == 2
    assert number_of_error(one.recv, 9) == errno.EAGAIN
    other.setsockopt(UDP, pystack.UDP_CORK, 0)
    assert one.recv(9) == b"abcd"
    other.sendto(b"", MORE, one.getsockname())
    other.sendto(b"x", MORE, one.getsockname())
    other.sendto(b"y" * 5000, one.getsockname())
    assert one.recv(9000) == b"x" + b"y" * 5000
    other.sendto(b"z", one.getsockname())
    assert one.recv(9) == b"z"


def test_a_datagram_that_grows_too_large_is_lost_as_a_whole(host):
    one, other = host.bound(DGRAM), host.bound(DGRAM)
    one.setblocking(False)
    other.connect(one.getsockname())
    other.send(bytes(40_000), MORE)
    assert number_of_error(other.send, bytes(40_000)) == errno.EMSGSIZE
    other.send(b"next")
    assert one.recv(9) == b"next"
    other.send(b"never", MORE)
    other.close()
    assert number_of_error(one.recv, 9) == errno.EAGAIN


def test_pieces_are_cut_as_the_first_says(host):
    """UDP_SEGMENT."""
    one, other = host.bound(DGRAM), host.bound(DGRAM)
    other.setsockopt(UDP, pystack.UDP_SEGMENT, 4)
    other.sendto(b"abcde", MORE, one.getsockname())
    other.sendto(b"fg", one.getsockname())
    assert [one.recv(9), one.recv(9)] == [b"abcd", b"efg"]


def test_ipv6_without_a_checksum_is_for_those_who_want_it(host):
    """RFC 6935, RFC 6936: UDP_NO_CHECK6_TX, UDP_NO_CHECK6_RX."""
    one, other = host.bound(DGRAM, V6), host.bound(DGRAM, V6)
    one.setblocking(False)
    other.setsockopt(UDP, pystack.UDP_NO_CHECK6_TX, 1)
    other.sendto(b"lost", one.getsockname())
    assert number_of_error(one.recv, 9) == errno.EAGAIN
    one.setsockopt(UDP, pystack.UDP_NO_CHECK6_RX, 1)
    other.sendto(b"taken", one.getsockname())
    assert one.recv(9) == b"taken"


def test_without_a_checksum_the_field_is_zero():
    """RFC 768; SO_NO_CHECK."""
    with Stack("10.0.0.0/24", now=0) as stack, stack.socket(V4, DGRAM) as sock:
        for value in (0, 1):
            sock.setsockopt(SOL, pystack.SO_NO_CHECK, value)
            sock.sendto(b"x", (FOREIGN[V4], 9))
            (packet,) = stack.transmit()
            assert (packet[26:28] == bytes(2)) is bool(value)
        sock.setsockopt(UDP, pystack.UDP_SEGMENT, 2)
        assert number_of_error(sock.sendto, b"abc", (FOREIGN[V4], 9)) == errno.EINVAL


# Filters of sources.


def ip_filter(mode: int, *sources: str, group: str = "239.1.2.3") -> bytes:
    """struct ip_msfilter."""
    addresses = b"".join(map(socket.inet_aton, sources))
    start = socket.inet_aton(group) + socket.inet_aton("127.0.0.1")
    return start + struct.pack("=II", mode, len(sources)) + addresses


@pytest.mark.parametrize(
    ("value", "joined", "code"),
    [
        (b"", True, errno.EINVAL),
        (ip_filter(1, "10.0.0.9"), False, errno.EINVAL),
        (ip_filter(1), False, errno.EADDRNOTAVAIL),
        (ip_filter(0), True, 0),
        (ip_filter(2, "10.0.0.9"), True, errno.EINVAL),
        (ip_filter(1, "10.0.0.9", group="10.1.2.3"), True, errno.EINVAL),
        (ip_filter(1, "10.0.0.9")[:-1], True, errno.EINVAL),
        (ip_filter(0, *("10.0.0.9",) * 11), True, errno.ENOBUFS),
        (ip_filter(1, "10.0.0.9", "10.0.0.8"), True, 0),
        (ip_filter(1), True, 0),
    ],
)
def test_what_ip_msfilter_takes_and_refuses(host, value, joined, code):
    """RFC 3678 section 4.1.3."""
    sock = host.socket(DGRAM)
    near = "127.0.0.1" if host.stack is None else "10.0.0.1"
    value = value.replace(socket.inet_aton("127.0.0.1"), socket.inet_aton(near))
    membership = socket.inet_aton("239.1.2.3") + socket.inet_aton(near)
    if joined:
        sock.setsockopt(IP, socket.IP_ADD_MEMBERSHIP, membership)
    if code:
        assert number_of_error(sock.setsockopt, IP, pystack.IP_MSFILTER, value) == code
    else:
        sock.setsockopt(IP, pystack.IP_MSFILTER, value)
    left = value == ip_filter(1).replace(socket.inet_aton("127.0.0.1"), socket.inet_aton(near))
    if left:
        call = sock.setsockopt, IP, socket.IP_DROP_MEMBERSHIP, membership
        assert number_of_error(*call) == errno.EADDRNOTAVAIL
