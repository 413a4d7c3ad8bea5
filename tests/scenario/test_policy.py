"""The address policy: longest prefix, then newest rule; whole addresses before reassembly."""

from __future__ import annotations

import errno
from ipaddress import ip_address, ip_network

import dpkt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from native import ip
from scenario.ip_wire import (
    FAMILIES,
    IPV4,
    IPV6,
    TCP,
    UDP,
    echo,
    family_name,
    fragment,
    icmp,
    packet,
    read,
    read_icmp,
    running_host,
    udp,
)

both = pytest.mark.parametrize("family", FAMILIES, ids=family_name)


@pytest.fixture
def host():
    with running_host() as running:
        yield running


def everything(family):
    return "fd03::/64" if family.v6 else "10.3.0.0/24"


def only(family):
    return f"{family.ours}/{128 if family.v6 else 32}"


# The table


def test_without_rules_everything_is_accepted(host):
    assert host.policy_find("10.3.0.5", TCP, 80) == (ip.ACCEPT, 0)
    assert host.policy_rules() == (0, 0)


def test_the_longest_prefix_decides(host):
    host.policy("10.3.0.0/24", ip.DROP, token=1)
    host.policy("10.3.0.8/29", ip.MIRROR, token=2)
    host.policy("10.3.0.9/32", ip.REFUSE, token=3)
    assert host.policy_find("10.3.0.9", TCP, 80) == (ip.REFUSE, 3)
    assert host.policy_find("10.3.0.10", TCP, 80) == (ip.MIRROR, 2)
    assert host.policy_find("10.3.0.1", TCP, 80) == (ip.DROP, 1)
    assert host.policy_find("10.4.0.1", TCP, 80) == (ip.ACCEPT, 0)


def test_a_longer_prefix_that_says_nothing_leaves_it_to_the_shorter(host):
    host.policy("10.3.0.0/24", ip.DROP, token=1)
    host.policy("10.3.0.9/32", ip.REFUSE, TCP, 80, 90, token=2)
    assert host.policy_find("10.3.0.9", TCP, 79) == (ip.DROP, 1)
    assert host.policy_find("10.3.0.9", TCP, 80) == (ip.REFUSE, 2)
    assert host.policy_find("10.3.0.9", TCP, 90) == (ip.REFUSE, 2)
    assert host.policy_find("10.3.0.9", TCP, 91) == (ip.DROP, 1)
    assert host.policy_find("10.3.0.9", UDP, 80) == (ip.DROP, 1)


def test_within_a_prefix_the_newest_rule_decides(host):
    host.policy("10.3.0.0/24", ip.DROP, TCP, 0, 1000)
    host.policy("10.3.0.0/24", ip.ACCEPT, TCP, 80, 80, token=7)
    assert host.policy_find("10.3.0.9", TCP, 80) == (ip.ACCEPT, 7)
    assert host.policy_find("10.3.0.9", TCP, 81)[0] == ip.DROP
    host.policy("10.3.0.0/24", ip.REFUSE)
    assert host.policy_find("10.3.0.9", TCP, 80)[0] == ip.REFUSE


def test_families_are_apart(host):
    """A short IPv6 prefix covers ::ffff:0:0/96, where IPv4 is held, in form only."""
    host.policy("::/0", ip.DROP)
    assert host.policy_find("10.3.0.9", TCP, 80)[0] == ip.ACCEPT
    host.policy("0.0.0.0/0", ip.REFUSE)
    assert host.policy_find("10.3.0.9", TCP, 80)[0] == ip.REFUSE
    assert host.policy_find("fd03::9", TCP, 80)[0] == ip.DROP


def test_rules_are_refused_for_a_reason(host):
    for arguments in [
        ("10.3.0.1", 96 + 24, ip.DROP),
        ("10.3.0.0", 24, ip.DROP),
        ("10.3.0.0", 129, ip.DROP),
        ("10.3.0.0", -1, ip.DROP),
        ("10.3.0.0", 96 + 24, 4),
        ("10.3.0.0", 96 + 24, -1),
        ("10.3.0.0", 96 + 24, ip.DROP, TCP, 80, 79),
    ]:
        with pytest.raises(OSError) as refused:
            host.policy_prefix(*arguments)
        assert refused.value.errno == errno.EINVAL
    assert host.policy_find("10.3.0.0", TCP, 80)[0] == ip.ACCEPT


def rules():
    prefix = st.tuples(st.integers(0, 255), st.integers(24, 32)).map(
        lambda p: ip_network((f"10.3.0.{p[0]}", p[1]), strict=False)
    )
    port = st.integers(0, 9)
    return st.tuples(
        prefix, st.integers(0, 3), st.sampled_from([0, TCP, UDP]), st.tuples(port, port).map(sorted)
    )


@given(
    st.lists(rules(), max_size=20),
    st.integers(0, 255),
    st.sampled_from([1, TCP, UDP]),
    st.integers(0, 9),
)
def test_the_table_is_what_a_list_would_be(rules, last, protocol, port):
    """Longest prefix, then newest rule: against a model."""
    with running_host() as host:
        matches = []
        address = ip_address(f"10.3.0.{last}")
        for token, (prefix, action, wanted, (first, end)) in enumerate(rules, 1):
            host.policy(str(prefix), action, wanted, first, end, token)
            if address in prefix and wanted in (0, protocol) and first <= port <= end:
                matches.append((prefix.prefixlen, token, action))
        expected = max(matches, default=(0, 0, ip.ACCEPT))
        assert host.policy_find(str(address), protocol, port) == (expected[2], expected[1])


# What ip does by itself


@both
def test_a_whole_address_drops_everything(host, family):
    """Before reassembly: fragments cost nothing."""
    host.policy(only(family), ip.DROP)
    for data in (
        packet(family, UDP, udp()),
        packet(family, family.icmp, echo(family)),
        packet(family, 99, b"x"),
        fragment(family, UDP, bytes(64), 0, True),
    ):
        assert host.receive(data) is None
    assert host.counters == {"ip_drop_by_policy": 4}
    assert (host.transmit(), host.reassembling) == ([], 0)
    assert host.receive(packet(family, UDP, udp(), destination=family.second)).to == "udp"


@both
def test_a_whole_address_mirrors_fragments_as_they_are(host, family):
    host.policy(everything(family), ip.MIRROR)
    data = fragment(family, UDP, bytes(64), 64, True)
    assert host.receive(data) is None
    (sent,) = host.transmit()
    got = read(sent.data)
    assert (got.source, got.destination, got.offset, got.more) == (
        family.ours,
        family.peer,
        64,
        True,
    )
    assert host.reassembling == 0


@both
def test_a_rule_about_a_port_leaves_the_address_to_the_transports(host, family):
    """They look for a flow first, then ask."""
    host.policy(everything(family), ip.MIRROR)
    host.policy(everything(family), ip.ACCEPT, TCP, 80, 80)
    assert host.receive(packet(family, TCP, dpkt.tcp.TCP(dport=80))).to == "tcp"
    assert host.receive(packet(family, TCP, dpkt.tcp.TCP(dport=81))).to == "tcp"
    assert host.policy_find(family.ours, TCP, 81)[0] == ip.MIRROR


@both
def test_whole_refusal_is_for_the_transports_too(host, family):
    """Whoever refuses TCP answers RST, not ICMP."""
    host.policy(everything(family), ip.REFUSE)
    assert host.receive(packet(family, TCP, dpkt.tcp.TCP(dport=80))).to == "tcp"


@both
def test_echo_follows_the_policy(host, family):
    host.policy(everything(family), ip.DROP, family.icmp)
    assert host.receive(packet(family, family.icmp, echo(family))) is None
    assert host.transmit() == []
    assert host.counters == {"ip_drop_by_policy": 1}
    host.policy(everything(family), ip.REFUSE, family.icmp)
    data = packet(family, family.icmp, echo(family, b"hello"))
    host.receive(data)
    (sent,) = host.transmit()
    assert read_icmp(sent.data)[2:] == ((1, 1, 0, data) if family.v6 else (3, 13, 0, data))
    host.policy(everything(family), ip.MIRROR, family.icmp)
    host.receive(data)
    (sent,) = host.transmit()
    assert read_icmp(sent.data).type == (128 if family.v6 else 8)
    host.policy(everything(family), ip.ACCEPT, family.icmp)
    host.receive(data)
    (sent,) = host.transmit()
    assert read_icmp(sent.data).type == (129 if family.v6 else 0)


@both
def test_the_answer_to_a_mirrored_ping_is_mirrored_too(host, family):
    """Else the host that pings itself would never hear of it."""
    host.policy(everything(family), ip.MIRROR, family.icmp)
    assert host.receive(packet(family, family.icmp, echo(family, b"x", reply=True))) is None
    assert len(host.transmit()) == 1


@both
def test_an_unknown_protocol_may_be_dropped_in_silence(host, family):
    host.policy(everything(family), ip.DROP, 99)
    host.receive(packet(family, 99, b"x"))
    assert host.transmit() == []
    assert host.counters == {"ip_drop_by_policy": 1}


@both
def test_a_mirrored_error_quotes_what_its_receiver_has_sent(host, family):
    """The packet that it quotes was mirrored too: its addresses go back to what they were."""
    host.policy(everything(family), ip.MIRROR)
    request = packet(family, UDP, udp(b"hello"))
    host.receive(request)
    (mirrored,) = host.transmit()
    kind, code = (1, 4) if family.v6 else (3, 3)
    message = icmp(family, kind, code, 0, mirrored.data)
    host.receive(packet(family, family.icmp, message))
    (sent,) = host.transmit()
    error = read_icmp(sent.data)
    assert (error.source, error.destination) == (family.ours, family.peer)
    assert (error.type, error.code, error.data) == (kind, code, request)


@both
def test_an_error_that_quotes_nearly_nothing_is_mirrored_as_it_is(host, family):
    host.policy(everything(family), ip.MIRROR)
    kind = 1 if family.v6 else 3
    for size in (0, 4, 8, 12, 20, 27, 47):
        message = icmp(family, kind, 3, 0, bytes(size))
        host.receive(packet(family, family.icmp, message[: size + 1]))
        (sent,) = host.transmit()
        assert read(sent.data).data == message[: size + 1]


def test_an_idle_network_of_any_size_costs_nothing():
    """The design's section 6."""
    host = ip.IpHost("10.0.0.0/8", "fd03::/16")
    host.policy("10.0.0.0/8", ip.MIRROR)
    assert host.policy_rules() == (1, 1)
    assert host.receive(packet(IPV4, UDP, udp(), destination="10.200.3.4")) is None
    assert read(host.transmit()[0].data).source == "10.200.3.4"
    assert host.receive(packet(IPV6, UDP, udp(), destination="fd03:1:2::3")).to == "udp"
