"""Claims about membership reports: IGMPv3 and MLDv2, and what older routers understand."""

from __future__ import annotations

import errno
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scenario.group_wire import (
    ALLOW,
    BLOCK,
    FAMILIES,
    IPV4,
    IPV6,
    IS_EX,
    IS_IN,
    TO_EX,
    TO_IN,
    code,
    message,
    old_query,
    old_report,
    packed,
    query,
    read,
)
from scenario.udp_wire import refused, running_host

JOIN, LEAVE, JOIN_SOURCE, LEAVE_SOURCE, BLOCK_SOURCE, UNBLOCK = range(1, 7)
LONG = 10_000.0  # seconds: whatever is pending is over then


@pytest.fixture
def host():
    with running_host() as host:
        yield host


@pytest.fixture(params=FAMILIES, ids=lambda family: "IPv6" if family.v6 else "IPv4")
def family(request):
    return request.param


def member(host, family, *groups):
    """A socket that has joined groups, what was said of it gone by."""
    socket = host.socket(v6=family.v6)
    for group in groups:
        socket.member(JOIN, group)
    host.advance(20)
    host.transmit()
    return socket


def said(host):
    """The messages that were sent."""
    return [read(packet) for packet in host.transmit()]


def records(host):
    """The records of version 3 that were sent."""
    return [record for one in said(host) for record in one.records]


# Changes (RFC 3376 section 5.1, RFC 3810 section 6.1)


def test_joining_is_reported_at_once_and_once_more(host, family):
    """RFC 3376 sections 5.1 and 8.1: robustness 2, the second within a second."""
    host.socket(v6=family.v6).member(JOIN, family.group)
    [first] = said(host)
    assert first.records == [(TO_EX, family.group, [])]
    assert first.destination == family.reports
    assert first.kind == (143 if family.v6 else 0x22)
    assert 0 < host.deadline <= 1
    host.advance(1)
    assert records(host) == [(TO_EX, family.group, [])]
    host.advance(LONG)
    assert said(host) == []
    assert host.deadline is None


def test_a_report_comes_from_an_address_of_ours_or_of_the_link(host, family):
    """RFC 3376 section 4.2.13; RFC 3810 section 5.2.13: link-local, or none at all."""
    host.socket(v6=family.v6).member(JOIN, family.group)
    [first] = said(host)
    assert first.source == ("::" if family.v6 else family.ours)


def test_a_link_local_address_is_used_if_there_is_one():
    """RFC 3810 section 5.2.13."""
    from native import udp

    host = udp.Host("fd03::/64", "fe80::/64")
    host.socket(v6=True).member(JOIN, IPV6.group)
    assert said(host)[0].source == "fe80::1"


def test_leaving_is_reported_twice_and_the_group_forgotten(host, family):
    socket = member(host, family, family.group)
    socket.member(LEAVE, family.group)
    assert records(host) == [(TO_IN, family.group, [])]
    assert host.groups == 1
    host.advance(1)
    assert records(host) == [(TO_IN, family.group, [])]
    assert host.groups == 0
    assert host.deadline is None


def test_closing_a_socket_leaves_its_groups(host, family):
    socket = member(host, family, family.group, family.other)
    socket.close()
    assert sorted(records(host)) == sorted([(TO_IN, family.group, []), (TO_IN, family.other, [])])
    host.advance(1)
    assert host.groups == 0


def test_a_second_member_changes_nothing(host, family):
    first = member(host, family, family.group)
    second = host.socket(v6=family.v6)
    second.member(JOIN, family.group)
    assert said(host) == []
    first.member(LEAVE, family.group)
    assert said(host) == []
    second.member(LEAVE, family.group)
    assert records(host) == [(TO_IN, family.group, [])]


def test_sources_are_allowed_and_blocked(host, family):
    """RFC 3376 section 5.1: ALLOW_NEW_SOURCES, BLOCK_OLD_SOURCES."""
    socket = member(host, family)
    socket.member(JOIN_SOURCE, family.group, family.peer)
    assert records(host) == [(ALLOW, family.group, [family.peer])]
    host.advance(1)
    assert records(host) == [(ALLOW, family.group, [family.peer])]
    socket.member(JOIN_SOURCE, family.group, family.stranger)
    assert records(host) == [(ALLOW, family.group, [family.stranger])]
    host.advance(1)
    host.transmit()
    socket.member(LEAVE_SOURCE, family.group, family.peer)
    assert records(host) == [(BLOCK, family.group, [family.peer])]
    host.advance(1)
    host.transmit()
    socket.member(LEAVE_SOURCE, family.group, family.stranger)
    assert records(host) == [(BLOCK, family.group, [family.stranger])]
    host.advance(1)
    assert host.groups == 0


def test_blocked_sources_are_reported(host, family):
    socket = member(host, family, family.group)
    socket.member(BLOCK_SOURCE, family.group, family.peer)
    assert records(host) == [(BLOCK, family.group, [family.peer])]
    socket.member(UNBLOCK, family.group, family.peer)
    assert records(host) == [(ALLOW, family.group, [family.peer])]
    host.advance(1)
    assert records(host) == [(ALLOW, family.group, [family.peer])]


def test_changes_that_overlap_are_merged(host, family):
    """RFC 3376 section 5.1: the next report tells of all that was not yet told often enough."""
    socket = member(host, family)
    socket.member(JOIN_SOURCE, family.group, family.peer)
    host.transmit()
    socket.member(JOIN_SOURCE, family.group, family.stranger)
    assert records(host) == [(ALLOW, family.group, [family.peer, family.stranger])]
    host.advance(1)
    assert records(host) == [(ALLOW, family.group, [family.stranger])]


def test_the_interface_wants_what_any_socket_wants(host, family):
    """RFC 3376 section 3.2: EXCLUDE the common sources, less those that somebody includes."""
    first, second, third = (member(host, family) for _ in range(3))
    first.member(JOIN_SOURCE, family.group, family.peer)
    host.advance(1)
    host.transmit()
    second.member(JOIN, family.group)
    assert records(host) == [(TO_EX, family.group, [])]
    host.advance(1)
    host.transmit()
    second.member(BLOCK_SOURCE, family.group, family.peer)
    assert said(host) == []  # the first socket wants it
    second.member(BLOCK_SOURCE, family.group, family.stranger)
    assert records(host) == [(BLOCK, family.group, [family.stranger])]
    host.advance(1)
    host.transmit()
    third.member(JOIN, family.group)
    assert records(host) == [(ALLOW, family.group, [family.stranger])]
    host.advance(1)
    host.transmit()
    third.member(LEAVE, family.group)
    second.member(LEAVE, family.group)
    host.transmit()
    host.advance(1)
    assert records(host) == [(TO_IN, family.group, [family.peer])]


def test_groups_of_the_link_that_all_hosts_are_in_are_never_reported(host, family):
    """RFC 3376 section 5, RFC 3810 section 6."""
    socket = host.socket(v6=family.v6)
    socket.member(JOIN, family.all_hosts)
    host.receive(query(family, seconds=1))
    host.advance(2)
    assert said(host) == []
    socket.member(LEAVE, family.all_hosts)
    assert said(host) == []
    assert host.groups == 0


def test_what_does_not_leave_the_node_is_never_reported(host):
    """RFC 3810 section 6: scope 0 and 1."""
    socket = host.socket(v6=True)
    socket.member(JOIN, "ff01::5")
    socket.member(JOIN, "ff00::5")
    assert said(host) == []


# The socket calls


def test_calls_fail_as_in_linux(host, family):
    socket = host.socket(v6=family.v6)
    for call in (JOIN, LEAVE, JOIN_SOURCE, BLOCK_SOURCE):
        with refused(errno.EINVAL):
            socket.member(call, family.peer, family.peer)
    with refused(errno.EADDRNOTAVAIL):
        socket.member(LEAVE, family.group)
    for call in (BLOCK_SOURCE, UNBLOCK, LEAVE_SOURCE):
        with refused(errno.EINVAL):
            socket.member(call, family.group, family.peer)
    socket.member(JOIN, family.group)
    with refused(errno.EADDRINUSE):
        socket.member(JOIN, family.group)
    with refused(errno.EADDRNOTAVAIL):
        socket.member(UNBLOCK, family.group, family.peer)
    socket.member(BLOCK_SOURCE, family.group, family.peer)
    with refused(errno.EADDRNOTAVAIL):
        socket.member(BLOCK_SOURCE, family.group, family.peer)
    with refused(errno.EINVAL):
        socket.member(JOIN_SOURCE, family.group, family.peer)


def test_memberships_and_sources_are_bounded(host, family):
    """Linux's igmp_max_memberships, igmp_max_msf and mld_max_msf."""
    socket = host.socket(v6=family.v6)
    groups = [f"ff0e::7:{i:x}" if family.v6 else f"239.7.0.{i}" for i in range(21)]
    for group in groups[:20]:
        socket.member(JOIN, group)
    with refused(errno.ENOBUFS):
        socket.member(JOIN, groups[20])
    most = 64 if family.v6 else 10
    sources = [f"2001:db8::5:{i:x}" if family.v6 else f"192.0.2.{i}" for i in range(1, most + 2)]
    for source in sources[:most]:
        socket.member(BLOCK_SOURCE, groups[0], source)
    with refused(errno.ENOBUFS):
        socket.member(BLOCK_SOURCE, groups[0], sources[most])


def test_groups_are_bounded(host):
    """However many sockets join: 1024 groups."""
    sockets = [host.socket() for _ in range(52)]
    groups = [f"239.0.{i >> 8}.{i & 255}" for i in range(1025)]
    for i, group in enumerate(groups[:1024]):
        sockets[i // 20].member(JOIN, group)
    with refused(errno.ENOBUFS):
        sockets[51].member(JOIN, groups[1024])
    host.transmit()
    host.receive(query(IPV4, seconds=1))
    host.advance(1)
    told = [record for record in records(host) if record[0] == IS_EX]
    assert len(told) == 1024


# Queries (RFC 3376 section 5.2, RFC 3810 section 6.2)


def test_a_general_query_is_answered_once_for_all_groups(host, family):
    socket = member(host, family, family.group)
    socket.member(JOIN_SOURCE, family.other, family.peer)
    host.advance(1)
    host.transmit()
    host.receive(query(family, seconds=5))
    assert said(host) == []
    assert 0 < host.deadline <= 5
    host.advance(5)
    [answer] = said(host)
    assert sorted(answer.records) == sorted(
        [(IS_EX, family.group, []), (IS_IN, family.other, [family.peer])]
    )
    host.advance(LONG)
    assert said(host) == []


def test_the_delay_is_random_and_repeats_with_the_seed(family):
    delays = []
    for seed in (1, 1, 2, 3):
        with running_host(seed=seed) as host:
            member(host, family, family.group)
            host.receive(query(family, seconds=10))
            delays.append(host.deadline)
    assert delays[0] == delays[1]
    assert len(set(delays)) == 3
    assert all(0 < delay <= 10 for delay in delays)


@pytest.mark.parametrize("seconds", [12.8, 99.2, 3174.4])
def test_a_long_response_time_is_a_floating_point_number(host, seconds):
    """RFC 3376 section 4.1.1: the mantissa has four bits."""
    member(host, IPV4, IPV4.group)
    assert code(int(seconds * 10), 4) >= 128
    longest = 0.0
    for _ in range(200):
        host.receive(query(IPV4, IPV4.group, seconds=seconds))
        longest = max(longest, host.deadline)
        host.advance(seconds)
        assert len(said(host)) == 1
    assert seconds * 0.9 < longest <= seconds


def test_the_mantissa_of_mld_has_twelve_bits(host):
    """RFC 3810 section 5.1.3."""
    member(host, IPV6, IPV6.group)
    longest = 0.0
    for _ in range(200):
        host.receive(query(IPV6, IPV6.group, seconds=65.536))
        longest = max(longest, host.deadline)
        host.advance(66)
        assert len(said(host)) == 1
    assert 60 < longest <= 65.536


def test_a_query_about_a_group_is_answered_for_it_alone(host, family):
    member(host, family, family.group, family.other)
    host.receive(query(family, family.group, seconds=1))
    host.advance(1)
    assert records(host) == [(IS_EX, family.group, [])]


def test_a_query_about_another_group_is_not_answered(host, family):
    member(host, family, family.group)
    host.receive(query(family, family.other, to=family.all_hosts, seconds=1))
    host.advance(1)
    assert said(host) == []


def test_a_query_about_sources_is_answered_for_those_that_are_wanted(host, family):
    """RFC 3376 section 5.2: the table of responses."""
    socket = member(host, family, family.group)
    socket.member(BLOCK_SOURCE, family.group, family.peer)
    socket.member(JOIN_SOURCE, family.other, family.peer)
    host.advance(1)
    host.transmit()
    both = [family.peer, family.stranger]
    host.receive(query(family, family.group, both, seconds=1))
    host.receive(query(family, family.other, both, seconds=1))
    host.advance(1)
    assert sorted(records(host)) == sorted(
        [(IS_IN, family.group, [family.stranger]), (IS_IN, family.other, [family.peer])]
    )
    host.receive(query(family, family.group, [family.peer], seconds=1))
    host.advance(1)
    assert said(host) == []


def test_queries_about_sources_are_gathered(host, family):
    """RFC 3376 section 5.2 rule 5; rule 4: one about the whole group counts for all."""
    member(host, family, family.group)
    host.receive(query(family, family.group, [family.peer], seconds=9))
    host.receive(query(family, family.group, [family.stranger], seconds=9))
    host.advance(9)
    assert records(host) == [(IS_IN, family.group, [family.peer, family.stranger])]
    host.receive(query(family, family.group, [family.peer], seconds=9))
    host.receive(query(family, family.group, seconds=9))
    host.advance(9)
    assert records(host) == [(IS_EX, family.group, [])]


def test_an_answer_to_a_general_query_that_comes_sooner_is_enough(host, family):
    """RFC 3376 section 5.2 rule 1."""
    member(host, family, family.group)
    host.receive(query(family, seconds=0.1))
    host.receive(query(family, family.group, seconds=100))
    host.advance(200)
    assert len(said(host)) == 1


def test_a_querier_may_ask_for_more_robustness(host, family):
    """RFC 3376 section 4.1.6."""
    member(host, family)
    host.receive(query(family, robustness=4))
    host.socket(v6=family.v6).member(JOIN, family.group)
    host.advance(LONG)
    changes = [record for record in records(host) if record[0] == TO_EX]
    assert changes == [(TO_EX, family.group, [])] * 4


def test_a_report_that_is_too_long_is_several(family):
    """RFC 3376 section 4.2.16."""
    with running_host(mtu=576) as host:
        socket = host.socket(v6=family.v6)
        sockets = [socket] + [host.socket(v6=family.v6) for _ in range(20)]
        form = "2001:db8::5:{:x}" if family.v6 else "192.0.2.{}"
        wanted = [form.format(i) for i in range(1, 201)]
        for i, source in enumerate(wanted):
            sockets[i // 10].member(JOIN_SOURCE, family.group, source)
        host.advance(LONG)
        host.transmit()
        host.receive(query(family, seconds=1))
        host.advance(1)
        packets = host.transmit()
        assert len(packets) > 1
        assert all(len(packet) <= 576 for packet in packets)
        told = [record for packet in packets for record in read(packet).records]
        assert {kind for kind, _, _ in told} == {IS_IN}
        heard = [source for _, _, sources in told for source in sources]
        assert sorted(heard) == sorted(wanted)


# What is no query


def bad_queries(family):
    good = query(family, family.group)
    broken = bytearray(good)
    broken[-1] ^= 1
    yield "checksum", bytes(broken)
    size = 16 if family.v6 else 4
    yield "unicast", query(family, family.peer, to=family.all_hosts)
    yield "sources", message(family, sources_missing(family, size), family.group)
    if family.v6:
        yield "hop limit", query(family, family.group, ttl=64)
        yield "no alert", query(family, family.group, alert=b"")
        yield "not link-local", query(family, family.group, source=family.peer)
    else:
        yield "length", message(family, b"\x11\1" + bytes(8), family.group)


def sources_missing(family, size):
    rest = struct.pack("!BBH", 2, 125, 3) + bytes(2 * size)
    if family.v6:
        return struct.pack("!BBHHH", 130, 0, 0, 10, 0) + packed(family.group) + rest
    return struct.pack("!BBH", 0x11, 10, 0) + packed(family.group) + rest


def test_a_query_that_is_not_right_is_not_answered(host, family):
    """RFC 3376 section 4.1, RFC 3810 sections 5.1.14 and 6.2."""
    member(host, family, family.group)
    for number, (name, packet) in enumerate(bad_queries(family), 1):
        host.receive(packet)
        assert host.counters["ip_drop_bad_membership_message"] == number, name
        assert host.deadline is None, name
    assert host.transmit() == []


def test_a_query_to_one_of_our_addresses_is_answered(host):
    """RFC 3376 section 4.1.12: whatever address of ours it was sent to."""
    member(host, IPV4, IPV4.group)
    host.receive(query(IPV4, seconds=1, to=IPV4.ours))
    host.advance(1)
    assert records(host) == [(IS_EX, IPV4.group, [])]


# Older routers (RFC 3376 section 7, RFC 3810 section 8)

REPORT, DONE = (0x16, 131), (0x17, 132)


def test_an_older_router_gets_reports_that_it_understands(host, family):
    member(host, family, family.group, family.other)
    host.receive(old_query(family, seconds=1))
    host.advance(1)
    answers = said(host)
    assert sorted(one.group for one in answers) == sorted([family.group, family.other])
    assert {one.kind for one in answers} == {REPORT[family.v6]}
    assert all(one.destination == one.group for one in answers)


def test_a_router_of_version_1_gets_reports_of_version_1(host):
    """RFC 3376 section 7.2.1; RFC 1112 appendix I: ten seconds to answer."""
    member(host, IPV4, IPV4.group)
    host.receive(old_query(IPV4, version=1))
    assert 0 < host.deadline <= 10
    host.advance(10)
    assert [one.kind for one in said(host)] == [0x12]


def test_an_older_router_is_told_of_joining_and_leaving(host, family):
    socket = member(host, family)
    host.receive(old_query(family))
    socket.member(JOIN, family.group)
    [report] = said(host)
    assert (report.kind, report.destination) == (REPORT[family.v6], family.group)
    host.advance(10)
    assert len(said(host)) == 1
    socket.member(BLOCK_SOURCE, family.group, family.peer)
    assert said(host) == []  # it would not understand
    socket.member(LEAVE, family.group)
    [done] = said(host)
    assert (done.kind, done.destination) == (DONE[family.v6], family.routers)
    assert done.group == family.group
    host.advance(100)
    assert said(host) == []
    assert host.groups == 0


def test_a_router_of_version_1_is_not_told_of_leaving(host):
    socket = member(host, IPV4, IPV4.group)
    host.receive(old_query(IPV4, version=1))
    host.advance(10)
    host.transmit()
    socket.member(LEAVE, IPV4.group)
    assert said(host) == []


def test_another_members_report_is_enough_for_an_older_router(host, family):
    """RFC 2236 section 3, RFC 2710 section 4."""
    other = "fe80::77" if family.v6 else "192.0.2.77"
    socket = member(host, family, family.group)
    host.receive(old_query(family))
    host.receive(old_report(family, family.group, other))
    host.advance(20)
    assert said(host) == []
    socket.member(LEAVE, family.group)
    assert said(host) == []


def test_another_members_report_means_nothing_to_version_3(host, family):
    """RFC 3376 section 5.2: every member reports for itself."""
    other = "fe80::77" if family.v6 else "192.0.2.77"
    member(host, family, family.group)
    host.receive(query(family, seconds=5))
    host.receive(old_report(family, family.group, other))
    host.advance(5)
    assert records(host) == [(IS_EX, family.group, [])]


def test_the_older_router_is_forgotten_in_time(host, family):
    """RFC 3376 section 8.12: twice 125 s and 10 s."""
    member(host, family, family.group)
    host.receive(old_query(family, seconds=1))
    host.advance(259)
    host.transmit()
    host.receive(query(family, seconds=0.5))
    host.advance(0.5)
    assert [one.kind for one in said(host)] == [REPORT[family.v6]]
    host.advance(2)
    host.receive(query(family, seconds=0.5))
    host.advance(0.5)
    assert records(host) == [(IS_EX, family.group, [])]


def test_what_was_pending_is_forgotten_with_the_version(host, family):
    """RFC 3376 section 7.2.1."""
    member(host, family, family.group)
    host.receive(query(family, seconds=10))
    host.receive(old_query(family, family.other, seconds=1, to=family.all_hosts))
    host.advance(20)
    assert said(host) == []


@given(data=st.data())
@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: "IPv6" if family.v6 else "IPv4")
def test_garbage_is_survived(family, data):
    with running_host() as host:
        member(host, family, family.group)
        good = bytearray(query(family, family.group, [family.peer, family.stranger]))
        for _ in range(data.draw(st.integers(1, 4))):
            start = 48 if family.v6 else 24
            good[data.draw(st.integers(start, len(good) - 1))] = data.draw(st.integers(0, 255))
        body = bytes(good[start:])
        host.receive(message(family, body[: data.draw(st.integers(0, len(body)))], family.group))
        host.advance(LONG)
        for packet in host.transmit():
            read(packet)
        assert host.live == 0
