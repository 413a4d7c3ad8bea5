"""Clauses of RFC 9293 that belong to no other part of TCP: addresses, headers, windows, options."""

from __future__ import annotations

import errno

import pytest
from native.core import CallError
from scenario.peer import FULL, MS, SACK, SECOND
from scenario.tcp_states import SHUT_WR, accepted, alone, connecting, in_state, listening
from scenario.tcp_wire import FAMILIES, IPV4

both = pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)


def test_a_window_above_32767_is_not_negative():
    """Section 3.8.6 (MUST-1): it is unsigned, so more than half of 65,535 is used."""
    peer = accepted(rtt=10 * MS)
    peer.inject("A", window=65535)
    peer.socket.send(bytes(200_000))
    largest = 0
    for _ in range(12):
        sent = [s for s in peer.drop() if s.data]
        if not sent:
            break
        largest = max(largest, sum(s.length for s in sent))
        peer.inject("A", window=65535)
    assert 32767 < largest <= 65535


@both
def test_a_closed_window_lets_the_urgent_pointer_in(family):
    """Section 3.10.7.4 (MUST-66): RST and URG are processed though the window is 0."""
    peer = accepted(family)
    peer.fill()
    peer.inject("AU", data=b"x", urgent=1)
    peer.expect("A", ack=peer.snd_nxt - 1, window=0)
    assert peer.socket.urgent_in
    assert peer.socket.rcv_up - peer.iss == peer.snd_nxt


@both
def test_what_has_no_single_receiver_is_not_called(family):
    """Section 3.9.2.3 (MUST-46): an OPEN to a broadcast or multicast address is an error."""
    socket = alone(family).host.tcp(family.v6)
    hosts = ["224.0.0.1", "255.255.255.255", "10.0.0.255", "0.0.0.0"]
    if family.v6:
        hosts = ["ff02::1", "ff0e::7", "::"]
    for host in hosts:
        with pytest.raises(CallError) as error:
            socket.connect(host, 80)
        assert error.value.errno == errno.ENETUNREACH, host


@both
def test_a_call_to_many_or_from_many_is_dropped_in_silence(family):
    """Section 3.9.2.3 (MUST-57, MUST-63)."""
    peer = listening(family)
    everybody = peer.host.tcp(family.v6)
    everybody.bind("::" if family.v6 else "0.0.0.0", 81)
    everybody.listen(5)
    broadcasts = ["ff02::1"] if family.v6 else ["10.0.0.255", "255.255.255.255", "224.0.0.1"]
    for host in broadcasts:
        called = peer.sibling(5, local_port=81)
        called.local = host
        called.inject("S", seq=0)
        caller = peer.sibling(6)
        caller.remote = host
        caller.inject("S", seq=0)
    for one in peer.peers:
        assert not one.drop()
    assert not peer.others
    assert peer.host.connections == 2  # the listeners


@both
def test_a_connection_speaks_as_the_address_that_was_called(family):
    """Section 3.9.1.1 (MUST-45), of a listener at all addresses."""
    peer = alone(family)
    everybody = peer.host.tcp(family.v6)
    everybody.bind("::" if family.v6 else "0.0.0.0", 80)
    everybody.listen(5)
    peer.local = "fd00::77" if family.v6 else "10.0.0.77"
    peer.handshake()
    socket = everybody.accept()
    socket.send(b"text")
    assert peer.expect("A").data == b"text"


@pytest.mark.parametrize("state", ["SYN-SENT", "SYN-RECEIVED"])
def test_a_port_can_be_listened_at_while_a_call_goes_out_from_it(state):
    """Section 3.9.1.1 (MUST-41, MUST-42): neither disturbs the other."""
    peer = connecting()
    peer.expect_syn()
    if state == "SYN-RECEIVED":
        peer.inject("S", seq=0)
        peer.expect("SA")
    listener = peer.host.tcp()
    listener.bind(peer.family.ours, peer.local_port)
    listener.listen(5)
    caller = peer.sibling(5, local_port=peer.local_port)
    caller.handshake()
    assert listener.accept().state == "ESTABLISHED"
    if state == "SYN-RECEIVED":
        peer.inject("A", ack=1)
    else:
        peer.inject("SA", seq=0, ack=1)
        peer.expect("A", ack=1)
    assert peer.socket.state == "ESTABLISHED"


@both
def test_options_of_a_syn_are_in_no_other_segment(family):
    """Section 3.7.1 (MUST-65), RFC 7323 section 2.2, RFC 2018 section 2."""
    peer = accepted(family, options=FULL)
    peer.socket.send(bytes(2000))
    peer.inject("A", seq=5, data=b"beyond a hole")
    peer.socket.shutdown(SHUT_WR)
    peer.advance(SECOND)
    segments = peer.drop()
    assert len(segments) >= 4
    for segment in segments:
        assert set(segment.options) <= {"ts", "sack"}, segment


def test_options_are_padded_with_zeros_or_nops_to_a_whole_header():
    """Section 3.1 (MUST-68, MUST-69): each option has its length; the header ends as it says."""
    peer = listening(options=FULL)
    peer.inject("S", seq=0, options=peer.syn_options())
    raw = peer.expect("SA").raw
    options = raw[40 : 20 + (raw[32] >> 4) * 4]
    assert len(options) % 4 == 0
    assert len(raw) == 40 + len(options)
    while options:
        if options[0] in (0, 1):
            assert options[0] or not any(options)
            options = options[1:]
            continue
        assert 2 <= options[1] <= len(options)
        options = options[options[1] :]


def test_options_may_lie_at_any_byte():
    """Section 3.1 (MUST-64): no alignment is assumed, in a SYN or later."""
    for pad in range(4):
        peer = listening()
        raw = b"\1" * pad + bytes([2, 4, 3, 32, 3, 3, 7, 4, 2])
        peer.inject("S", seq=0, options={"raw": raw + b"\0" * (-len(raw) % 4)})
        peer.expect("SA")
        peer.inject("A")
        socket = peer.listener.accept()
        assert (socket.smss, socket.snd_scale, socket.sack_ok) == (800, 7, True)


def test_an_unknown_option_of_a_later_segment_is_passed_over():
    """Section 3.1 (MUST-5, MUST-6): in any segment."""
    peer = accepted()
    peer.inject("A", data=b"text", options={"raw": bytes([253, 6, 1, 2, 3, 4, 1, 1])})
    assert peer.socket.receive() == b"text"


def test_a_segment_with_a_bad_option_length_is_taken_all_the_same():
    """Section 3.1 (MUST-7): without the options from there on."""
    for raw in (bytes([253, 0, 1, 1]), bytes([253, 1, 1, 1]), bytes([1, 1, 253, 90]), b"\1\1\1\5"):
        peer = accepted(options=SACK)
        peer.inject("A", data=b"text", options={"raw": raw})
        assert peer.socket.receive() == b"text"


@both
def test_segments_are_as_large_as_they_may_be(family):
    """Section 3.9.1.2 (SHLD-28): of many small writes too."""
    peer = accepted(family)
    peer.send(1, ack=False)
    for _ in range(300):
        peer.socket.send(bytes(10))
    assert [s.length for s in peer.drop()] == [1, 1000, 1000, 1000]


def test_writes_of_one_segment_are_pushed_once():
    """Section 3.9.1.2 (SHLD-27, MUST-61): at the end of the queue, and not before."""
    peer = accepted()
    peer.send(1, ack=False)
    for _ in range(25):
        peer.socket.send(bytes(100))
    peer.drop()
    peer.inject("A")
    segments = [s for s in peer.drop() if s.data]
    assert [(s.length, "P" in s.flags) for s in segments[-1:]] == [(500, True)]
    assert not any("P" in s.flags for s in segments[:-1])


def test_unpushed_text_is_not_kept_from_the_reader():
    """Section 3.9.1.2 (MAY-17): PSH says nothing that a reader waits for."""
    peer = accepted()
    peer.inject("A", data=b"no push")
    assert peer.socket.receive() == b"no push"
    peer.inject("AP", data=b"push")
    assert peer.socket.receive() == b"push"


def test_the_timeout_of_a_syn_is_under_the_applications_control():
    """Section 3.8.3 (MUST-22, MUST-23): Linux's 127 s are the default; more can be had."""
    peer = in_state("SYN-SENT", family=IPV4)
    peer.socket.set_option(6, 7, 7)  # TCP_SYNCNT
    began = peer.host.now
    while peer.state == "SYN-SENT":
        peer.step()
        peer.drop()
    assert peer.host.now - began >= 180 * SECOND
    with pytest.raises(CallError) as error:
        peer.socket.receive()
    assert error.value.errno == errno.ETIMEDOUT
