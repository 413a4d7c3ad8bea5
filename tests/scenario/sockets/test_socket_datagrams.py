"""Datagram sockets: what the kernel's do, ours do."""

from __future__ import annotations

import errno
import select
import socket
import struct
import sys

import pytest

import pystack

DGRAM = socket.SOCK_DGRAM


@pytest.fixture
def sockets(world):
    """The caller's socket, bound, and the server's."""
    client = world.fresh(DGRAM)
    client.bind((world.client_host, 0))
    return client, world.bound(DGRAM)


def test_any_size_may_be_asked_for(stack_world):
    server = stack_world.bound(DGRAM)
    stack_world.fresh(DGRAM).sendto(b"one", server.getsockname())
    assert server.recv(sys.maxsize) == b"one"
    server.setblocking(False)
    for flags in (0, socket.MSG_ERRQUEUE):
        with pytest.raises(BlockingIOError):
            server.recvmsg(sys.maxsize, 100, flags)


def test_datagrams_keep_their_edges_and_name_their_sender(sockets):
    client, server = sockets
    for data in (b"one", b"", b"three"):
        assert client.sendto(data, server.getsockname()) == len(data)
    assert server.recvfrom(100) == (b"one", client.getsockname())
    assert server.recv(100) == b""
    buffer = bytearray(10)
    assert server.recvfrom_into(buffer) == (5, client.getsockname())
    assert buffer[:5] == b"three"


def test_both_families_work_alike(world6):
    client, server = world6.fresh(DGRAM), world6.bound(DGRAM)
    client.bind((world6.client_host, 0))
    client.sendto(b"hello", server.getsockname())
    assert server.recvfrom(100) == (b"hello", client.getsockname())


def test_what_does_not_fit_is_cut_off(sockets):
    client, server = sockets
    for _ in range(3):
        client.sendto(b"hello", server.getsockname())
    assert server.recv(3) == b"hel"
    assert server.recv_into(bytearray(3)) == 3
    data, _, flags, _ = server.recvmsg(3)
    assert (data, flags) == (b"hel", socket.MSG_TRUNC)
    client.sendto(b"whole", server.getsockname())
    assert server.recvmsg(5)[2] == 0


def test_receiving_nothing_takes_a_datagram(sockets):
    client, server = sockets
    client.sendto(b"first", server.getsockname())
    client.sendto(b"second", server.getsockname())
    assert server.recvfrom(0) == (b"", client.getsockname())
    assert server.recv(100) == b"second"


def test_a_peeked_datagram_stays(sockets):
    client, server = sockets
    client.sendto(b"hello", server.getsockname())
    assert server.recvfrom(2, socket.MSG_PEEK) == (b"he", client.getsockname())
    assert server.recv(100) == b"hello"


def test_a_connected_socket_hears_its_peer_only(world, sockets):
    client, server = sockets
    server.connect(client.getsockname())
    assert server.getpeername() == client.getsockname()
    stranger = world.fresh(DGRAM)
    stranger.sendto(b"stranger", server.getsockname())
    client.connect(server.getsockname())
    assert client.send(b"friend") == 6
    assert server.recv(100) == b"friend"
    assert server.sendmsg([b"an", b"swer"]) == 6
    assert client.recvmsg(100)[0] == b"answer"


def test_a_closed_port_is_told_to_a_connected_socket(world, sockets):
    client, server = sockets
    name = server.getsockname()
    server.close()
    client.connect(name)
    client.send(b"anybody?")
    with pytest.raises(ConnectionRefusedError):
        client.recv(100)
    assert client.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0


@pytest.mark.parametrize(
    ("call", "code"),
    [
        (lambda one: one.send(b"x"), errno.EDESTADDRREQ),
        (lambda one: one.getpeername(), errno.ENOTCONN),
        (lambda one: one.listen(), errno.EOPNOTSUPP),
        (lambda one: one.accept(), errno.EOPNOTSUPP),
        (lambda one: one.sendto(bytes(65508), ("127.0.0.1", 9)), errno.EMSGSIZE),
        (lambda one: one.shutdown(socket.SHUT_RDWR), errno.ENOTCONN),
    ],
    ids=["send", "getpeername", "listen", "accept", "sendto", "shutdown"],
)
def test_a_fresh_socket_cannot(world, call, code):
    one = world.fresh(DGRAM)
    one.settimeout(None)
    with pytest.raises(OSError) as caught:
        call(one)
    assert caught.value.errno == code


def test_timeouts_are_those_of_sockets(world):
    one = world.bound(DGRAM)
    one.settimeout(0.001)
    with pytest.raises(TimeoutError, match=r"^timed out$"):
        one.recv(1)
    one.settimeout(0)
    with pytest.raises(BlockingIOError) as caught:
        one.recvfrom(1)
    assert caught.value.errno == errno.EAGAIN


def test_sendto_takes_flags_in_the_middle(sockets):
    client, server = sockets
    assert client.sendto(b"x", 0, server.getsockname()) == 1
    assert server.recv(1) == b"x"
    with pytest.raises(TypeError):
        client.sendto(b"x")
    with pytest.raises(TypeError):
        client.sendto(b"x", 0, server.getsockname(), 1)


def test_the_longest_datagram_arrives(sockets):
    client, server = sockets
    data = bytes(range(256)) * 256
    assert client.sendto(data[:65507], server.getsockname()) == 65507
    assert server.recv(65536) == data[:65507]


def test_a_wildcard_socket_answers_from_the_address_that_was_called(pair):
    """IP_PKTINFO, as ip(7)."""
    with pair.near.socket(type=DGRAM) as server, pair.far.socket(type=DGRAM) as client:
        client.settimeout(5)
        server.settimeout(5)
        server.bind(("", 53))
        server.setsockopt(socket.IPPROTO_IP, pystack.IP_PKTINFO, 1)
        client.sendto(b"who?", ("10.1.0.200", 53))
        data, messages, _, peer = server.recvmsg(100, 100)
        [(level, kind, info)] = messages
        assert (data, level, kind) == (b"who?", socket.IPPROTO_IP, pystack.IP_PKTINFO)
        assert struct.unpack("i4s4s", info)[1] == socket.inet_aton("10.1.0.200")
        server.sendmsg([b"me"], messages, 0, peer)
        assert client.recvfrom(100) == (b"me", ("10.1.0.200", 53))


def test_control_messages_of_both_families_tell_what_was_asked_for(pair):
    v6 = socket.IPPROTO_IPV6
    with (
        pair.near.socket(socket.AF_INET6, DGRAM) as server,
        pair.far.socket(socket.AF_INET6, DGRAM) as client,
    ):
        server.settimeout(5)
        server.bind(("fd01::7", 53))
        for option in (socket.IPV6_RECVPKTINFO, socket.IPV6_RECVHOPLIMIT, socket.IPV6_RECVTCLASS):
            assert server.getsockopt(v6, option) == 0
            server.setsockopt(v6, option, 1)
            assert server.getsockopt(v6, option) == 1
        client.setsockopt(v6, socket.IPV6_UNICAST_HOPS, 9)
        client.setsockopt(v6, socket.IPV6_TCLASS, 0x28)
        client.sendto(b"x", server.getsockname())
        _, messages, flags, _ = server.recvmsg(1, 200)
        assert flags == 0
        assert {(level, kind): value for level, kind, value in messages} == {
            (v6, socket.IPV6_PKTINFO): socket.inet_pton(socket.AF_INET6, "fd01::7") + bytes(4),
            (v6, socket.IPV6_HOPLIMIT): struct.pack("i", 9),
            (v6, socket.IPV6_TCLASS): struct.pack("i", 0x28),
        }
        client.sendto(b"x", server.getsockname())
        _, messages, flags, _ = server.recvmsg(1, socket.CMSG_SPACE(20))
        assert len(messages) == 1
        assert flags == socket.MSG_CTRUNC


def test_an_unknown_control_message_is_refused(pair):
    with pair.near.socket(type=DGRAM) as one:
        with pytest.raises(OSError) as caught:
            one.sendmsg([b"x"], [(socket.IPPROTO_IP, 999, b"")], 0, ("10.2.0.1", 9))
        assert caught.value.errno == errno.EINVAL


def test_a_train_is_cut_and_received_piece_by_piece_or_whole(pair):
    """UDP_SEGMENT and UDP_GRO, as udp(7)."""
    with pair.near.socket(type=DGRAM) as server, pair.far.socket(type=DGRAM) as client:
        server.settimeout(5)
        server.bind(("10.1.0.5", 9))
        client.setsockopt(socket.IPPROTO_UDP, pystack.UDP_SEGMENT, 1000)
        assert client.sendto(bytes(2500), ("10.1.0.5", 9)) == 2500
        assert [len(server.recv(5000)) for _ in range(3)] == [1000, 1000, 500]
        server.setsockopt(socket.IPPROTO_UDP, pystack.UDP_GRO, 1)
        one_time = [(socket.IPPROTO_UDP, pystack.UDP_SEGMENT, struct.pack("H", 800))]
        assert client.sendmsg([bytes(2400)], one_time, 0, ("10.1.0.5", 9)) == 2400
        data, messages, _, _ = server.recvmsg(5000, 100)
        assert len(data) == 2400
        assert messages == [(socket.IPPROTO_UDP, pystack.UDP_GRO, struct.pack("i", 800))]


@pytest.mark.parametrize(
    ("family", "protocol", "kinds", "host"),
    [
        (socket.AF_INET, socket.IPPROTO_ICMP, (8, 0), "10.1.0.9"),
        (socket.AF_INET6, socket.IPPROTO_ICMPV6, (128, 129), "fd01::9"),
    ],
)
def test_an_echo_socket_pings(pair, family, protocol, kinds, host):
    with pair.far.socket(family, DGRAM, protocol) as pinger:
        pinger.settimeout(5)
        assert pinger.proto == protocol
        pinger.sendto(struct.pack("!BBHHH", kinds[0], 0, 0, 0, 7) + b"payload", (host, 0))
        reply, peer = pinger.recvfrom(2000)
        assert reply[0] == kinds[1]
        assert reply[6:] == b"\0\7payload"
        assert peer[0] == host


def test_a_shut_socket_ends_who_waits_for_it(stack_world, in_thread):
    one = stack_world.bound(DGRAM)
    one.settimeout(None)
    waiting = in_thread(one.recv, 1)
    with pytest.raises(OSError) as caught:
        one.shutdown(socket.SHUT_RD)
    assert caught.value.errno == errno.ENOTCONN
    assert waiting.result() == b""


def closed_port(world):
    """An address where nobody is."""
    with world.bound(DGRAM) as gone:
        return gone.getsockname()


def test_the_error_queue_tells_what_became_of_a_datagram(world):
    """IP_RECVERR: the same from the kernel and from a stack; Linux's sock_extended_err."""
    check_error_queue(world, False)


def test_the_error_queue_tells_what_became_of_an_ipv6_datagram(world6):
    check_error_queue(world6, True)


def check_error_queue(world, v6):
    level, option = (socket.IPPROTO_IPV6, 25) if v6 else (socket.IPPROTO_IP, 11)
    client = world.fresh(DGRAM)
    client.setsockopt(level, option, 1)
    to = closed_port(world)
    client.sendto(b"is anybody there?", to)
    assert select.select([client], [], [], 20)[0]
    client.setblocking(False)
    data, control, flags, sender = client.recvmsg(100, 200, socket.MSG_ERRQUEUE)
    assert data == b"is anybody there?"
    assert flags == socket.MSG_ERRQUEUE
    assert sender[:2] == to[:2]
    error = pystack.extended_error(control, data)
    assert error is not None
    assert (error.errno, error.info) == (errno.ECONNREFUSED, 0)
    assert (error.origin, error.type, error.code) == (("icmp6", 1, 4) if v6 else ("icmp", 3, 3))
    assert error.offender == to[0]
    assert [(one, kind) for one, kind, _ in control] == [(level, option)]
    assert client.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0
    with pytest.raises(BlockingIOError):
        client.recvmsg(100, 200, socket.MSG_ERRQUEUE)


def test_the_error_queue_is_emptied_with_its_option(world):
    client = world.fresh(DGRAM)
    client.setsockopt(socket.IPPROTO_IP, 11, 1)
    client.sendto(b"?", closed_port(world))
    assert select.select([client], [], [], 20)[0]
    client.setblocking(False)
    client.setsockopt(socket.IPPROTO_IP, 11, 0)
    with pytest.raises(BlockingIOError):
        client.recvmsg(100, 200, socket.MSG_ERRQUEUE)


# (level, to be told, type, as the value is sent, as it is told) of IPv4 and of IPv6
MARKS = [
    (socket.IPPROTO_IP, 12, 2, struct.Struct("i"), struct.Struct("i")),  # IP_RECVTTL, IP_TTL
    (socket.IPPROTO_IP, 13, 1, struct.Struct("B"), struct.Struct("B")),  # IP_RECVTOS, IP_TOS
    (socket.IPPROTO_IP, 13, 1, struct.Struct("i"), struct.Struct("B")),
    (socket.IPPROTO_IPV6, 51, 52, struct.Struct("i"), struct.Struct("i")),  # IPV6_HOPLIMIT
    (socket.IPPROTO_IPV6, 66, 67, struct.Struct("i"), struct.Struct("i")),  # IPV6_TCLASS
]


def marked(world, level, ask):
    client, server = world.fresh(DGRAM), world.bound(DGRAM)
    server.setsockopt(level, ask, 1)

    def send(*message):
        client.sendmsg([b"x"], [(level, *message)], 0, server.getsockname())
        return server.recvmsg(9, 100)[1]

    return send


@pytest.mark.parametrize(("level", "ask", "kind", "sent", "told"), MARKS[:3])
def test_a_control_message_marks_one_datagram(world, level, ask, kind, sent, told):
    """ip(7)."""
    check_marks(world, level, ask, kind, sent, told)


@pytest.mark.parametrize(("level", "ask", "kind", "sent", "told"), MARKS[3:])
def test_a_control_message_marks_one_ipv6_datagram(world6, level, ask, kind, sent, told):
    """RFC 3542 sections 6.3 and 6.5."""
    check_marks(world6, level, ask, kind, sent, told)


def check_marks(world, level, ask, kind, sent, told):
    send = marked(world, level, ask)
    before = send(kind, sent.pack(8))
    assert before == [(level, kind, told.pack(8))]
    for wrong in (256, -2):
        if sent.size > 1:
            with pytest.raises(OSError) as caught:
                send(kind, sent.pack(wrong))
            assert caught.value.errno == errno.EINVAL
    if level == socket.IPPROTO_IPV6:
        assert send(kind, sent.pack(-1)) != before  # the socket's


def test_messages_and_buffers_are_checked_before_anything_is_sent_or_received(world):
    client, server = world.fresh(DGRAM), world.bound(DGRAM)
    to = server.getsockname()
    for messages in (object(), [object()], [(0, 0)], [(0, object(), b"")], [(0, 0, object())]):
        with pytest.raises(TypeError):
            client.sendmsg([b"x"], messages, 0, to)
    client.sendmsg([b"x"], (message for message in ()), 0, to)
    for problem, size, room in ((ValueError, 9, -1), (TypeError, 9, object())):
        with pytest.raises(problem):
            server.recvmsg(size, room)
    with pytest.raises(TypeError):
        server.recvmsg_into([b"read only"])
    assert server.recv(9) == b"x"


def test_a_stream_checks_what_sendmsg_is_given_too(world):
    client, _ = world.connected()
    for arguments in ((object(),), ([object()],), ([], 0, object())):
        with pytest.raises(TypeError):
            client.sendmsg([b"x"], *arguments)


def test_flow_information_and_scope_are_checked(world6):
    sock = world6.fresh(DGRAM)
    for problem, *more in ((OverflowError, -10), (OverflowError, 1 << 20), (TypeError, 0, "lo")):
        with pytest.raises(problem):
            sock.bind((world6.host, 0, *more))
