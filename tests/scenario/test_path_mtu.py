"""Path MTU: lowered by what a transport vouches for, forgotten in time, bounded."""

from __future__ import annotations

import errno
from ipaddress import ip_address

import pytest
from native import ip
from scenario.ip_wire import FAMILIES, IPV4, IPV6, UDP, family_name, read, running_host

both = pytest.mark.parametrize("family", FAMILIES, ids=family_name)


@pytest.fixture
def host():
    with running_host() as running:
        yield running


def path(family):
    return family.ours, family.peer


@both
def test_a_path_that_nobody_complained_of_takes_what_the_device_takes(host, family):
    assert host.path_mtu(*path(family)) == 1500
    assert host.path_mtu_entries == 0


@both
def test_a_message_lowers_the_mtu_of_one_path(host, family):
    """RFC 1191 section 3, RFC 8201 section 4."""
    assert host.path_mtu_lower(*path(family), 1400) == 1
    assert host.path_mtu(*path(family)) == 1400
    assert host.path_mtu(family.second, family.peer) == 1500
    assert host.path_mtu(family.ours, family.excluded) == 1500
    assert host.path_mtu_lower(*path(family), 1300) == 1
    assert host.path_mtu(*path(family)) == 1300
    assert host.counters == {"ip_path_mtu_lowered": 2}


@both
@pytest.mark.parametrize("mtu", [1400, 1401, 1500, 9000, 2**32 - 1])
def test_a_message_never_raises_the_mtu(host, family, mtu):
    """RFC 8201 section 4; RFC 1191 section 3."""
    host.path_mtu_lower(*path(family), 1400)
    assert host.path_mtu_lower(*path(family), mtu) == 0
    assert host.path_mtu(*path(family)) == 1400
    assert host.counters == {"ip_path_mtu_lowered": 1, "ip_path_mtu_ignored": 1}


@pytest.mark.parametrize("mtu", [0, 68, 576, 1279])
def test_below_the_ipv6_minimum_is_ignored(host, mtu):
    """RFC 8201 section 4: every IPv6 link takes 1,280 bytes."""
    assert host.path_mtu_lower(*path(IPV6), mtu) == 0
    assert host.path_mtu(*path(IPV6)) == 1500
    assert host.path_mtu_lower(*path(IPV6), 1280) == 1


@pytest.mark.parametrize("mtu", [0, 1, 67])
def test_below_the_ipv4_minimum_is_ignored(host, mtu):
    """RFC 1191 section 3: every router forwards 68 bytes."""
    assert host.path_mtu_lower(*path(IPV4), mtu) == 0
    assert host.path_mtu(*path(IPV4)) == 1500


@pytest.mark.parametrize("mtu", [68, 300, 551])
def test_a_very_narrow_ipv4_path_gets_552_bytes_without_df(host, mtu):
    """Linux's min_pmtu: no attacker makes us send crumbs; routers may cut."""
    assert host.path_mtu_lower(*path(IPV4), mtu) == 1
    assert host.path_mtu(*path(IPV4)) == 552
    assert host.path_mtu_lower(*path(IPV4), mtu) == 0
    host.send(*path(IPV4), UDP, bytes(500), discover=ip.WANT)
    host.send(*path(IPV4), UDP, bytes(500), discover=ip.DO)
    host.send(IPV4.second, IPV4.peer, UDP, bytes(500), discover=ip.WANT)
    assert [read(sent.data).df for sent in host.transmit()] == [False, True, True]


def test_a_path_of_exactly_552_bytes_may_turn_out_narrower(host):
    assert host.path_mtu_lower(*path(IPV4), 552) == 1
    host.send(*path(IPV4), UDP, bytes(500))
    assert host.path_mtu_lower(*path(IPV4), 400) == 1
    host.send(*path(IPV4), UDP, bytes(500))
    assert [read(sent.data).df for sent in host.transmit()] == [True, False]


@both
def test_ten_minutes_later_it_is_forgotten(host, family):
    """RFC 1191 section 6.3, RFC 8201 section 5.3: the path may have got wider."""
    host.path_mtu_lower(*path(family), 1400)
    host.advance(599)
    assert host.path_mtu(*path(family)) == 1400
    host.path_mtu_lower(*path(family), 1300)
    host.advance(599)
    assert host.path_mtu(*path(family)) == 1300
    host.advance(1)
    assert host.path_mtu(*path(family)) == 1500
    assert host.path_mtu_entries == 0
    assert host.path_mtu_lower(*path(family), 1400) == 1


@both
def test_the_device_is_the_limit_whatever_was_learned(family):
    with running_host(mtu=1290) as host:
        assert host.path_mtu_lower(*path(family), 1300) == 0
        assert host.path_mtu(*path(family)) == 1290


@both
def test_packets_follow_the_path_mtu(host, family):
    """Fragments or EMSGSIZE, from then on."""
    payload = bytes(1450 - family.header_length)
    assert host.send(*path(family), UDP, payload, discover=ip.DO) == 0
    host.path_mtu_lower(*path(family), 1400)
    assert host.send(*path(family), UDP, payload, discover=ip.DO) == -errno.EMSGSIZE
    host.transmit()
    assert host.send(*path(family), UDP, payload, discover=ip.WANT) == 0
    sent = host.transmit()
    assert len(sent) == 2
    assert all(len(each.data) <= 1400 for each in sent)


def test_the_cache_is_bounded(host):
    """A peer has many addresses; the entry that would expire first gives way."""
    first = int(ip_address("2001:db8::"))
    remotes = [str(ip_address(first + n)) for n in range(ip.PATH_MTU_ENTRIES_MAX + 10)]
    for remote in remotes[: ip.PATH_MTU_ENTRIES_MAX]:
        host.path_mtu_lower(IPV6.ours, remote, 1400)
    host.path_mtu_lower(IPV6.ours, remotes[0], 1300)
    for remote in remotes[ip.PATH_MTU_ENTRIES_MAX :]:
        host.path_mtu_lower(IPV6.ours, remote, 1400)
    assert host.path_mtu_entries == ip.PATH_MTU_ENTRIES_MAX
    assert host.path_mtu(IPV6.ours, remotes[0]) == 1300
    assert host.path_mtu(IPV6.ours, remotes[1]) == 1500
    assert host.path_mtu(IPV6.ours, remotes[-1]) == 1400
