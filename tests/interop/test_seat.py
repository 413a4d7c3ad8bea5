"""Calls that wait turn the stack themselves: packets are met, and calls end."""

from __future__ import annotations

import errno
import signal
import socket
import threading
import time
from contextlib import ExitStack, contextmanager

import pytest
from interop.virtual import HOST, NETS, SECONDS, Background
from scenario.sockets.blocked import wait_until_blocked

import pystack

REQUESTS = 200
THREADS, ROUNDS = 16, 20


@contextmanager
def conversation(namespace):
    """A stack with the native echo service; a connection, as both ends see it."""
    with pystack.Stack(*NETS, device=namespace.tun(*NETS)) as stack:
        stack.serve("echo", "tcp", 7)
        with (
            stack.create_server((HOST[4], 80)) as server,
            namespace.connect(HOST[4], 80, SECONDS) as client,
        ):
            connection, _ = server.accept()
            with connection:
                yield stack, connection, client


def echo(connection, number, go=None):
    """Answer so many requests, of up to 100 bytes each; go: an event to wait for before each."""
    for _ in range(number):
        data = connection.recv(100)
        if go is not None:
            assert go.wait(SECONDS)
        connection.sendall(data)


def ask(client, number):
    for index in range(number):
        request = b"%d" % index
        client.sendall(request)
        assert client.recv(100) == request


def sit(stack, connection, client, least=1):
    """Have calls wait in the seat, so often at least in some requests; on a busy machine they may
    come back too late for it.
    """
    until = time.monotonic() + SECONDS
    seen = None
    while seen is None or stack.engine.sittings - seen < least:
        assert time.monotonic() < until
        seen = stack.engine.sittings
        with Background(ask, client, REQUESTS):
            echo(connection, REQUESTS)


def test_who_comes_back_to_wait_turns_the_crank_itself(namespace):
    with conversation(namespace) as (stack, connection, client):
        sit(stack, connection, client, REQUESTS // 2)  # each time it sits down and stands up


def test_a_call_in_the_seat_serves_others_too(namespace):
    with conversation(namespace) as (stack, connection, client):
        sit(stack, connection, client)
        with Background(connection.recv, 1) as waiter:
            with namespace.connect(HOST[4], 7, SECONDS) as other:
                ask(other, REQUESTS)
            client.sendall(b"x")
        assert waiter.result == b"x"


def test_while_a_program_does_something_else_packets_do_not_wait_for_it(namespace):
    with conversation(namespace) as (stack, connection, client):
        sit(stack, connection, client)
        free = threading.Event()
        with Background(echo, connection, 1, free):
            client.sendall(b"x")
            with namespace.connect(HOST[4], 7, SECONDS) as other:
                ask(other, 3)
            free.set()
            assert client.recv(1) == b"x"


@contextmanager
def echo_threads(namespace, requests):
    """Clients of a program with a thread for each, which answers so many requests."""
    with conversation(namespace) as (stack, _, _), ExitStack() as all_of_them:
        listener = all_of_them.enter_context(stack.create_server((HOST[4], 81)))
        clients = []
        for _ in range(THREADS):
            clients.append(all_of_them.enter_context(namespace.connect(HOST[4], 81, SECONDS)))
            accepted, _ = listener.accept()
            all_of_them.enter_context(accepted)
            all_of_them.enter_context(Background(echo, accepted, requests))
        yield clients


def test_many_threads_wait_and_all_are_answered(namespace):
    with echo_threads(namespace, ROUNDS) as clients:
        for index in range(ROUNDS):
            for one in clients:
                one.sendall(b"%d" % index)
            for one in clients:
                assert one.recv(100) == b"%d" % index


def test_threads_that_are_all_asked_at_once_are_answered(namespace):
    with echo_threads(namespace, REQUESTS) as clients, ExitStack() as asking:
        for one in clients:
            asking.enter_context(Background(ask, one, REQUESTS))


def test_who_waits_for_something_rare_leaves_the_seat_to_others(namespace):
    with conversation(namespace) as (stack, connection, client):
        sit(stack, connection, client)
        with stack.create_server((HOST[4], 81)) as rare:
            with Background(rare.accept) as waiter:
                wait_until_blocked(waiter)
                sit(stack, connection, client, REQUESTS // 2)
                namespace.connect(HOST[4], 81, SECONDS).close()
            waiter.result[0].close()


def test_a_timeout_ends_a_call_in_the_seat(namespace):
    with conversation(namespace) as (stack, connection, client):
        sit(stack, connection, client)
        connection.settimeout(0.05)
        begin = time.monotonic()
        with pytest.raises(TimeoutError):
            connection.recv(1)
        assert 0.05 <= time.monotonic() - begin < SECONDS / 2


def fault_of(call, *arguments):
    """The errno that a call fails with; None if it does not."""
    try:
        call(*arguments)
    except OSError as problem:
        return problem.errno
    return None


@pytest.mark.parametrize("what", ["socket", "stack", "device"])
def test_whatever_is_closed_meanwhile_the_call_ends(namespace, what):
    with conversation(namespace) as (stack, connection, client):
        sit(stack, connection, client)
        with Background(fault_of, connection.recv, 1) as waiter:
            wait_until_blocked(waiter)
            {"socket": connection, "stack": stack, "device": stack.device}[what].close()
        assert waiter.result == (errno.ENETDOWN if what == "device" else errno.EBADF)


def test_a_signal_ends_a_call_in_the_seat(namespace):
    class Rung(Exception):
        pass

    def ring(*_):
        raise Rung

    assert threading.current_thread() is threading.main_thread()
    with conversation(namespace) as (stack, connection, client):
        sit(stack, connection, client)
        before = signal.signal(signal.SIGALRM, ring)
        try:
            signal.setitimer(signal.ITIMER_REAL, 0.05)
            with pytest.raises(Rung):
                connection.recv(1)
        finally:
            signal.signal(signal.SIGALRM, before)
        client.sendall(b"and goes on")
        assert connection.recv(100) == b"and goes on"


def test_a_handler_may_close_the_stack_that_its_thread_turns(namespace):
    with conversation(namespace) as (stack, connection, client):
        sit(stack, connection, client)
        before = signal.signal(signal.SIGALRM, lambda *_: stack.close())
        try:
            signal.setitimer(signal.ITIMER_REAL, 0.05)
            assert fault_of(connection.recv, 1) == errno.EBADF
        finally:
            signal.signal(signal.SIGALRM, before)


def test_an_end_of_stream_is_an_event_like_any_other(namespace):
    with conversation(namespace) as (stack, connection, client):
        sit(stack, connection, client)
        client.shutdown(socket.SHUT_WR)
        assert connection.recv(1) == b""
