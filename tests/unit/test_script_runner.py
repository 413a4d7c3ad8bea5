"""Packet scripts: what passes, what fails and how that is told. In virtual time."""

from __future__ import annotations

import pytest
from effort import some
from hypothesis import given, settings
from hypothesis import strategies as st

from pystack.script import report
from pystack.script.drill import Plan, run_all, run_file
from pystack.script.parser import parse
from pystack.script.runner import Outcome, Run
from pystack.script.settings import settings_for
from pystack.script.virtual import VirtualTarget

OPEN = """
0 socket(..., SOCK_STREAM, IPPROTO_TCP) = 3
+0 bind(3, ..., ...) = 0
+0 listen(3, 1) = 0
+0 < S 0:0(0) win 65535 <mss 1000>
+0 > S. 0:0(0) ack 1 <...>
+.1 < . 1:1(0) ack 1 win 65535
+0 accept(3, ..., ...) = 4
"""


def run(text: str, **given) -> Outcome:
    script = parse(text, "a.pkt", given.pop("dialect", "google"))
    how = settings_for(script, **given)
    return Run(script, how, VirtualTarget(how)).run()


def after_open(text: str, **given) -> Outcome:
    return run(OPEN + text, **given)


def line(outcome: Outcome) -> int:
    """Of the event to blame, counted from the one after OPEN."""
    assert outcome.event is not None
    return outcome.event.line - OPEN.count("\n")


# Packets.


def test_a_script_that_is_kept_passes():
    assert after_open("+0 write(4, ..., 10) = 10\n+0 > P. 1:11(10) ack 1").result == "pass"


def test_a_difference_is_told_with_both_sides_and_the_last_packets():
    outcome = after_open("+0 write(4, ..., 10) = 10\n+0 > P. 1:10(9) ack 1")
    assert (outcome.result, line(outcome)) == ("fail", 2)
    text = report.text(outcome)
    assert text.startswith("fail  a.pkt:10: the length is 10, not 9")
    assert "expected  +0 > P. 1:10(9) ack 1" in text
    assert "> P. 1:11(10) ack 1 win" in text
    assert "0.100000 < . 1:1(0) ack 1 win 65535" in text


def test_a_packet_that_does_not_come_is_waited_for_two_seconds():
    outcome = after_open("+1 > . 1:1(0) ack 1")
    assert outcome.problem == "no packet came in time"
    assert outcome.at == 3_100_000_000


def test_a_packet_must_come_in_time():
    early = after_open("+0 write(4, ..., 10) = 10\n+.1 > P. 1:11(10) ack 1")
    assert early.problem == "the packet is 0.100000 s too early"
    late = after_open("+0 write(4, ..., 10) = 10\n+0 > P. 1:11(10) ack 1\n+.2 > P. 1:11(10) ack 1")
    assert "too late" in late.problem
    tolerated = after_open(
        "+0 write(4, ..., 10) = 10\n+0 > P. 1:11(10) ack 1\n+.2~+.4 > P. 1:11(10) ack 1"
    )
    assert tolerated.result == "pass"


def test_any_time_will_do_for_a_star():
    outcome = after_open("+0 write(4, ..., 10) = 10\n* > P. 1:11(10) ack 1\n* > P. 1:11(10) ack 1")
    assert outcome.result == "pass"


def test_packets_after_the_last_expectation_count_only_with_strict_tail():
    text = "+0 write(4, ..., 10) = 10"
    assert after_open(text).result == "pass"
    assert "does not expect" in after_open(text, strict_tail=True).problem


def test_packets_that_were_not_expected_are_seen_by_the_next_expectation():
    outcome = after_open(
        "+0 write(4, ..., 10) = 10\n+.1 < . 1:1(0) ack 11 win 65535\n"
        "+0 close(4) = 0\n+0 > F. 11:11(0) ack 1"
    )
    assert line(outcome) == 4
    assert "> P. 1:11(10)" in outcome.seen


def test_several_segments_are_one_line_unless_segments_are_strict():
    text = "+0 write(4, ..., 2500) = 2500\n+0 > P. 1:2501(2500) ack 1"
    assert after_open(text).result == "pass"
    strict = run("--strict_segments" + OPEN + text)
    assert "length is 1000, not 2500" in strict.problem


def test_one_segment_is_never_two_lines():
    outcome = after_open(
        "+0 write(4, ..., 900) = 900\n+0 > . 1:501(500) ack 1\n+0 > P. 501:901(400) ack 1"
    )
    assert line(outcome) == 2


def test_warnings_instead_of_failures():
    script = "--non_fatal=packet" + OPEN + "+0 write(4, ..., 9) = 9\n+0 > P. 1:9(8) ack 1"
    outcome = run(script)
    assert outcome.result == "pass"
    assert "the length is 9, not 8" in outcome.warnings[0]


# Calls.


@pytest.mark.parametrize(
    ("call", "seen"),
    [
        ("write(4, ..., 10) = 11", "= 10"),
        ("write(4, ..., 10) = -1 EPIPE", "= 10"),
        ("recv(4, ..., 10, MSG_DONTWAIT) = -1 EPIPE", "= -1 EAGAIN"),
        ("read(9, ..., 10) = 0", "= -1 EBADF"),
        ("getsockopt(4, SOL_SOCKET, SO_ERROR, [5], [4]) = 0", "[0]"),
        ("getsockopt(4, SOL_SOCKET, SO_ERROR, [0], [8]) = 0", "[4]"),
        ("getsockopt(4, SOL_TCP, TCP_CONGESTION, \"reno\", [16]) = 0", "'cubic'"),
        ("ioctl(4, SIOCINQ, [1]) = 0", "[0]"),
        ("poll([{fd=4, events=POLLIN|POLLOUT, revents=POLLIN}], 1, 0) = 1", "revents=POLLOUT"),
        ("socket(..., SOCK_STREAM, 0) = -1 EPERM", "= an fd"),
    ],
)  # fmt: skip
def test_a_call_that_returns_something_else_fails(call, seen):
    outcome = after_open(f"+0 {call}")
    assert outcome.result == "fail"
    assert seen in outcome.seen


def test_a_blocked_call_goes_on_when_it_can():
    text = "+0...{} read(4, ..., 100) = 10\n+.2 < P. 1:11(10) ack 1 win 65535\n+0 > . 1:1(0) ack 11"
    assert after_open(text.format(".2")).result == "pass"
    late = after_open(text.format(".3"))
    assert (late.result, line(late)) == ("fail", 1)
    assert "too early or too late" in late.problem


def test_a_call_that_still_blocks_at_the_end_fails():
    outcome = after_open("+0...1 read(4, ..., 10) = 10\n+0 %{ pass }%")
    assert line(outcome) == 1
    assert outcome.problem == "the call has not returned when the script ends"


def test_two_calls_cannot_block_at_once():
    outcome = after_open("+0...3 read(4, ..., 10) = 10\n+0...3 accept(3, ..., ...) = 5")
    assert (line(outcome), outcome.problem) == (
        2,
        "a call that blocks while another one still does",
    )


def test_a_call_that_nothing_can_wake_blocks_for_ever():
    outcome = after_open("+0 read(4, ..., 10) = 10")
    assert outcome.problem == "the call blocks for ever"


def test_timeouts_of_calls_are_in_virtual_time():
    outcome = after_open(
        "+0...90 poll([{fd=4, events=POLLIN}], 1, 90000) = 0\n+91 %{ pass }%\n"
        "+0 setsockopt(4, SOL_SOCKET, SO_RCVTIMEO, {tv_sec=2, tv_usec=500000}, 16) = 0\n"
        "+0...2.5 read(4, ..., 1) = -1 EAGAIN (Resource temporarily unavailable)\n+3 %{ pass }%"
    )
    assert outcome.result == "pass", report.text(outcome)


# What cannot be done.


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("+0 `iptables -F`", "iptables -F"),
        ("+0 sctp_bindx(3, ..., 1, 0) = 0", "sctp_bindx"),
        ("+0 setsockopt(4, SOL_TCP, TCP_MD5SIG, [1], 4) = 0", "TCP_MD5SIG"),
        ("+0 setsockopt(4, SOL_TCP, TCP_NO_SUCH_THING, [1], 4) = 0", "TCP_NO_SUCH_THING"),
        ("+0 `sysctl -q net.ipv4.tcp_no_such_thing=1`", "tcp_no_such_thing"),
    ],
)
def test_what_the_stack_lacks_is_unsupported(text, what):
    outcome = after_open(text)
    assert outcome.result == "unsupported"
    assert what in outcome.problem


def test_a_command_that_is_refused_is_refused_before_anything_happens():
    outcome = run("`mkfs /dev/sda`" + OPEN)
    assert (outcome.result, outcome.event, outcome.packets) == ("unsupported", None, [])


def test_output_can_be_dropped():
    outcome = after_open(
        "+0 `tc qdisc replace dev tun0 root pfifo limit 0`\n+0 write(4, ..., 10) = 10\n"
        "+.01 `tc qdisc replace dev tun0 root fq`\n+.1~+1 > P. 1:11(10) ack 1"
    )
    assert outcome.result == "pass", report.text(outcome)


# Code.


def test_blocks_share_their_names_and_tell_their_line():
    assert after_open("+0 %{ n = 3 }%\n+0 %{ assert n == 3 }%").result == "pass"
    outcome = after_open("+0 %{\nx = 1\nassert x == 2, x\n}%")
    assert (outcome.result, outcome.problem) == ("fail", "assertion failed: 1")
    outcome = after_open("+0 %{ nonsense }%")
    assert outcome.problem == "the code raises NameError: name 'nonsense' is not defined"


def test_what_a_block_prints_is_not_among_the_results(capsys):
    assert after_open("+0 %{ print('look') }%").result == "pass"
    assert capsys.readouterr() == ("", "look\n")


def test_a_block_does_not_end_the_runner():
    assert after_open("+0 %{ exit(3) }%").problem == "the code raises SystemExit: 3"


# Runs.


def test_a_run_is_the_same_every_time():
    def packets():
        script = parse(OPEN + "+0 write(4, ..., 5000) = 5000\n+.9 close(4) = 0\n+99 %{ pass }%")
        how = settings_for(script)
        seen = []
        Run(script, how, VirtualTarget(how), seen.append).run()
        return [(one.time, one.data) for one in seen]

    assert packets() == packets()
    assert len(packets()) > 10


def test_many_scripts_in_several_processes_keep_their_order(tmp_path, monkeypatch):
    monkeypatch.setattr("pystack.script.drill.FEW", 2)
    for n in range(5):
        bad = "+0 > . 1:1(0) ack 1" if n == 3 else ""
        (tmp_path / f"{n}.pkt").write_text(OPEN + bad)
    paths = [str(tmp_path / f"{n}.pkt") for n in range(5)]
    outcomes = list(run_all(paths, Plan(), 2))
    assert [one.script for one in outcomes] == paths
    assert [one.result for one in outcomes] == ["pass", "pass", "pass", "fail", "pass"]


def test_a_script_is_captured(tmp_path):
    path = tmp_path / "a.pkt"
    path.write_text(OPEN)
    assert run_file(str(path), Plan(pcap_dir=str(tmp_path / "pcap"))).result == "pass"
    (capture,) = (tmp_path / "pcap").iterdir()
    assert capture.name.endswith("a.v4.pcapng")
    assert capture.stat().st_size > 300


def test_a_file_that_is_no_script_is_invalid_with_its_place(tmp_path):
    path = tmp_path / "a.pkt"
    path.write_text("0 socket(")
    outcome = run_file(str(path), Plan())
    assert (outcome.result, outcome.problem) == (
        "invalid",
        f"{path}:1:10: the end of the script instead of a value",
    )
    path.write_bytes(b"0 `x`\n\xff")
    assert run_file(str(path), Plan()).problem == f"{path}:2:1: this is no UTF-8 text"


LINES = [
    "+0 < S 0:0(0) win 100 <mss 1000>", "+0 > S. 0:0(0) ack 1 <...>",
    "+.1 < . 1:1(0) ack 1 win 9", "+0 < P. 1:11(10) ack 1 win 9", "+0 > . 1:1(0) ack 11",
    "* > R. 0:0(0) ack 1", "+0 < R 1:1(0) win 0", "+0 < F. 1:1(0) ack 1 win 9", "+0 < udp (9)",
    "+0 > udp (9)", "+0 > icmp unreachable", "+0 < icmp unreachable frag_needed mtu 900 [1:9(8)]",
    "+0 < icmp echo_request", "+0 < . 1:1(0) ack 1 win 9 <nop,nop,sack 2:5>",
    "+0 < S. 5:5(0) ack 1 win 7", "+0 accept(3, ..., ...) = 4", "+0...1 accept(3, ..., ...) = 4",
    "+0 listen(3, 1) = 0", "+0 bind(3, ..., ...) = 0", "+0 connect(3, ..., ...) = 0",
    "+0...1 connect(3, ..., ...) = 0", "+0 connect(3, AF_UNSPEC, ...) = 0", "+0 close(3) = 0",
    "+0 close(4) = 0", "+0 pipe([7, 8]) = 0", "+0 write(4, ..., 5000) = 5000",
    "+0 write(8, ..., 50) = 50", "+0 read(3, ..., 5) = 0",
    "+0 splice(7, NULL, 3, NULL, 10, 0) = 10", "+0 sendfile(3, 7, [0], 10) = 10",
    "+0 readv(3, 5, 1) = 1", "+0 sendto(3, ..., 9, MSG_FASTOPEN, ..., ...) = 9",
    "+0 shutdown(3, SHUT_RDWR) = 0", "+0 poll([{fd=3, events=POLLIN}], 1, 10) = 1",
    "+0 epoll_create(1) = 5", "+0 ioctl(3, SIOCINQ, [0]) = 0",
    "+0 epoll_ctl(5, EPOLL_CTL_ADD, 3, {events=EPOLLIN, fd=3}) = 0", "+0 fcntl(3, F_GETFL) = 2",
    "+0 epoll_wait(5, {events=EPOLLIN, fd=3}, 1, 10) = 1",
    "+0 getsockopt(3, SOL_TCP, TCP_INFO, ..., ...) = 0",
    "+0 setsockopt(3, SOL_SOCKET, SO_LINGER, {onoff=1, linger=2}, 8) = 0", "+0 %{ x = 1 }%",
    "+0 setsockopt(3, SOL_TCP, TCP_NODELAY, [1], 4) = 0", "+0 setsockopt(3, 1, 2, 3, 400) = 0",
    "+0 getsockopt(3, SOL_SOCKET, SO_ERROR, [0], [4]) = 0", "+0 socket(..., SOCK_DGRAM, 0) = 3",
    "+0 socket(..., SOCK_DGRAM, IPPROTO_ICMP) = 6",
    "+0 recvmsg(3, {msg_iov(1)=[{..., 9}]}, 0) = 9",
    "+0 sendmsg(3, {msg_name(...)=..., msg_iov(1)=[{..., 9}], msg_flags=0}, 0) = 9", "+5 `true`",
    "+0 `sysctl net.ipv4.tcp_sack=0`", "+0 `ip tcp_metrics flush`",
    "+0 getsockname(3, ..., ...) = 0",
]  # fmt: skip


@given(st.lists(st.sampled_from(LINES), max_size=20), st.sampled_from(["v4", "v6", "mapped"]))
@settings(max_examples=some(75))
def test_any_script_has_an_outcome(lines, version):
    """Never an exception, whatever is called in which order: calls that make no sense fail."""
    packets = "--non_fatal=packet,syscall\n0 socket(..., SOCK_STREAM, 0) = 3\n"
    outcome = run(packets + "\n".join(lines), ip=version)
    assert outcome.result in ("pass", "fail", "unsupported")


def test_mapped_addresses_are_ipv4_on_the_wire():
    seen = []
    script = parse(OPEN)
    how = settings_for(script, "mapped")
    outcome = Run(script, how, VirtualTarget(how), seen.append).run()
    assert outcome.result == "pass"
    assert {one.data[0] >> 4 for one in seen} == {4}
