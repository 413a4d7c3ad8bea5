"""Opening: the three-way handshake, what its options agree on, crossing SYNs, and giving up."""

from __future__ import annotations

import errno
import itertools

import pytest
from native.core import CallError
from scenario.peer import FULL, MS, PLAIN, SECOND, TIMESTAMPS
from scenario.tcp_states import (
    accepted,
    alone,
    connected,
    connecting,
    in_state,
    listening,
    simultaneous,
)
from scenario.tcp_wire import FAMILIES, IPV4, IPV6

both = pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)


# What a SYN and a SYN-ACK say


@both
def test_a_syn_offers_everything_that_we_know(family):
    """RFC 9293 section 3.7.1, RFC 7323, RFC 2018; order and padding are Linux's."""
    peer = connecting(family)
    syn = peer.expect_syn()
    assert list(syn.options) == ["mss", "sack_ok", "ts", "wscale"]
    assert syn.options["mss"] == 1500 - family.header - 20
    assert syn.options["wscale"] == 7
    assert syn.ts[1] == 0
    assert (syn.seq, syn.raw[family.header + 8 : family.header + 12]) == (0, bytes(4))


@both
def test_a_syn_ack_offers_what_the_syn_offered(family):
    peer = listening(family, options=FULL)
    answer = peer.open()
    assert list(answer.options) == ["mss", "sack_ok", "ts", "wscale"]
    assert answer.ts[1] == peer.ts_val


@both
@pytest.mark.parametrize("missing", ["sack_ok", "ts", "wscale"])
def test_what_the_syn_does_not_offer_is_not_in_the_syn_ack(family, missing):
    """RFC 7323 sections 1.3 and 2.2, RFC 2018 section 2."""
    options = {name: value for name, value in FULL.items() if name != missing}
    answer = listening(family, options=options).open()
    assert set(answer.options) == set(options)


@pytest.mark.parametrize(
    ("config", "missing"), [("timestamps", "ts"), ("sack", "sack_ok"), ("window_scaling", "wscale")]
)
def test_what_the_stack_does_not_do_is_not_offered(config, missing):
    assert missing not in connecting(**{config: False}).expect_syn().options
    assert missing not in listening(options=FULL, **{config: False}).open().options


@pytest.mark.parametrize(("mtu", "mss"), [(576, 536), (1280, 1240), (9000, 8960), (65535, 65475)])
def test_the_announced_mss_is_the_mtu_without_fixed_headers(mtu, mss):
    """RFC 6691 section 2; trains of IP are at most 65,535 bytes long."""
    assert connecting(mtu=mtu).expect_syn().options["mss"] == mss


@pytest.mark.parametrize(("family", "mss"), [(IPV4, 536), (IPV6, 1220)])
def test_without_an_mss_option_the_default_holds(family, mss):
    """RFC 9293 section 3.7.1 (MUST-15)."""
    assert accepted(family, options={}).socket.smss == mss


def test_a_ridiculous_mss_is_not_believed():
    """As Linux's tcp_min_snd_mss: it would only serve to exhaust us."""
    assert accepted(options={"mss": 1}).socket.smss == 48


@both
def test_a_segment_is_never_larger_than_our_own_path_takes(family):
    assert accepted(family, options={"mss": 9000}).socket.smss == 1500 - family.header - 20


def test_an_option_of_length_zero_is_survived():
    """RFC 9293 section 3.1 MUST-7."""
    peer = listening()
    peer.inject("S", seq=0, options={"mss": 700, "raw": b"\x08\x00\x00\x00"})
    assert peer.expect("SA").options == {"mss": 1460}
    peer.inject("A")
    assert peer.listener.accept().smss == 700


def test_an_unknown_option_is_passed_over():
    """RFC 9293 section 3.1 MUST-6."""
    peer = listening()
    peer.inject("S", seq=0, options={"raw": bytes([254, 4, 1, 2]), "mss": 800})
    peer.expect("SA")
    peer.inject("A")
    assert peer.listener.accept().smss == 800


# Window scaling


def test_a_shift_above_fourteen_counts_as_fourteen():
    """RFC 7323 section 2.3."""
    peer = accepted(options={"mss": 1000, "wscale": 15})
    assert peer.socket.snd_scale == 14


@both
def test_the_window_of_a_syn_is_never_scaled(family):
    """RFC 7323 section 2.2."""
    peer = listening(family, options=FULL)
    answer = peer.open(window=5000)
    assert answer.window == peer.tcb.rcv_edge - peer.tcb.rcv_nxt
    peer.inject("A", window=6000)
    socket = peer.listener.accept()
    assert socket.snd_wnd == 6000 << 7
    active = connecting(family, options=FULL)
    active.answer_syn(window=5000)
    assert active.socket.snd_wnd == 5000


def test_a_shift_outside_of_a_syn_means_nothing():
    """RFC 7323 section 2.1."""
    peer = accepted()
    peer.inject("A", window=100, options={"wscale": 7})
    assert peer.socket.snd_wnd == 100


def test_without_the_peers_option_nothing_is_scaled_either_way():
    peer = connected(options=PLAIN, receive_buffer=1 << 20)
    assert (peer.socket.snd_scale, peer.socket.rcv_scale) == (0, 0)
    peer.inject("A", data=b"x")
    assert 65535 - 1460 < peer.expect("A", ack=2).window <= 65535


def test_with_a_scale_the_window_opens_beyond_64_kib():
    peer = accepted(options=FULL, receive_buffer=1 << 20)
    peer.inject("A", data=b"x")
    assert peer.expect("A", ack=2).window << 7 == (1 << 20) - 128


# The handshake


@both
def test_an_active_open_is_three_segments(family):
    """RFC 9293 section 3.5, figure 6."""
    peer = connected(family)
    assert peer.state == "ESTABLISHED"
    peer.expect_nothing()
    assert peer.host.counters["tcp_connections_opened_active"] == 1


@both
def test_a_passive_open_is_three_segments(family):
    peer = accepted(family)
    assert peer.state == "ESTABLISHED"
    assert peer.host.counters["tcp_connections_opened_passive"] == 1
    assert peer.listener.accept() is None


@both
def test_the_application_hears_of_the_connection(family):
    peer = connecting(family)
    peer.host.take_ready()
    peer.answer_syn()
    assert peer.host.take_ready() == [(peer.socket.identity, 2)]
    server = listening(family)
    server.handshake()
    assert server.host.take_ready() == [(server.listener.identity, 1)]


def test_text_with_a_syn_waits_for_its_retransmission():
    """RFC 9293 section 3.10.7.2: it is not acknowledged, so nothing is lost."""
    peer = listening()
    peer.inject("S", seq=0, data=b"hello")
    peer.expect("SA", ack=1)
    peer.inject("A", seq=1, data=b"hello")
    assert peer.listener.accept().receive() == b"hello"


def test_text_with_a_syn_ack_is_delivered():
    """RFC 9293 section 3.10.7.3 fourth."""
    peer = in_state("SYN-SENT")
    peer.inject("SA", seq=0, data=b"hello")
    peer.expect("A", ack=6)
    assert peer.socket.receive() == b"hello"


def test_a_fin_with_a_syn_ack_closes_the_peers_direction():
    peer = in_state("SYN-SENT")
    peer.inject("SAF", seq=0, data=b"bye")
    peer.expect("A", ack=5)
    assert peer.state == "CLOSE-WAIT"
    assert [peer.socket.receive(), peer.socket.receive()] == [b"bye", b""]


def test_text_may_complete_the_handshake():
    """The bare ACK was lost."""
    peer = listening()
    peer.open()
    peer.inject("PA", data=b"GET /")
    peer.expect("A", ack=6)
    assert peer.listener.accept().receive() == b"GET /"


def test_a_fin_may_complete_the_handshake():
    """RFC 9293 section 3.10.7.4 eighth: from SYN-RECEIVED to CLOSE-WAIT."""
    peer = listening()
    peer.open()
    peer.inject("FA")
    peer.expect("A", ack=2)
    assert peer.state == "CLOSE-WAIT"
    assert peer.listener.accept().receive() == b""


def test_a_repeated_syn_ack_draws_the_ack_that_was_lost():
    """RFC 9293 section 3.10.7.4 first."""
    peer = connected()
    peer.inject("SA", seq=0, ack=1)
    peer.expect("A", seq=1, ack=1)


# Crossing SYNs


@both
@pytest.mark.parametrize("options", [PLAIN, FULL], ids=["plain", "full"])
def test_crossing_syns_make_one_connection(family, options):
    """RFC 9293 section 3.5, figure 8."""
    peer = simultaneous(family, options=options)
    peer.host.take_ready()
    peer.inject("SA", seq=0, ack=1, options=peer.syn_options(), window=5000)
    peer.expect("A", ack=1)
    assert peer.state == "ESTABLISHED"
    assert peer.socket.snd_wnd == 5000
    assert peer.host.take_ready() == [(peer.socket.identity, 2)]
    peer.advance(10 * SECOND)
    peer.expect_nothing()
    assert peer.host.deadline is None
    peer.inject("A", data=b"hello")
    peer.expect("A", ack=6)
    assert peer.socket.receive() == b"hello"


def test_crossing_syns_agree_on_options_as_any_others():
    peer = in_state("SYN-SENT", options=FULL)
    peer.inject("S", seq=0, options=peer.syn_options())
    answer = peer.expect("SA", seq=0, ack=1)
    assert list(answer.options) == ["mss", "sack_ok", "ts", "wscale"]
    assert answer.ts[1] == peer.ts_val
    peer = in_state("SYN-SENT", options=PLAIN)
    peer.inject("S", seq=0, options=peer.syn_options())
    assert list(peer.expect("SA", seq=0, ack=1).options) == ["mss"]


def test_text_with_the_syn_ack_of_crossing_syns_is_delivered():
    peer = simultaneous()
    peer.inject("SA", seq=0, ack=1, data=b"hello")
    peer.expect("A", ack=6)
    assert peer.socket.receive() == b"hello"


def test_a_reset_between_crossing_syns_refuses():
    """RFC 9293 section 3.10.7.4 second: SYN-RECEIVED of an active open."""
    peer = simultaneous()
    peer.inject("R", seq=1)
    with pytest.raises(CallError) as refused:
        peer.socket.receive()
    assert refused.value.errno == errno.ECONNREFUSED


def test_crossing_syns_that_lose_the_answer_repeat_it():
    peer = simultaneous()
    peer.advance(1 * SECOND)
    peer.expect("SA", seq=0, ack=1)


# Refusals and giving up


@both
def test_a_reset_refuses_the_connection(family):
    """RFC 9293 section 3.10.7.3 second."""
    peer = in_state("SYN-SENT", family)
    peer.inject("RA", seq=0, ack=1)
    peer.expect_nothing()
    assert peer.state == "CLOSED"
    with pytest.raises(CallError) as refused:
        peer.socket.send(b"x")
    assert refused.value.errno == errno.ECONNREFUSED


@both
def test_nobody_listens_so_a_syn_is_refused(family):
    """RFC 9293 section 3.10.7.1."""
    peer = alone(family)
    peer.inject("S", seq=0, data=b"abc")
    peer.expect("RA", seq=0, ack=4)
    assert peer.host.connections == 0


def test_a_syn_that_gets_no_answer_is_repeated_six_times():
    """RFC 6298 section 5, RFC 1122 section 4.2.3.5; the number is Linux's."""
    peer = connecting(syn_linear_timeouts=0)
    first = peer.expect_syn()
    start = peer.host.now
    peer.advance(200 * SECOND)
    again = peer.drop()
    assert [(s.at - start) // SECOND for s in again] == [1, 3, 7, 15, 31, 63]
    assert {(s.flags, s.seq) for s in again} == {("S", 0)}
    assert [s.ts[0] - first.ts[0] for s in again] == [1000, 3000, 7000, 15000, 31000, 63000]
    with pytest.raises(CallError) as timed_out:
        peer.socket.send(b"x")
    assert timed_out.value.errno == errno.ETIMEDOUT
    assert peer.host.deadline is None


def test_the_first_syns_are_repeated_without_back_off():
    """As Linux: net.ipv4.tcp_syn_linear_timeouts."""
    peer = connecting()
    peer.expect_syn()
    start = peer.host.now
    peer.advance(131 * SECOND - 1)
    assert [(s.at - start) // SECOND for s in peer.drop()] == [1, 2, 3, 4, 5, 7, 11, 19, 35, 67]
    assert peer.state == "SYN-SENT"
    peer.advance(1)
    assert peer.state == "CLOSED"


def test_the_application_chooses_how_often_a_syn_is_repeated():
    """tcp(7): TCP_SYNCNT."""
    peer = alone()
    peer.socket = peer.host.tcp()
    peer.socket.set_option(6, 7, 2)
    peer.socket.connect(peer.remote, peer.port)
    peer.expect_syn()
    peer.advance(100 * SECOND)
    assert len(peer.drop()) == 5  # in 7 s, the time of two with back-off
    assert peer.socket.error == errno.ETIMEDOUT


def test_a_syn_ack_that_gets_no_answer_is_repeated_five_times():
    peer = listening()
    peer.open()
    start = peer.host.now
    peer.advance(100 * SECOND)
    assert [(s.flags, (s.at - start) // SECOND) for s in peer.drop()] == [
        ("SA", 1), ("SA", 3), ("SA", 7), ("SA", 15), ("SA", 31),
    ]  # fmt: skip
    assert peer.state == "CLOSED"
    assert peer.host.connections == 1
    assert peer.host.deadline is None


def test_a_refused_socket_may_try_again():
    """As Linux: with nothing left of the first attempt."""
    peer = connecting()
    peer.expect_syn()
    peer.advance(2 * SECOND)
    peer.drop()
    peer.inject("RA", seq=0, ack=1)
    assert peer.socket.error == errno.ECONNREFUSED
    with pytest.raises(CallError):
        peer.socket.receive()
    peer.snd_nxt = 0
    peer.socket.connect(peer.remote, peer.port)
    start = peer.host.now
    peer.expect_syn()
    peer.advance(1 * SECOND)
    assert peer.expect("S", seq=0).at - start == 1 * SECOND
    peer.inject("SA", seq=0, ack=1, data=b"hi")
    peer.expect("A", ack=3)
    assert peer.socket.receive() == b"hi"
    assert peer.socket.send(b"x") == 1


def test_a_connection_that_has_ended_is_not_opened_again():
    """As Linux: EISCONN, until the socket is closed."""
    peer = connected()
    peer.inject("R")
    with pytest.raises(CallError):
        peer.socket.receive()
    with pytest.raises(CallError) as error:
        peer.socket.connect(peer.remote, peer.port)
    assert error.value.errno == errno.EISCONN


@pytest.mark.parametrize("wrong", [0, 2, 1000])
def test_a_syn_ack_for_another_syn_is_reset(wrong):
    """RFC 9293 section 3.5.1, figure 9: an old duplicate does not disturb the open."""
    peer = in_state("SYN-SENT")
    peer.inject("SA", seq=700, ack=wrong)
    peer.expect("R", seq=wrong)
    assert peer.state == "SYN-SENT"
    peer.inject("SA", seq=0, ack=1)
    peer.expect("A", ack=1)


@pytest.mark.parametrize("drift", [1, 5000])
def test_a_syn_ack_that_echoes_a_timestamp_of_the_future_is_not_believed(drift):
    """RFC 7323 section 3.2: not an echo of ours."""
    peer = in_state("SYN-SENT", options=TIMESTAMPS)
    echo = peer.ts_recent
    peer.inject("SA", seq=0, ack=1, options={"mss": 1000, "ts": (1, echo + drift)})
    peer.expect("R", seq=1)
    assert peer.state == "SYN-SENT"
    peer.inject("SA", seq=0, ack=1, options={"mss": 1000, "ts": (1, echo)})
    peer.expect("A", ack=1)


# What a handshake measures


def test_the_handshake_gives_the_first_round_trip():
    """RFC 6298 section 2.2."""
    for peer in (connected(rtt=80 * MS), accepted(rtt=80 * MS)):
        assert (peer.socket.srtt, peer.socket.rttvar) == (80 * MS, 40 * MS)
        assert peer.socket.rto == 280 * MS


@pytest.mark.parametrize("make", [connecting, listening])
def test_a_repeated_syn_gives_no_sample_and_a_cautious_timeout(make):
    """Karn (RFC 6298 section 3); three seconds once data flows (section 5.7)."""
    peer = make()
    peer.expect_syn() if peer.socket else peer.open()
    peer.advance(1500 * MS)
    peer.drop()
    if peer.socket:
        peer.inject("SA", seq=0, ack=1)
        peer.drop()
    else:
        peer.inject("A")
        peer.socket = peer.listener.accept()
    assert peer.socket.srtt == 0
    assert peer.socket.rto == 3 * SECOND
    # RFC 6928 section 2: one lost SYN may be the network's mood, and costs no window
    assert peer.socket.cwnd == 10 * peer.socket.smss


def test_two_lost_syns_leave_one_segment_of_initial_window():
    """RFC 6928 section 2, RFC 5681 section 3.1."""
    peer = connecting()
    peer.expect_syn()
    peer.advance(4 * SECOND)
    peer.drop()
    peer.inject("SA", seq=0, ack=1)
    peer.drop()
    assert peer.socket.cwnd == peer.socket.smss


# Numbers that nobody guesses


def isn(peer):
    return peer.expect("SA").raw and peer.irs


def test_the_same_four_tuple_counts_up_every_four_microseconds():
    """RFC 6528 section 3, RFC 9293 section 3.4.1."""
    peer = listening()
    peer.inject("S", seq=0)
    first = isn(peer)
    peer.inject("R", seq=1)
    peer.advance(400_000)
    peer.inject("S", seq=0)
    assert (isn(peer) - first) % 2**32 == 100


@both
def test_isns_of_different_four_tuples_tell_nothing_of_each_other(family):
    """RFC 6528 section 3."""
    peer = listening(family)
    others = [peer.sibling(port) for port in range(41000, 41020)]
    for other in others:
        other.inject("S", seq=0)
    gaps = {(isn(b) - isn(a)) % 2**32 for a, b in zip(others[::2], others[1::2], strict=True)}
    assert len(gaps) == 10
    assert all(1 << 16 < gap < 2**32 - (1 << 16) for gap in gaps)


def test_isns_depend_on_the_stacks_secret():
    numbers = set()
    for seed in range(8):
        peer = listening(seed=(seed, 1))
        peer.inject("S", seq=0)
        numbers.add(isn(peer))
    assert len(numbers) == 8


def chosen_ports(seed, count, remote="192.0.2.1", **sockets):
    host = alone(seed=(seed, 2)).host
    ports = []
    for _ in range(count):
        socket = host.tcp()
        socket.connect(remote, 80)
        ports.append(socket.port)
    host.take()
    return ports


def test_ephemeral_ports_differ_and_lie_in_the_range():
    """RFC 6056 section 3.2; the range is Linux's."""
    ports = chosen_ports(1, 50)
    assert len(set(ports)) == 50
    assert all(32768 <= port <= 60999 for port in ports)


def test_the_first_ephemeral_port_cannot_be_guessed():
    """RFC 6056 section 3.3.3: by a secret and by destination."""
    assert len({chosen_ports(seed, 1)[0] for seed in range(10)}) > 8
    assert len({chosen_ports(1, 1, f"192.0.2.{n}")[0] for n in range(1, 11)}) > 8


def test_the_next_port_to_one_destination_tells_nothing_of_another():
    """RFC 6056 section 3.3.4: many counters, which destinations share by a secret hash."""
    moved = 0
    for n in range(2, 12):
        alone_port = chosen_ports(1, 1, f"192.0.2.{n}")[0]
        host = alone(seed=(1, 2)).host
        for _ in range(20):
            host.tcp().connect("192.0.2.1", 80)
        socket = host.tcp()
        socket.connect(f"192.0.2.{n}", 80)
        moved += socket.port != alone_port
        host.take()
    assert moved == 0


def test_ports_go_on_in_steps_that_cannot_be_guessed():
    """As Linux: a little random, so that a port seen tells not the next one."""
    ports = chosen_ports(1, 30)
    steps = {(b - a) % 28232 for a, b in itertools.pairwise(ports)}
    assert len(steps) > 4
    assert max(steps) <= 16


def test_connect_takes_the_even_half_of_the_range_first_and_bind_the_odd_one():
    """As Linux: so they seldom get into each other's way."""
    assert {port % 2 for port in chosen_ports(1, 20)} == {0}
    host = alone().host
    sockets = [host.tcp() for _ in range(5)]
    for socket in sockets:
        socket.bind(IPV4.ours, 0)
    assert {socket.port % 2 for socket in sockets} == {1}


def test_all_ports_of_the_range_are_used_before_there_is_none():
    """RFC 6056 section 3.2."""
    host = alone(first_port=6000, port_count=7).host
    sockets = [host.tcp() for _ in range(8)]
    for socket in sockets[:7]:
        socket.connect("192.0.2.1", 80)
    assert sorted(socket.port for socket in sockets[:7]) == list(range(6000, 6007))
    with pytest.raises(CallError) as error:
        sockets[7].connect("192.0.2.1", 80)
    assert error.value.errno == errno.EADDRNOTAVAIL
    sockets[7].connect("192.0.2.2", 80)
    host.take()


def test_an_ephemeral_port_is_not_one_that_somebody_listens_at():
    taken = chosen_ports(1, 2)[1]
    host = alone(seed=(1, 2)).host
    listener = host.tcp()
    listener.bind("0.0.0.0", taken)
    listener.listen()
    first, second = host.tcp(), host.tcp()
    first.connect("192.0.2.1", 80)
    second.connect("192.0.2.1", 80)
    assert second.port != taken
    host.take()


def test_a_four_tuple_in_use_is_refused():
    peer = connected()
    second = peer.host.tcp()
    second.bind(peer.local, peer.local_port)
    with pytest.raises(CallError) as error:
        second.connect(peer.remote, peer.port)
    assert error.value.errno == errno.EADDRNOTAVAIL


@both
def test_nobody_connects_to_a_multicast_group(family):
    """RFC 9293 section 3.9.2.3 (MUST-46)."""
    socket = alone(family).host.tcp(family.v6)
    with pytest.raises(CallError) as error:
        socket.connect("ff02::1" if family.v6 else "224.0.0.1", 80)
    assert error.value.errno == errno.ENETUNREACH


def label(segment) -> int:
    return int.from_bytes(segment.raw[1:4], "big") & 0xFFFFF


def test_a_timeout_chooses_another_flow_label():
    """As Linux: where routers spread flows by their labels (RFC 6438), it may be a better path."""
    peer = connected(IPV6)
    peer.socket.send(b"hello")
    first = label(peer.expect("A", seq=1))
    peer.advance(peer.socket.rto)
    second = label(peer.expect("A", seq=1))
    assert second not in (0, first)
    peer.inject("A", ack=6)
    peer.socket.send(b"hello")
    assert label(peer.expect("A", seq=6)) == second  # for all that follows


@pytest.mark.parametrize("passive", [True, False])
def test_a_syn_that_is_repeated_has_another_flow_label(passive):
    """As Linux, SYN-ACKs too."""
    if passive:
        peer = listening(IPV6)
        first = label(peer.open())
    else:
        peer = connecting(IPV6)
        first = label(peer.expect_syn())
    peer.advance(SECOND)
    assert label(peer.expect("SA" if passive else "S")) not in (0, first)


@pytest.mark.parametrize("passive", [True, False])
def test_all_packets_of_a_connection_have_its_flow_label(passive):
    """RFC 6437 section 3: not zero, and another one for each flow."""
    labels = set()
    for seed in ((1, 2), (3, 4)):
        peer = (accepted if passive else connected)(IPV6, seed=seed)
        for at in (1, 6):
            peer.socket.send(b"hello")
            (segment,) = peer.expect_data((at, at + 5))
            peer.inject("A", ack=at + 5)
            labels.add(label(segment))
        if passive:
            labels.add(label(peer.sibling(peer.port + 1).open()))
    assert 0 not in labels
    assert len(labels) == (4 if passive else 2)
