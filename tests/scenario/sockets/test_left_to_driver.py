"""What calls leave to a driver that is awake: it is sent before the driver sleeps."""

from __future__ import annotations

import socket

import pytest
from native.turn import Driver


def test_while_a_driver_is_awake_it_sends(talk):
    driver = Driver(talk.near, stays=True)
    driver.turn()
    assert talk.client.send(b"one") == 3
    talk.client.sendall(b"two")
    assert talk.heard() == b""
    assert not driver.sleeps()
    driver.turn()
    assert talk.heard() == b"onetwo"
    assert driver.sleeps()
    driver.end()


def test_while_it_sleeps_a_call_sends(talk):
    driver = Driver(talk.near, stays=True)
    driver.turn()
    assert driver.may_rest()
    talk.client.sendall(b"at once")
    assert talk.heard() == b"at once"
    driver.turn()
    talk.client.sendall(b"then not")
    assert not driver.may_rest()
    driver.turn()
    assert driver.may_rest()
    assert talk.heard() == b"then not"
    driver.end()


def test_one_that_ends_has_sent_everything(talk):
    driver = Driver(talk.near, stays=True)
    driver.turn()
    talk.client.sendall(b"left")
    driver.end()
    assert talk.heard() == b"left"
    talk.client.sendall(b"at once")
    assert talk.heard() == b"at once"


def test_one_that_does_other_things_between_its_turns_is_left_nothing(talk):
    driver = Driver(talk.near, stays=False)
    driver.turn()
    talk.client.sendall(b"at once")
    assert talk.heard() == b"at once"
    assert driver.may_rest()
    driver.end()


def test_a_read_leaves_what_it_has_to_say_too(talk):
    talk.server.sendall(bytes(100_000))
    talk.exchange(20)
    driver = Driver(talk.near, stays=True)
    driver.turn()
    before = talk.near.counters()["packets_out"]
    assert talk.client.recv_into(bytearray(50_000)) == 50_000
    assert talk.near.counters()["packets_out"] == before
    driver.turn()
    assert talk.near.counters()["packets_out"] == before + 1  # the window is open again
    driver.end()


def test_what_is_long_is_sent_by_the_call_with_all_that_was_left(talk):
    driver = Driver(talk.near, stays=True)
    driver.turn()
    talk.client.sendall(b"short")
    assert talk.client.send(bytes(20_000)) == 20_000
    assert talk.heard().startswith(b"short\0")
    driver.end()


def test_a_call_that_finds_no_room_sends_what_takes_it(talk):
    driver = Driver(talk.near, stays=True)
    driver.turn()
    talk.client.settimeout(0)
    with pytest.raises(BlockingIOError):
        talk.client.sendall(bytes(10_000_000))
    with pytest.raises(BlockingIOError):
        talk.client.send(b"short")
    assert talk.heard() == bytes(100)
    driver.end()


def test_errors_are_told_once_and_by_the_call_that_meets_them(talk):
    driver = Driver(talk.near, stays=True)
    driver.turn()
    with talk.near.socket() as unconnected, pytest.raises(BrokenPipeError):
        unconnected.sendall(b"to nobody")
    talk.server.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    talk.server.close()
    talk.exchange()
    with pytest.raises(ConnectionResetError):
        talk.client.sendall(b"too late")
    with pytest.raises(BrokenPipeError):
        talk.client.sendall(b"again")
    driver.end()
