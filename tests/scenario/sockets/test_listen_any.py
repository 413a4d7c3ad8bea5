"""listen_any: a decision for each new flow that nobody waits for; the socket speaks as that one."""

from __future__ import annotations

import gc
import select
import socket
import time

import pytest

from pystack import Stack

UDP = socket.SOCK_DGRAM


@pytest.fixture
def anyone(pair):
    """Who decides at 10.1.0.0/24, and the stack that calls."""
    with pair.near.listen_any() as listener:
        listener.settimeout(20)
        yield listener


def caller(pair, host, port, in_thread):
    return in_thread(lambda: pair.far.create_connection((host, port), timeout=20))


@pytest.mark.parametrize("host", ["10.1.0.77", "fd01::77"])
def test_an_accepted_connection_speaks_as_its_destination(pair, anyone, in_thread, host):
    calling = caller(pair, host, 4711, in_thread)
    request = anyone.accept()
    assert request.protocol == "tcp"
    assert request.destination == (host, 4711)
    with request.accept() as server, calling.result() as client:
        assert request.source == client.getsockname()[:2]
        assert server.getsockname()[:2] == (host, 4711)
        assert server.getpeername() == client.getsockname()
        server.settimeout(20)
        server.sendall(b"hello")
        assert client.recv(5, socket.MSG_WAITALL) == b"hello"
        client.sendall(b"answer")
        client.shutdown(socket.SHUT_WR)
        assert server.recv(6, socket.MSG_WAITALL) == b"answer"
        assert server.recv(1) == b""


def test_a_refused_connection_is_refused(pair, anyone, in_thread):
    calling = caller(pair, "10.1.0.77", 1, in_thread)
    anyone.accept().refuse()
    with pytest.raises(ConnectionRefusedError):
        calling.result()


def test_a_dropped_one_hears_nothing_and_is_asked_about_again(pair, anyone, in_thread):
    """Its SYN is repeated, and that is a new request."""
    calling = caller(pair, "10.1.0.77", 1, in_thread)
    first = anyone.accept()
    first.drop()
    again = anyone.accept()
    assert again.source == first.source
    again.refuse()
    with pytest.raises(ConnectionRefusedError):
        calling.result()


@pytest.mark.parametrize("host", ["10.1.0.77", "fd01::77"])
def test_datagrams_that_came_before_the_decision_are_delivered(pair, anyone, host):
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with pair.far.socket(family, UDP) as client:
        client.settimeout(20)
        client.connect((host, 53))
        for text in (b"one", b"two"):
            client.send(text)
        request = anyone.accept()
        assert (request.protocol, request.destination) == ("udp", (host, 53))
        with request.accept() as server:
            server.settimeout(20)
            assert server.getpeername() == client.getsockname()
            assert server.recv(10) == b"one"
            assert server.recv(10) == b"two"
            server.send(b"answer")
            assert client.recv(10) == b"answer"
            client.send(b"three")
            assert server.recv(10) == b"three"


def test_a_refused_datagram_is_told_by_icmp(pair, anyone):
    with pair.far.socket(type=UDP) as client:
        client.settimeout(20)
        client.connect(("10.1.0.77", 53))
        client.send(b"x")
        anyone.accept().refuse()
        with pytest.raises(ConnectionRefusedError):
            client.recv(1)


def test_many_flows_at_one_address_and_port_have_a_socket_each(pair, anyone):
    clients = [pair.far.socket(type=UDP) for _ in range(5)]
    servers = []
    for number, client in enumerate(clients):
        client.settimeout(20)
        client.sendto(b"%d" % number, ("10.1.0.77", 53))
        servers.append(anyone.accept().accept())
    for number, server in enumerate(servers):
        server.settimeout(20)
        assert server.recv(10) == b"%d" % number
        server.send(b"to %d" % number)
    for number, client in enumerate(clients):
        assert client.recv(10) == b"to %d" % number
        client.close()
        servers[number].close()


def test_sockets_and_services_come_first(pair, anyone):
    pair.near.serve("echo", "tcp", 7)
    listener = pair.near.create_server(("10.1.0.5", 80))
    for address in (("10.1.0.5", 80), ("10.1.0.9", 7)):
        pair.far.create_connection(address, timeout=20).close()
    listener.close()
    anyone.settimeout(0)
    with pytest.raises(BlockingIOError):
        anyone.accept()


def test_the_policy_comes_first(pair, anyone):
    pair.near.set_policy("10.1.0.64/26", "refuse")
    with pytest.raises(ConnectionRefusedError):
        pair.far.create_connection(("10.1.0.77", 1), timeout=20)
    anyone.settimeout(0)
    with pytest.raises(BlockingIOError):
        anyone.accept()


def test_one_decision_only(pair, anyone, in_thread):
    calling = caller(pair, "10.1.0.77", 1, in_thread)
    request = anyone.accept()
    request.accept().close()
    calling.result().close()
    for again in (request.accept, request.refuse, request.drop):
        with pytest.raises(ConnectionAbortedError):
            again()


def test_callbacks_decide_in_a_thread(pair):
    seen = []

    def on_tcp(request):
        if request.destination[1] == 23:
            request.refuse()
            return
        with request.accept() as server:
            server.sendall(repr(request.destination).encode())

    def on_udp(request):
        with request.accept() as server:
            server.send(server.recv(100).upper())
        seen.append(request.source)

    with pair.near.listen_any(on_tcp, on_udp) as listener:
        thread = listener.thread
        with pair.far.create_connection(("10.1.0.9", 9), timeout=20) as client:
            assert client.makefile().read() == "('10.1.0.9', 9)"
        with pytest.raises(ConnectionRefusedError):
            pair.far.create_connection(("10.1.0.9", 23), timeout=20)
        with pair.far.socket(type=UDP) as client:
            client.settimeout(20)
            client.sendto(b"x", ("10.1.0.200", 9))
            assert client.recv(1) == b"X"
    assert listener.closed
    assert not thread.is_alive()
    assert len(seen) == 1


def test_a_callback_that_fails_is_logged_and_its_flow_dropped(pair, caplog):
    def fail(request):
        raise LookupError("nobody")

    with pair.near.listen_any(on_udp=fail), pair.far.socket(type=UDP) as client:
        with pytest.raises(ConnectionRefusedError):  # TCP nobody is asked about
            pair.far.create_connection(("10.1.0.9", 1), timeout=20)
        for number in (1, 2):  # the second is a flow of its own, as the first has been dropped
            client.sendto(b"x", ("10.1.0.200", 9))
            deadline = time.monotonic() + 20
            while len(caplog.records) < number:
                assert time.monotonic() < deadline
                time.sleep(0.001)
    assert "nobody" in caplog.text


def test_closing_ends_who_waits_and_lets_sockets_live(pair, in_thread):
    listener = pair.near.listen_any()
    calling = caller(pair, "10.1.0.77", 1, in_thread)
    listener.settimeout(20)
    server, client = listener.accept().accept(), calling.result()
    waiting = in_thread(list, listener)
    listener.close()
    assert waiting.result() == []
    with server, client:
        server.sendall(b"x")
        assert client.recv(1) == b"x"
    with pytest.raises(ConnectionRefusedError):
        pair.far.create_connection(("10.1.0.77", 1), timeout=20)


def test_only_one_at_a_time(pair, anyone):
    with pytest.raises(OSError, match="in use"):
        pair.near.listen_any()
    anyone.close()
    pair.near.listen_any().close()


def test_it_can_be_waited_for(pair, anyone, in_thread):
    fd = anyone.fileno()
    assert not select.select([fd], [], [], 0)[0]
    calling = caller(pair, "10.1.0.77", 1, in_thread)
    assert select.select([fd], [], [], 20)[0]
    anyone.accept().refuse()
    assert not select.select([fd], [], [], 0)[0]
    with pytest.raises(ConnectionRefusedError):
        calling.result()


def test_a_closed_stack_ends_it(in_thread):
    with Stack("10.0.0.0/24", driver="caller") as stack, stack.listen_any() as listener:
        assert not listener.closed
    assert listener.closed
    assert list(listener) == []


# By hand: what is on the wire.


def syn(source_port, destination="10.0.0.7", port=80):
    from dpkt import ip, tcp

    segment = tcp.TCP(sport=source_port, dport=port, seq=1000, flags=tcp.TH_SYN, win=65535)
    packet = ip.IP(
        src=socket.inet_aton("192.0.2.1"), dst=socket.inet_aton(destination), p=6, data=segment
    )
    packet.len = len(bytes(packet))
    return bytes(packet)


def answers(stack):
    from dpkt import ip

    return [ip.IP(packet).data for packet in stack.transmit()]


@pytest.fixture
def turned():
    with Stack("10.0.0.0/24", "10.9.0.0/16", now=0) as stack, stack.listen_any(limit=4) as listener:
        yield stack, listener


def test_nothing_is_sent_before_the_decision(turned):
    stack, listener = turned
    for _ in range(3):
        stack.receive(syn(5000))
    assert answers(stack) == []
    request = listener.accept()
    with pytest.raises(BlockingIOError):
        listener.accept()
    server = request.accept()
    (answer,) = answers(stack)
    assert answer.flags == 0x12
    assert (answer.dport, answer.ack) == (5000, 1001)
    server.close()


def test_an_accepted_handshake_that_stays_unanswered_times_out(turned):
    """RFC 9293 section 3.8.1: the SYN-ACK is repeated, and then given up."""
    stack, listener = turned
    stack.receive(syn(5000), 0)
    server = listener.accept().accept()
    repeated = 0
    for second in range(200):
        stack.poll(second * 10**9)
        repeated += len(answers(stack))
    assert repeated > 3
    with pytest.raises(TimeoutError):
        server.recv(1)
    server.close()


def test_who_waits_is_bounded_and_the_oldest_goes(turned):
    stack, listener = turned
    for port in range(5000, 5006):
        stack.receive(syn(port))
    requests = [listener.accept() for _ in range(4)]
    assert [request.source[1] for request in requests] == [5002, 5003, 5004, 5005]
    stack.receive(syn(6000))
    with pytest.raises(ConnectionAbortedError):
        requests[0].accept()
    requests[1].refuse()
    (answer,) = answers(stack)
    assert answer.flags & 4
    assert stack.counters()["ip_drop_flow_undecided"] == 3
    assert stack.counters()["ip_flows_asked"] == 7


def test_only_a_syn_asks(turned):
    stack, listener = turned
    packet = bytearray(syn(5000))
    packet[33] = 0x10  # ACK
    packet[36:38] = bytes(2)
    from dpkt import ip

    fixed = ip.IP(bytes(packet))
    fixed.data.sum = fixed.sum = 0
    stack.receive(bytes(fixed))
    (answer,) = answers(stack)
    assert answer.flags & 4
    with pytest.raises(BlockingIOError):
        listener.accept()


def test_memory_is_given_back(turned):
    stack, listener = turned
    for port in range(5000, 5010):
        stack.receive(syn(port))
    listener.accept().drop()
    listener.close()
    answers(stack)
    assert stack._live_packets() == 0


def test_requests_that_nobody_decided_about_cost_nothing_when_forgotten(turned):
    stack, listener = turned
    stack.receive(syn(5000))
    request = listener.accept()
    listener.close()
    with pytest.raises(OSError, match="Bad file"):
        request.accept()
    del request
    gc.collect()


@pytest.mark.parametrize("limit", [0, -1])
def test_a_limit_is_positive(pair, limit):
    with pytest.raises(ValueError, match="limit"):
        pair.near.listen_any(limit=limit)


def test_callbacks_need_a_thread(turned):
    stack, listener = turned
    listener.close()
    with pytest.raises(ValueError, match="thread"):
        stack.listen_any(print)
    stack.listen_any().close()
