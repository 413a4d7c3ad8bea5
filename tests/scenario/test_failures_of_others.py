"""Failures that other stacks have shipped, for which no other test stands. docs/rfc/failures.md."""

from __future__ import annotations

import pytest
from scenario.peer import FULL, MS, PLAIN, SECOND
from scenario.tcp_states import SHUT_WR, accepted, connected, in_state

from pystack import TcpConfig
from pystack.testing import VirtualNetwork

RECV_BUFFER, NO_DELAY = (1, 8), (6, 1)


@pytest.mark.parametrize("ack", [0, 1, 2])
def test_only_the_ack_of_its_fin_ends_last_ack(ack):
    """RFC 9293 section 3.10.7.4 fifth: an ACK of text alone does not."""
    peer = accepted()
    peer.inject("FA")
    peer.expect("A", ack=2)
    peer.socket.send(b"last words")
    peer.expect("A", seq=1)
    peer.socket.shutdown(SHUT_WR)
    peer.expect("FA", seq=11)
    assert peer.state == "LAST-ACK"
    peer.inject("A", ack=ack * 5 + 1)
    assert peer.state == "LAST-ACK"
    peer.inject("A", ack=12)
    assert peer.state == "CLOSED"


def test_each_connection_has_a_window_of_its_own():
    """RFC 9293 section 3.3.1: SND.WND is one connection's."""
    narrow = accepted()
    wide = narrow.sibling(narrow.port + 1)
    wide.handshake()
    wide.socket = narrow.listener.accept()
    narrow.inject("A", window=10)
    for peer, sent in ((wide, 1000), (narrow, 10), (wide, 1000)):
        peer.socket.set_option(*NO_DELAY, 1)
        peer.socket.send(bytes(1000))
        assert sum(segment.length for segment in peer.drop()) <= sent
    assert (narrow.tcb.snd_wnd, wide.tcb.snd_wnd) == (10, 65535)
    wide.inject("A", window=0)
    assert (narrow.tcb.snd_wnd, wide.tcb.snd_wnd) == (10, 0)


def test_two_closed_windows_do_not_acknowledge_each_other_for_ever():
    """RFC 9293 section 3.8.6.1: probes back off, and an answer to a probe is not answered."""
    small = TcpConfig(receive_buffer=(4096, 65536, 65536), send_buffer=(4096, 65536, 65536))
    with VirtualNetwork(limit="2h") as net:
        hosts = [net.host(f"10.0.0.{n}", tcp=small) for n in (1, 2)]
        wire = net.link(*hosts, delay="10ms")

        def fill(connection):  # nobody reads: in the end there is no room
            with connection:
                connection.sendall(bytes(1 << 20))

        with hosts[1].create_server(("10.0.0.2", 80)) as listener:
            client = hosts[0].create_connection(("10.0.0.2", 80))
            server, _ = listener.accept()
            for each in (client, server):
                net.spawn(fill, each)
            counts = []
            for until in (100, 3700):
                net.run(until=until)
                counts.append(wire.there.counters["packets"] + wire.back.counters["packets"])
            # In an hour: a probe and its answer each two minutes from either side.
            assert 2 * 2 * 20 <= counts[1] - counts[0] <= 2 * 2 * 60
            assert all(host.counters()["tcp_zero_window_probes"] for host in hosts)


@pytest.mark.parametrize("rto_min", [1 * MS, 2 * MS])
@pytest.mark.parametrize("options", [PLAIN, FULL], ids=["plain", "full"])
def test_a_tiny_timeout_neither_hangs_nor_spins(rto_min, options):
    """RFC 6298 section 2.4, RFC 8985 section 7: each timer lies in the future, and each loss is
    made good. Peer.collect looks after the first.
    """
    peer = accepted(options=options, rto_min=rto_min)
    for _ in range(20):  # an RTT of nothing: RTO is its least
        peer.send(1000)
        peer.drain()
    peer.socket.send(bytes(8000))
    first = [segment.seq for segment in peer.drop()]
    start = peer.host.now
    while peer.host.now - start < 20 * SECOND:
        before = peer.host.counters.get("tcp_timeouts", 0)
        peer.step()
        assert peer.host.counters.get("tcp_timeouts", 0) <= before + 1
        sent = peer.drop()
        if any(segment.seq == first[0] for segment in sent):
            break
    else:
        pytest.fail("what was lost is not sent again")
    for _ in range(100):
        if peer.tcb.snd_una == peer.tcb.snd_nxt and not peer.pending:
            break
        peer.inject("A", ack=peer.rcv_nxt)
        peer.step() if peer.host.deadline is not None else None
    assert peer.tcb.snd_una == peer.tcb.snd_nxt


def test_requests_and_responses_wait_for_no_delayed_ack():
    """RFC 9293 section 3.8.6.3: the response carries the ACK, and each goes at once."""
    peer = accepted(options=FULL)
    start = peer.host.now
    for _ in range(50):
        peer.inject("A", data=b"request")
        for early in peer.drop():  # at the beginning a quick ACK of its own
            assert not early.data
        peer.socket.receive()
        peer.socket.send(b"response")
        answer = peer.expect("A", ack=peer.snd_nxt)
        assert answer.data == b"response"
        peer.inject("A")
    assert peer.host.now == start


@pytest.mark.parametrize("requests", [1, 2])
def test_two_writes_for_one_response_wait_for_no_delayed_ack_of_ours(requests):
    """The peer's Nagle holds its second write until the first is acknowledged."""
    peer = accepted(options=FULL)
    for _ in range(requests):
        start = peer.host.now
        peer.inject("A", data=b"header")
        while not peer.drop():
            peer.step()
        peer.inject("A", data=b"body")
        peer.socket.receive()
        peer.socket.send(b"response")
        while not any(segment.data for segment in peer.drop()):
            peer.step()
        peer.inject("A")
        assert peer.host.now - start <= 40 * MS


@pytest.mark.parametrize("lost", [(1,), (1, 3), (1, 2, 5), (4, 6)])
def test_nothing_is_outstanding_when_all_is_acknowledged(lost):
    """RFC 6675 section 2: what is SACKed, lost or sent again is counted in and out."""
    peer = connected(options=FULL)
    for _ in range(4):
        peer.send(8000)
        peer.drain()
    peer.socket.send(bytes(8000))
    segments = peer.drop()
    una, end = segments[0].seq, segments[-1].end
    kept = [(s.seq, s.end) for i, s in enumerate(segments[:-1]) if i not in (0, *lost)]
    for block in kept:
        peer.inject("A", ack=una, sack=[block])
        peer.drop()
    # One is still outstanding, which keeps the sums: an idle connection forgets them.
    peer.inject("A", ack=segments[-1].seq)
    peer.drop()
    tcb = peer.tcb
    assert (tcb.packets_out, tcb.sacked_out, tcb.lost_out, tcb.retrans_out) == (1, 0, 0, 0)
    peer.inject("A", ack=end)
    peer.advance(SECOND)
    tcb = peer.tcb
    assert (tcb.packets_out, tcb.sacked_out, tcb.lost_out, tcb.retrans_out) == (0, 0, 0, 0)
    assert not tcb.busy
    assert tcb.ring_memory == 0
    peer.drop()
    peer.socket.send(bytes(3000))
    assert sum(segment.length for segment in peer.drop()) == 3000


@pytest.mark.parametrize("state", ["FIN-WAIT-1", "FIN-WAIT-2", "CLOSING", "LAST-ACK", "TIME-WAIT"])
def test_every_ending_ends_though_the_peer_is_gone(state):
    """RFC 9293 section 3.6, RFC 1122 section 4.2.2.20: nothing that nobody holds stays."""
    peer = in_state(state)
    peer.socket.close()
    peer.advance(3600 * SECOND)
    assert peer.state == "CLOSED"
    assert peer.host.deadline is None
