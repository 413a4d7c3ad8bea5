"""Buffers that tune themselves: the receive window follows the reader, as in Linux."""

from __future__ import annotations

from scenario.peer import FULL, MS
from scenario.tcp_states import accepted

SO_RCVBUF = (1, 8)
SO_SNDBUF = (1, 7)
NOTSENT_LOWAT = (6, 25)
TUNED = {"receive_buffer": 65536, "receive_buffer_max": 1 << 24, "window_scale": 10}


def stream(peer, rounds: int, *, read: bool = True) -> int:
    """Round trips of 20 ms, each with a window full; the window at the end."""
    window = 0
    for _ in range(rounds):
        left = (peer.tcb.rcv_edge - peer.tcb.rcv_nxt) % (1 << 32)
        while left >= 988:
            peer.inject("A", data=bytes(988))
            left -= 988
            if read:
                peer.socket.receive()
        peer.ts_val += 20
        peer.advance(20 * MS)
        acks = peer.drop()
        window = acks[-1].window << 10 if acks else window
    return window


def test_the_window_grows_with_a_reader_that_keeps_up():
    """RFC 9293 section 3.8.6: what is read in a round trip doubles, and so does what is offered."""
    peer = accepted(options=FULL, **TUNED)
    assert stream(peer, 5) > 500_000


def test_the_window_does_not_grow_while_nobody_reads():
    peer = accepted(options=FULL, **TUNED)
    stream(peer, 3, read=False)
    assert peer.tcb.rcv_edge - peer.tcb.irs <= 65536 + 1024


def test_a_buffer_that_was_chosen_stays():
    """socket(7), SO_RCVBUF."""
    peer = accepted(options=FULL, **TUNED)
    peer.socket.set_option(*SO_RCVBUF, 100_000)
    assert peer.socket.get_option(*SO_RCVBUF) == 200_000
    stream(peer, 6)
    assert peer.socket.get_option(*SO_RCVBUF) == 200_000


def test_the_sizes_are_doubled_and_limited():
    """socket(7): what getsockopt returns."""
    peer = accepted(receive_buffer_limit=50_000, send_buffer_limit=60_000)
    for option, limit, least in ((SO_RCVBUF, 50_000, 2304), (SO_SNDBUF, 60_000, 4608)):
        peer.socket.set_option(*option, 1 << 20)
        assert peer.socket.get_option(*option) == 2 * limit
        peer.socket.set_option(*option, 1)
        assert peer.socket.get_option(*option) == least


def test_a_writer_waits_while_enough_is_unsent():
    """tcp(7): TCP_NOTSENT_LOWAT."""
    peer = accepted(notsent_lowat=4000, options={"mss": 1000})
    sent = 0
    while True:
        try:
            sent += peer.socket.send(bytes(100_000))
        except OSError:
            break
        peer.collect()
    flight = peer.tcb.snd_nxt - peer.tcb.snd_una
    assert 4000 <= sent - flight < 4000 + 32_000  # a train more: half of the peer's window
    assert not peer.socket.poll() & 2
    peer.drain()
    assert peer.socket.poll() & 2


def test_the_low_water_mark_of_a_socket():
    """tcp(7): TCP_NOTSENT_LOWAT; 0 is the stack's."""
    peer = accepted(options={"mss": 1000})
    assert peer.socket.get_option(*NOTSENT_LOWAT) == 0
    peer.socket.send(bytes(20_000))
    assert peer.socket.poll() & 2
    peer.socket.set_option(*NOTSENT_LOWAT, 5000)
    assert peer.socket.get_option(*NOTSENT_LOWAT) == 5000
    assert not peer.socket.poll() & 2
    peer.socket.set_option(*NOTSENT_LOWAT, 0)
    assert peer.socket.poll() & 2
