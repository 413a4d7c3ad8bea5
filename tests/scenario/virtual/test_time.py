"""Virtual time: who runs, when it passes, and what ends it."""

from __future__ import annotations

import socket
import struct
import threading
import time

import pytest

from pystack.testing import Deadlock, TimeLimit, VirtualNetwork

ADDRESS = ("10.0.0.2", 80)


def echo_once(host, address=ADDRESS):
    with host.create_server(address) as listener:
        connection, _ = listener.accept()
        with connection:
            while data := connection.recv(65536):
                connection.sendall(data)


def test_blocking_sockets_need_one_thread_only(pair):
    """A call that waits lets time pass, so both ends can be used in turn."""
    a, b, _ = pair
    with b.create_server(ADDRESS) as listener, a.create_connection(ADDRESS) as client:
        server, _ = listener.accept()
        with server:
            client.sendall(b"hello")
            assert server.recv(5) == b"hello"
            server.sendall(b"world")
            assert client.recv(5) == b"world"


def test_time_is_that_of_the_wire(net, pair):
    a, b, _ = pair
    with b.create_server(ADDRESS), a.create_connection(ADDRESS):
        assert net.now_ns == 20_000_000
    net.sleep("1.5s")
    assert net.now == 1.52
    net.run(until="2min")
    assert net.now == 120


def test_spawned_functions_run_while_others_wait(net, pair):
    a, b, _ = pair
    net.spawn(echo_once, b)
    net.sleep(0)
    with a.create_connection(ADDRESS) as client:
        client.sendall(b"hello")
        assert client.recv(100) == b"hello"
    net.run()
    assert not net._world.tasks


def test_exactly_one_function_runs_at_a_time(net):
    running = []
    order = []

    def one(number):
        for step in range(20):
            running.append(number)
            assert running == [number]
            time.sleep(0.0001)  # others would come in between
            running.remove(number)
            order.append((number, step))
            net.sleep(number * 1e-3)

    for number in range(3):
        net.spawn(one, number)
    net.run()
    assert order[:3] == [(0, 0), (1, 0), (2, 0)]
    assert len(order) == 60


def test_results_and_exceptions_come_back(net):
    def good(x, *, y):
        net.sleep(1)
        return x + y

    def bad():
        raise ZeroDivisionError

    assert net.spawn(good, 1, y=2).result() == 3
    with pytest.raises(ZeroDivisionError):
        net.spawn(bad).result()


def test_a_failure_that_nobody_waits_for_is_raised_where_the_main_thread_waits(net, pair):
    _, b, _ = pair

    def bad():
        net.sleep(1)
        raise ZeroDivisionError

    net.spawn(bad)
    with b.create_server(ADDRESS) as listener, pytest.raises(ZeroDivisionError):
        listener.accept()
    assert net.now == 1


def failed_send():
    """A network in which something has failed that nobody has waited for yet."""
    net = VirtualNetwork()
    a, b = net.host("10.0.0.1"), net.host("10.0.0.2")
    net.link(a, b).there.set(filter=lambda packet: 1 // 0)
    with a.socket(type=socket.SOCK_DGRAM) as sender:
        sender.sendto(b"", ("10.0.0.2", 9))
    return net


def test_a_failure_that_nobody_waits_for_is_raised_at_the_end():
    with pytest.raises(ZeroDivisionError), failed_send() as net:
        pass
    assert net.closed


def test_a_failure_of_the_main_function_is_the_one_that_is_raised():
    with pytest.raises(KeyError), failed_send():
        raise KeyError


def test_a_timeout_is_virtual(net, pair):
    _, b, _ = pair
    began = time.monotonic()
    with b.create_server(ADDRESS) as listener:
        listener.settimeout(3600)
        with pytest.raises(TimeoutError):
            listener.accept()
    assert net.now == 3600
    assert time.monotonic() - began < 30


def test_so_linger_counts_virtual_seconds(net, pair):
    a, b, link = pair
    with b.create_server(ADDRESS), a.create_connection(ADDRESS) as client:
        link.partition()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\x05\0\0\0")
        client.sendall(b"never arrives")
        client.close()
        assert net.now == pytest.approx(5.02)


def test_an_hour_of_retransmission_takes_no_time(net, pair):
    a, b, link = pair
    with b.create_server(ADDRESS), a.create_connection(ADDRESS) as client:
        link.partition()
        client.sendall(b"x")
        began = time.monotonic()
        with pytest.raises(TimeoutError):
            client.recv(1)
        assert net.now > 600  # fifteen retransmissions, backed off to two minutes
        assert time.monotonic() - began < 5


def test_a_deadlock_says_who_waits_and_where(net, pair):
    a, b, _ = pair

    def server():
        with b.create_server(ADDRESS) as listener:
            listener.accept()

    net.spawn(server)
    with a.create_server(("10.0.0.1", 1)) as listener, pytest.raises(Deadlock) as caught:
        listener.accept()
    text = str(caught.value)
    assert "nothing will ever happen again" in text
    assert "main waits in test_a_deadlock_says_who_waits_and_where, " in text
    assert "server waits in server, " in text
    assert "test_time.py:" in text


def test_run_for_functions_that_wait_for_each_other_is_a_deadlock(net, pair):
    _, b, _ = pair
    net.spawn(echo_once, b)
    with pytest.raises(Deadlock, match="echo_once waits"):
        net.run()


def test_a_time_limit_ends_what_goes_on_for_ever():
    with VirtualNetwork(limit="1h") as net:
        net.sleep("59min")
        with pytest.raises(TimeLimit, match="3600 s is reached"):
            net.sleep("1min")


def test_time_that_stands_still_is_an_error(net):
    def again():
        net.at(0, again)

    again()
    with pytest.raises(RuntimeError, match="time stands still"):
        net.sleep(1)


def test_other_threads_are_refused(net):
    raised = []

    def call():
        try:
            net.sleep(1)
        except RuntimeError as problem:
            raised.append(str(problem))

    thread = threading.Thread(target=call)
    thread.start()
    thread.join()
    assert raised == [
        "pystack: this thread is none of the virtual network's; begin it with net.spawn()"
    ]


def test_calls_at_a_time(net):
    seen = []
    net.at("2s", lambda: seen.append(net.now))
    net.at(1, seen.append, "one")
    cancelled = net.at(1.5, seen.append, "never")
    cancelled.cancel()
    net.run(until=3)
    assert seen == ["one", 2.0]


def test_waiting_for_a_fact(net):
    seen = []
    net.at(1, seen.append, 1)
    assert net.wait_for(lambda: seen) == [1]
    assert net.now == 1
    assert not net.wait_for(lambda: len(seen) == 2, timeout="3s")
    assert net.now == 4


def test_closing_ends_functions_that_wait():
    ended = []

    def forever(net):
        try:
            net.sleep(1e6)
        finally:
            ended.append(net.now)

    with VirtualNetwork() as net:
        for _ in range(3):
            net.spawn(forever, net)
        net.run(until=5)
    assert ended == [5.0] * 3
    with pytest.raises(RuntimeError, match="is closed"):
        net.sleep(1)


def test_a_function_that_never_began_ends_with_the_network():
    with VirtualNetwork() as net:
        net.spawn(pytest.fail)
    assert net.closed


def test_a_failure_in_the_main_thread_closes_everything():
    net = VirtualNetwork()

    def fail():
        with net:
            a, b = net.host("10.0.0.1"), net.host("10.0.0.2")
            net.link(a, b)
            net.spawn(echo_once, b)
            net.sleep(1)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert net.closed


def conversation(seed):
    """A transfer over a bad wire, as packets with their times."""
    log = []
    with VirtualNetwork(seed, delay="5ms", jitter="3ms", loss="5%", reorder="5%") as net:
        a, b = net.host("10.0.0.1"), net.host("10.0.0.2")
        link = net.link(a, b, duplicate="2%", corrupt="1%", rate="10Mbit/s")
        link.there.way.on_depart = lambda *what: log.append(what)
        link.back.way.on_depart = lambda *what: log.append(what)
        net.spawn(echo_once, b)
        net.sleep(0)
        with a.create_connection(ADDRESS) as client:
            net.spawn(client.sendall, bytes(range(256)) * 400)
            received = b""
            while len(received) < 102_400:
                received += client.recv(65536)
            assert received == bytes(range(256)) * 400
        net.run()
        assert net.settle("10min")
        assert a._live_packets() == b._live_packets() == 0
        assert a.connections() == b.connections() == []
    return log


def test_the_same_seed_gives_the_same_packets_at_the_same_times():
    assert conversation(3) == conversation(3)
    assert conversation(3) != conversation(4)


def test_the_same_seed_gives_byte_identical_captures(tmp_path):
    def run(name):
        with VirtualNetwork(9, delay="5ms", loss="5%") as net:
            a, b = net.host("10.0.0.1", name="a"), net.host("10.0.0.2", name="b")
            net.pcap(tmp_path / name)
            net.link(a, b).pcap(tmp_path / name / "link")
            net.spawn(echo_once, b)
            net.sleep(0)
            with a.create_connection(ADDRESS) as client:
                client.sendall(bytes(10_000))
                client.shutdown(socket.SHUT_WR)
                while client.recv(65536):
                    pass
            net.run()
        return [(p.name, p.read_bytes()) for p in sorted((tmp_path / name).iterdir())]

    one = run("one")
    assert [name for name, _ in one] == ["a.pcapng", "b.pcapng", "link"]
    assert all(len(data) > 1000 for _, data in one)
    assert one == run("two")


def test_threads_are_not_left_behind():
    before = threading.active_count()
    conversation(1)
    assert threading.active_count() == before


def test_a_reader_below_the_low_water_mark_goes_on_when_less_comes(net, pair):
    """SO_RCVLOWAT is how much recv returns, not how much must come at once."""
    a, b, _ = pair
    with b.create_server(ADDRESS) as listener, a.create_connection(ADDRESS) as client:
        server, _ = listener.accept()
        server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 6)
        client.sendall(b"abc")
        net.sleep("1s")
        received = []
        net.spawn(lambda: received.append(server.recv(100)))
        net.sleep("1s")
        client.sendall(b"def")
        net.sleep("1s")
        assert received == [b"abcdef"]
        server.close()


def test_a_read_of_everything_gives_what_came_before_a_reset_and_then_the_reset():
    """MSG_WAITALL; as Linux."""
    with VirtualNetwork(seed=1, delay="5ms") as net:
        a, b = net.host("10.0.0.1"), net.host("10.0.0.2")
        net.link(a, b)

        def serve():
            with b.create_server(("10.0.0.2", 7)) as listener:
                peer, _ = listener.accept()
                peer.sendall(b"hello")
                net.sleep(1)
                peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                peer.close()

        net.spawn(serve)
        net.sleep(0)
        with a.create_connection(("10.0.0.2", 7)) as client:
            assert client.recv(10, socket.MSG_WAITALL) == b"hello"
            with pytest.raises(ConnectionResetError):
                client.recv(10, socket.MSG_WAITALL)


@pytest.mark.parametrize("rate", [None, "1Mbit/s"])
def test_ctrl_c_is_raised_where_the_main_function_waits(rate):
    """Whatever runs when it comes: here, who listens to a wire."""

    def interrupt(*_):
        raise KeyboardInterrupt

    with VirtualNetwork() as net:
        a, b = net.host("10.0.0.1"), net.host("10.0.0.2")
        net.link(a, b, rate=rate).there.way.on_depart = interrupt
        with pytest.raises(KeyboardInterrupt):
            a.create_connection(("10.0.0.2", 80))
