"""Packet scripts: number spaces, times, aggregation, what is built and compared."""

from __future__ import annotations

import dpkt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pystack.script.aggregate import Aggregate
from pystack.script.build import build_icmp, build_tcp, build_udp
from pystack.script.commands import PROFILE, Environment, run_commands
from pystack.script.compare import Differences, compare_ip, compare_tcp
from pystack.script.connection import Connection, Tracker, observe_inbound, observe_outbound
from pystack.script.errors import Mismatch, ScriptError, Unsupported
from pystack.script.icmp_names import type_and_code
from pystack.script.nodes import Packet, Tcp
from pystack.script.parser import parse
from pystack.script.render import live_text
from pystack.script.schedule import Clock, Due, late
from pystack.script.settings import Settings, settings_for
from pystack.script.wire import Ip, Live, Segment, decode, ip_packet, tcp_bytes

U32 = st.integers(0, 0xFFFFFFFF)
V4 = settings_for(parse("0 `true`"))
V6 = settings_for(parse("0 `true`"), "v6")
MS = 1_000_000


def packet(text: str, dialect: str = "google") -> Packet:
    action = parse(f"0 `true`\n+0 {text}", dialect=dialect).events[1].action
    assert isinstance(action, Packet)
    return action


def tcp(text: str, dialect: str = "google") -> Tcp:
    body = packet(text, dialect).body
    assert isinstance(body, Tcp)
    return body


def known(**changes) -> Connection:
    """A connection with ISNs: ours 1000 on the wire and 70 in the script, the peer's 500."""
    given = {"local_port": 8080, "remote_port": 40001, "isn_known": True}
    given |= {"local_isn": 1000, "script_isn": 70, "remote_isn": 500}
    return Connection(**{**given, **changes})


def injected(text: str, connection: Connection, settings: Settings = V4) -> Segment:
    one = packet(text)
    live = decode(build_tcp(settings, one.ip, one.body, connection))
    assert live is not None
    assert not live.fault
    assert isinstance(live.body, Segment)
    assert live.body.checksum_ok
    return live.body


def outbound(settings: Settings = V4, tos: int = 0, ttl: int = 64, **fields) -> Live:
    """What the stack under test might have sent."""
    given = {"source_port": 8080, "destination_port": 40001, "seq": 1001, "ack": 501}
    given |= {"flags": 0x10, "window": 99}
    ip = Ip(settings.local, settings.remote, 6, ttl, tos)
    live = decode(ip_packet(ip, tcp_bytes(ip, Segment(**{**given, **fields}))))
    assert live is not None
    return live


def differences(text: str, live: Live, connection: Connection | None = None, **settings):
    one = packet(text)
    found = Differences()
    connection = connection or known()
    compare_tcp(Settings(**settings), one.body, live.body, connection, found)
    compare_ip(one.ip, live, connection, found)
    return found.found


# Number spaces.


@given(U32, U32, U32, U32, st.booleans())
def test_translation_there_and_back_changes_nothing(local, script, remote, number, syn):
    one = Connection(local_isn=local, script_isn=script, remote_isn=remote)
    ack = one.ack_to_live(number, syn)
    assert one.seq_to_script(ack, syn) == number
    seq = one.seq_to_live(number, syn)
    assert one.ack_to_script(seq, syn) == number


def test_after_the_handshake_both_sides_count_from_0():
    segment = injected("< . 1:1(0) ack 1 win 7", known())
    assert (segment.seq, segment.ack) == (501, 1001)


def test_a_syn_has_the_scripts_own_numbers():
    segment = injected("< S. 500:500(0) ack 71 win 7", known())
    assert (segment.seq, segment.ack) == (500, 1001)


def test_sack_blocks_count_like_the_ack_beside_them():
    segment = injected("< . 1:1(0) ack 1 win 7 <nop,nop,sack 11:21>", known())
    assert segment.options[4:] == (1011).to_bytes(4, "big") + (1021).to_bytes(4, "big")
    live = outbound(options=bytes.fromhex("0101050a000001ff00000209"))
    assert differences("> . 1:1(0) ack 1 <nop,nop,sack 11:21>", live) == []


def test_timestamps_echo_what_was_expected_before():
    one = known(ts_live={100: 77777}, ts_first=(100, 77777))
    segment = injected("< . 1:1(0) ack 1 win 7 <nop,nop,TS val 5 ecr 100>", one)
    assert segment.options[4:] == (5).to_bytes(4, "big") + (77777).to_bytes(4, "big")
    with pytest.raises(Mismatch, match="TS ecr 101"):
        injected("< . 1:1(0) ack 1 win 7 <nop,nop,TS val 5 ecr 101>", one)
    scaled = settings_for(parse("--tcp_ts_ecr_scaled\n0 `true`"))
    segment = injected("< . 1:1(0) ack 1 win 7 <nop,nop,TS val 5 ecr 150>", one, scaled)
    assert segment.options[8:] == (77827).to_bytes(4, "big")


def test_a_packet_to_a_listener_is_of_a_child_that_becomes_current():
    tracker = Tracker(V4)
    tracker.opened(3, 6)
    tracker.listening(3)
    syn = tcp("< S 900:900(0) win 5")
    child = tracker.for_inbound(syn)
    assert (child.remote_isn, child.local_port) == (900, 8080)
    assert tracker.current is child
    observe_outbound(child, tcp("> S. 7:7(0) ack 901"), 4242)
    assert (child.local_isn, child.script_isn) == (4242, 7)
    assert tracker.for_inbound(tcp("< . 1:1(0) ack 1 win 5")) is child
    tracker.accepted(4, child.remote_port)
    assert child.fd == 4


def test_an_active_open_learns_both_numbers():
    tracker = Tracker(V4)
    tracker.opened(3, 6)
    tracker.connecting(3)
    one = tracker.current
    observe_outbound(one, tcp("> S 5:5(0)"), 1000)
    observe_inbound(one, tcp("< S. 300:300(0) ack 6 win 9"))
    observe_outbound(one, tcp("> . 1:1(0) ack 1"), 1001)
    assert (one.local_isn, one.script_isn, one.remote_isn) == (1000, 5, 300)
    observe_inbound(one, tcp("< S 999:999(0) win 9"))
    assert one.remote_isn == 300


def test_without_a_connection_numbers_are_raw():
    child = Tracker(V4).for_inbound(tcp("< . 1:1(0) ack 50 win 5"))
    segment = injected("< . 1:1(0) ack 50 win 5", child)
    assert segment.ack == 50
    live = outbound(seq=50, ack=0, flags=4, window=0)
    assert differences("> R 50:50(0)", live, child) == []


def test_a_connection_can_be_forgotten():
    tracker = Tracker(V4)
    tracker.opened(3, 6)
    tracker.connecting(3)
    tracker.disconnected(3)
    assert (tracker.current.state, tracker.current.fd) == ("fresh", 3)


# What is built.


@pytest.mark.parametrize("settings", [V4, V6])
def test_dpkt_reads_what_is_built(settings):
    one = packet("< [ce,ttl 9] P. 1:11(10) ack 1 win 7 urg 3 <mss 1460,nop,wscale 2>")
    data = build_tcp(settings, one.ip, one.body, known())
    ip = dpkt.ip.IP(data) if settings.version == 4 else dpkt.ip6.IP6(data)
    assert (ip.src, ip.dst) == (settings.remote.packed, settings.local.packed)
    assert (ip.ttl if settings.version == 4 else ip.hlim) == 9
    segment = ip.data
    assert (segment.sport, segment.dport, segment.seq, segment.ack) == (40001, 8080, 501, 1001)
    assert (segment.flags, segment.win, segment.urp, segment.data) == (0x18, 7, 3, bytes(10))
    assert dpkt.tcp.parse_opts(segment.opts) == [(2, b"\x05\xb4"), (1, b""), (3, b"\x02")]
    assert bytes(ip) == data


def test_an_icmp_error_quotes_eight_bytes_of_what_we_sent():
    one = packet("< icmp unreachable frag_needed mtu 1200 [1:1001(1000)]")
    ip = dpkt.ip.IP(build_icmp(V4, one.ip, one.body, known()))
    assert (ip.icmp.type, ip.icmp.code, ip.icmp.data.mtu) == (3, 4, 1200)
    quoted = bytes(ip.data)[8:]
    assert len(quoted) == 28
    assert quoted[2:4] == (1040).to_bytes(2, "big")
    assert quoted[12:20] == V4.local.packed + V4.remote.packed
    assert quoted[20:] == bytes.fromhex("1f909c41") + (1001).to_bytes(4, "big")
    datagram = packet("< icmp unreachable port_unreachable [udp (9)]")
    quoted = build_icmp(V4, datagram.ip, datagram.body, known(protocol=17))[28:]
    assert (quoted[9], quoted[20:26]) == (17, bytes.fromhex("1f909c410011"))


def test_udp_is_built_with_its_checksum():
    one = packet("< udp (5)")
    data = build_udp(V4, one.ip, one.body, known(protocol=17))
    live = decode(data)
    assert live.body.checksum_ok
    assert len(live.body.payload) == 5


def test_icmp_by_name_and_number():
    assert type_and_code(4, "unreachable", "precedence_cutoff") == (3, 15)
    assert type_and_code(6, "packet_too_big", None) == (2, 0)
    assert type_and_code(4, "type_200", "code_7") == (200, 7)
    with pytest.raises(KeyError, match="IPv6 is called redirect"):
        type_and_code(6, "redirect", None)


# What is compared.


@pytest.mark.parametrize(
    ("text", "fields", "problem"),
    [
        ("> . 1:1(0) ack 1", {}, None),
        ("> . 1:1(0) ack 1 win 99", {}, None),
        ("> . 2:2(0) ack 1", {}, "sequence number is 1, not 2"),
        ("> . 1:1(0) ack 2", {}, "ack is 1, not 2"),
        ("> P. 1:1(0) ack 1", {}, "flags is ., not P."),
        ("> . 1:1(0) ack 1", {"flags": 0x110}, "flags is A., not ."),
        ("> . 1:1(0) ack 1 win 98", {}, "win is 99, not 98"),
        ("> . 1:1(0) ack 1", {"urgent": 1}, "urg is 1, not 0"),
        ("> . 1:1(0) ack 1", {"options": b"\1\1\1\1"}, "options differ"),
        ("> . 1:1(0) ack 1 <...>", {"options": b"\1\1\1\1"}, None),
        ("> . 1:1(0) ack 1 <nop,nop,nop,eol>", {"options": b"\1\1\1\1"}, "options differ"),
        ("> . 1:3(2) ack 1", {"payload": bytes(2)}, None),
        ("> . 1:3(2) ack 1", {"payload": b"ab"}, "payload is not all zero"),
        ("> . 1:3(2) ack 1", {"payload": bytes(3)}, "length is 3, not 2"),
        ("> R 1:1(0)", {"flags": 4, "ack": 7}, "acknowledgment number without ACK is 7, not 0"),
        ("> . 1:1(0) ack 1 <nop,nop,TS val 1 ecr 2>",
         {"options": bytes.fromhex("0101080a1111111122222222")}, None),
        ("> . 1:1(0) ack 1 <TS val 1 ecr 2,nop,nop>",
         {"options": bytes.fromhex("0101080a1111111122222222")}, "options differ"),
        ("> [ect0] . 1:1(0) ack 1", {"tos": 2}, None),
        ("> [ect01] . 1:1(0) ack 1", {"tos": 1}, None),
        ("> [ect01] . 1:1(0) ack 1", {"tos": 3}, "neither ect0 nor ect1"),
        ("> [noecn] . 1:1(0) ack 1", {"tos": 3}, "ECN is ce, not noecn"),
        ("> [tos 0x10] . 1:1(0) ack 1", {"tos": 0x11}, "TOS is 0x11, not 0x10"),
        ("> [ttl 5] . 1:1(0) ack 1", {}, "TTL is 64, not 5"),
        ("> [ttl 0] . 1:1(0) ack 1", {}, None),
    ],
)  # fmt: skip
def test_every_field_is_compared(text, fields, problem):
    found = differences(text, outbound(**fields))
    assert (problem in "; ".join(found)) if problem else found == []


def test_a_wrong_checksum_is_a_difference():
    data = bytearray(outbound().data)
    data[-1] ^= 1
    assert differences("> . 1:1(0) ack 1", decode(bytes(data)))[-1] == "the TCP checksum is wrong"


def test_relaxations_are_told_when_they_were_needed():
    one = packet("> P. 1:3(2) ack 1 win 5 <nop,nop,sackOK>")
    live = outbound(payload=bytes(2), options=b"\4\2\1\1")
    found = Differences()
    settings = Settings(relax=frozenset(["psh", "win", "options"]))
    compare_tcp(settings, one.body, live.body, known(), found)
    assert (found.found, found.relaxed) == ([], {"psh", "win", "options"})
    exact = outbound(payload=bytes(2), window=5, flags=0x18, options=b"\1\1\4\2")
    found = Differences()
    compare_tcp(settings, one.body, exact.body, known(), found)
    assert (found.found, found.relaxed) == ([], set())
    closed = Differences()
    compare_tcp(settings, tcp("> . 1:1(0) ack 1 win 0"), outbound().body, known(), closed)
    assert closed.found == ["win is 99, not 0"]


def test_a_packet_is_shown_as_a_script_would_write_it():
    live = outbound(payload=bytes(3), flags=0x58, options=bytes.fromhex("0101050a000001ff00000209"))
    assert live_text(live, known(), False) == ("> PE. 1:4(3) ack 1 win 99 <nop,nop,sack 11:21>")


@given(st.binary(max_size=120), st.sampled_from([b"\x45", b"\x60", b""]))
def test_any_bytes_can_be_decoded_and_shown(data, first):
    live = decode(first + data)
    if live is not None:
        assert live_text(live, known(), False).startswith("> ")


# Aggregation.


def segments(*lengths: int, **changes):
    at = 1001
    for length in lengths:
        yield outbound(seq=at, payload=bytes(length), **changes)
        at += length


def added(wanted: int, lives) -> tuple[Aggregate, str]:
    lives = list(lives)
    aggregate = Aggregate(lives[0], wanted)
    problem = ""
    for live in lives[1:]:
        problem = problem or aggregate.add(live)
    return aggregate, problem


def test_segments_that_follow_each_other_are_one_line():
    aggregate, problem = added(250, segments(100, 100, 50))
    assert problem == ""
    assert not aggregate.wants_more
    assert differences("> . 1:251(250) ack 1", aggregate.whole()) == []


def test_the_sum_has_cwr_of_the_first_and_the_rest_of_the_last():
    first, second = segments(100, 100)
    first = outbound(payload=bytes(100), flags=0x90)
    second = outbound(seq=1101, payload=bytes(100), flags=0x19)
    aggregate, problem = added(200, [first, second])
    assert problem == ""
    assert aggregate.whole().body.flags == 0x99


@pytest.mark.parametrize(
    ("wanted", "lives", "problem"),
    [
        (300, segments(100, 90, 110), "another length than the first"),
        (150, segments(100, 100), "200 bytes in segments"),
        (200, [outbound(payload=bytes(100)), outbound(seq=1102, payload=bytes(100))], "continue"),
        (200, [*segments(100), *segments(0, 100, window=7)][::2], "win is not the same"),
    ],
)
def test_what_does_not_fit_together_is_no_line(wanted, lives, problem):
    lives = list(lives)
    if problem.startswith("win"):
        lives[1] = outbound(seq=1101, payload=bytes(100), window=7)
    assert problem in added(wanted, lives)[1]


# Times.


def events(text: str):
    return parse(text).events


def test_relative_times_begin_when_the_event_is_reached():
    clock = Clock(V4)
    first, second = events("0 `a`\n+.1 > . 1:1(0) ack 1")
    clock.done(first, clock.due(first, 0))
    assert clock.due(second, 30 * MS).at == 130 * MS


def test_two_injections_in_a_row_count_from_the_schedule():
    first, second, third = events("0 `a`\n+.1 < . 1:1(0) win 1\n+.1 < . 1:1(0) win 1")
    clock = Clock(V4)
    clock.done(first, clock.due(first, 0))
    clock.done(second, clock.due(second, 0))
    assert clock.due(third, 105 * MS).at == 200 * MS


@pytest.mark.parametrize(
    ("due", "time", "ok"),
    [
        (Due(0, 10 * MS, 10 * MS, 10 * MS), 14 * MS, True),
        (Due(0, 10 * MS, 10 * MS, 10 * MS), 14 * MS + 1, False),
        (Due(0, 10 * MS, 10 * MS, 10 * MS), 6 * MS - 1, False),
        (Due(0, 1000 * MS, 1000 * MS, 0), 1125 * MS, True),
        (Due(0, 1000 * MS, 1000 * MS, 0), 1125 * MS + 1, False),
        (Due(0, 1000 * MS, 1100 * MS, 1000 * MS), 996 * MS, True),
        (Due(0, 1000 * MS, 1100 * MS, 1000 * MS), 1112 * MS, True),
        (Due(0, 0, 0, 0, anytime=True), 99_000 * MS, True),
    ],
)  # fmt: skip
def test_tolerance_is_4_ms_or_an_eighth_of_the_distance(due, time, ok):
    assert (late(V4, due, time) == "") is ok


# Commands.


def environment(text: str) -> Environment:
    found = Environment()
    run_commands(text, found)
    return found


def test_settings_in_every_notation():
    text = """sysctl -q net.ipv4.tcp_sack=0 net.ipv4.tcp_rmem="4096 87380 6291456" # why
        ./set_sysctls.py /proc/sys/net/ipv4/tcp_ecn=1 && echo 5 > /proc/sys/net/ipv4/tcp_retries2
        sysctl -w net.ipv4.tcp_reordering=7 >/dev/null 2>&1"""
    assert environment(text).sysctls == {
        "net.ipv4.tcp_sack": "0",
        "net.ipv4.tcp_rmem": "4096 87380 6291456",
        "net.ipv4.tcp_ecn": "1",
        "net.ipv4.tcp_retries2": "5",
        "net.ipv4.tcp_reordering": "7",
    }


def test_the_profile():
    assert environment("../common/defaults.sh").sysctls == PROFILE


def test_routes_queues_and_devices():
    assert environment("ip route change 192.0.2.0/24 dev tun0 initcwnd 4 mtu lock 900").route == {
        "initcwnd": "4",
        "mtu": "900",
    }
    assert environment("tc qdisc replace dev tun0 root pfifo limit 0").drop_output
    assert not environment("tc qdisc replace dev tun0 root fq").drop_output
    assert environment("ifconfig tun0 mtu 1200").mtu == 1200
    assert environment("ip link set dev tun0 mtu 1300").mtu == 1300
    assert environment("ip tcp_metrics flush all > /dev/null 2>&1").flush_metrics == 1


@pytest.mark.parametrize(
    "text",
    [
        "ethtool -K tun0 tso off gso off",
        "nstat -n",
        "/tmp/sysctl_restore_${PPID}.sh",
        "true",
        "# x",
    ],
)
def test_what_has_no_meaning_here_does_nothing(text):
    assert environment(text) == Environment()


@pytest.mark.parametrize(
    "text",
    [
        "iptables -A INPUT -j DROP",
        "./server &",
        "echo 1 > /etc/hosts",
        "tc filter add",
        "ip rule add",
    ],
)
def test_what_cannot_be_honoured_is_unsupported(text):
    with pytest.raises(Unsupported):
        environment(text)


def test_freebsd_settings():
    found = environment("sysctl net.inet.tcp.rfc1323=0 net.inet.tcp.cc.algorithm=newreno").sysctls
    assert found["net.ipv4.tcp_timestamps"] == "0"
    assert found["net.ipv4.tcp_congestion_control"] == "reno"


# Options of scripts.


def test_script_options_and_the_command_line():
    script = parse("--ip_version=ipv6 --mtu=1400 --tolerance_usecs=9000 --bind_port=99\n0 `true`")
    assert settings_for(script).ip == "v6"
    assert settings_for(script, "mapped").version == 4
    settings = settings_for(script)
    assert (settings.mtu, settings.tolerance_ns, settings.bind_port) == (1400, 9 * MS, 99)
    assert settings_for(parse("--udp_encapsulation=x\n0 `true`")).unsupported


@pytest.mark.parametrize("option", ["--mtu=x", "--ip_version=7", "--local_ip=x", "--mtu=1"])
def test_a_wrong_option_is_told_with_its_place(option):
    with pytest.raises(ScriptError) as caught:
        settings_for(parse(f"{option}\n0 `true`", "a.pkt"))
    assert str(caught.value).startswith("a.pkt:1:1: ")
