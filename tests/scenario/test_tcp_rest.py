"""A connection at rest: how small it is, when it rests, and that it has forgotten nothing."""

from __future__ import annotations

import ctypes
import platform

import pytest
from native.core import BUSY_SIZE, Host
from scenario.peer import FULL, MS, PLAIN, SACK, SECOND
from scenario.tcp_states import accepted, connected
from scenario.tcp_wire import FAMILIES, ip_packet, tcp_bytes

MOST = 512  # bytes of a connection at rest, tables included
KEEPALIVE, KEEPIDLE, NODELAY = (1, 9), (6, 4), (6, 1)

both = pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
either = pytest.mark.parametrize("options", [PLAIN, FULL], ids=["plain", "full"])


def at_rest(peer):
    peer.advance(10 * SECOND)
    peer.drop()
    assert not peer.tcb.awake
    return peer


# --- how small (of the blocks alone: tests/unit/test_tcb_size.py)


class Mallinfo(ctypes.Structure):
    _fields_ = tuple(
        (name, ctypes.c_size_t)
        for name in ("arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks",
                     "uordblks", "fordblks", "keepcost")
    )  # fmt: skip


def memory_in_use() -> int:
    libc = ctypes.CDLL(None)
    libc.mallinfo2.restype = Mallinfo
    info = libc.mallinfo2()
    return int(info.uordblks + info.hblkhd)


def answered(host: Host, number: int) -> None:
    """A connection to the echo service: a request, its answer, and the answer's ACK."""
    peer, server = (f"192.0.2.{number % 250 + 1}", 1000 + number // 250), ("10.0.0.1", 7)

    def say(seq: int, ack: int, flags: int, data: bytes = b"") -> bytes:
        host.input(ip_packet(*(peer[0], server[0]), 6, tcp_bytes(
            peer, server, seq, ack, flags, 65535, b"", data)))  # fmt: skip
        return (host.take() or [b""])[-1]

    iss = int.from_bytes(say(100, 0, 2)[24:28], "big")
    say(101, iss + 1, 16)
    say(101, iss + 1, 24, b"request")
    say(108, iss + 8, 16)


@pytest.mark.skipif(
    platform.libc_ver()[0] != "glibc" or memory_in_use() == 0,
    reason="asks glibc's malloc how much is in use; a sanitizer brings another",
)
def test_connections_of_a_service_that_are_at_rest_cost_no_more_than_the_bound():
    """Measured, with all that hangs on them."""
    count = 1500
    host = Host("10.0.0.0/24")
    host.serve(1, 6, 7)
    answered(host, 5000)
    before = memory_in_use()
    for number in range(count):
        answered(host, number)
    busy = memory_in_use() - before
    for _ in range(20):
        host.advance(SECOND)
    used = memory_in_use() - before
    # Other allocations of the process are in it, a few KiB.
    assert used <= count * MOST + 16384
    assert busy - used >= count * BUSY_SIZE * 3 // 4


# --- when


def test_it_rests_a_second_after_the_last_segment():
    peer = accepted()
    peer.send(10)
    assert peer.tcb.awake
    peer.advance(900 * MS)
    assert peer.tcb.awake
    peer.advance(5 * SECOND)
    assert not peer.tcb.awake
    assert peer.host.deadline is None


def test_data_that_nobody_reads_keeps_it_awake():
    peer = accepted()
    peer.inject("A", data=b"read me")
    peer.advance(100 * SECOND)
    assert peer.tcb.awake
    assert peer.socket.receive() == b"read me"
    assert not at_rest(peer).tcb.awake


def test_what_time_alone_cannot_bring_to_rest_keeps_no_timer():
    """Otherwise a simulation in which data is left unread would never end."""
    peer = accepted(options=SACK)
    peer.inject("A", data=b"read me")
    peer.inject("A", seq=8 + 10, data=b"later")
    peer.advance(100 * SECOND)
    assert peer.tcb.awake
    assert peer.host.deadline is None
    assert peer.socket.receive() == b"read me"
    peer.inject("A", seq=8, data=b"the first ")
    assert peer.socket.receive() == b"the first later"
    assert not at_rest(peer).tcb.awake


def test_a_connection_that_is_accepted_late_comes_to_rest():
    peer = accepted()
    other = peer.sibling(40001)
    other.handshake()
    peer.advance(100 * SECOND)
    assert peer.host.deadline is None
    other.socket = peer.listener.accept()
    assert not at_rest(other).tcb.awake


def test_data_that_is_not_acknowledged_keeps_it_awake():
    peer = accepted()
    peer.socket.send(bytes(10))
    peer.advance(30 * SECOND)
    assert peer.tcb.awake


def test_data_beyond_a_hole_keeps_it_awake():
    peer = accepted(options=SACK)
    peer.inject("A", seq=11, data=b"later")
    peer.advance(30 * SECOND)
    assert peer.tcb.awake
    peer.inject("A", seq=1, data=b"the first ")
    assert peer.socket.receive() == b"the first later"


# --- and what is remembered


@both
@either
def test_tcp_info_is_the_same_before_and_after(family, options):
    peer = connected(family, options=options)
    for size in (100, 5000, 3):
        peer.send(size)
        peer.inject("A", data=bytes(700))
        peer.socket.receive()
    peer.advance(500 * MS)
    peer.drop()
    names = ["cwnd", "ssthresh", "srtt", "rttvar", "rto", "min_rtt", "delivered", "reordering"]
    names += ["snd_una", "snd_nxt", "rcv_nxt", "rcv_edge", "snd_wnd", "max_snd_wnd", "smss"]
    before = {name: getattr(peer.tcb, name) for name in names}
    assert peer.tcb.awake
    at_rest(peer)
    assert {name: getattr(peer.tcb, name) for name in names} == before


@both
@either
def test_it_goes_on_where_it_was(family, options):
    peer = accepted(family, options=options)
    for _ in range(3):
        peer.send(2500)
        peer.inject("A", data=b"answer")
        assert peer.socket.receive() == b"answer"
        at_rest(peer)
    peer.inject("FA")
    assert peer.socket.receive() == b""
    at_rest(peer)
    peer.socket.shutdown(1)
    assert "F" in peer.collect()[-1].flags


def test_what_was_lost_and_sent_again_is_still_counted():
    peer = accepted(options=SACK)
    peer.socket.send(bytes(3000))
    peer.drop()
    peer.advance(2 * SECOND)
    peer.inject("A", ack=3001)
    again = peer.tcb.total_retransmitted
    assert again
    at_rest(peer)
    assert peer.tcb.total_retransmitted == again


def test_it_is_probed_at_rest():
    """RFC 9293 section 3.8.4."""
    peer = accepted()
    peer.socket.set_option(*KEEPIDLE, 100)
    peer.socket.set_option(*KEEPALIVE, 1)
    at_rest(peer)
    peer.advance(100 * SECOND)
    peer.expect("A", seq=0, ack=1, data=b"")


def test_a_reset_finds_it():
    peer = at_rest(accepted())
    peer.inject("R", seq=1)
    assert peer.state == "CLOSED"


def test_it_can_be_aborted_and_closed():
    peer = at_rest(accepted())
    peer.socket.abort()
    peer.expect("RA")
    peer = at_rest(accepted())
    peer.socket.close()
    peer.expect("FA")


def test_connections_with_the_same_options_share_them():
    """One that differs has its own; the others keep theirs."""
    first = accepted()
    second = first.sibling(40001)
    second.handshake()
    second.socket = first.listener.accept()
    first.socket.set_option(*NODELAY, 1)
    assert second.socket.get_option(*NODELAY) == 0
    assert first.socket.settings_id != second.socket.settings_id
    second.socket.set_option(*NODELAY, 1)
    assert first.socket.settings_id == second.socket.settings_id
    second.socket.set_option(*NODELAY, 0)
    assert first.socket.get_option(*NODELAY) == 1
