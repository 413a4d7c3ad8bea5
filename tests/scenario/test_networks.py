"""Which addresses are ours, and which of them speaks to whom."""

from __future__ import annotations

import errno
from ipaddress import IPv4Address, IPv6Address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st
from native import ip


@pytest.mark.parametrize(
    ("network", "ours", "not_ours"),
    [
        ("10.3.0.0/24", ["10.3.0.1", "10.3.0.254"], ["10.3.0.0", "10.3.0.255", "10.3.1.1"]),
        ("10.3.0.4/30", ["10.3.0.5", "10.3.0.6"], ["10.3.0.4", "10.3.0.7", "10.3.0.8"]),
        ("10.3.0.4/31", ["10.3.0.4", "10.3.0.5"], ["10.3.0.3", "10.3.0.6"]),
        ("10.3.0.4/32", ["10.3.0.4"], ["10.3.0.3", "10.3.0.5"]),
        ("10.0.0.0/8", ["10.0.0.1", "10.255.255.254"], ["10.0.0.0", "10.255.255.255", "11.0.0.1"]),
        ("0.0.0.0/0", ["1.2.3.4", "203.0.113.9"], ["0.0.0.0", "127.0.0.1", "224.0.0.1", "0.1.2.3"]),
        ("0.0.0.0/0", [], ["255.255.255.255", "fd03::1"]),
        ("fd03::/64", ["fd03::", "fd03::1", "fd03::ffff:ffff:ffff:ffff"], ["fd03:0:0:1::1"]),
        ("fd03::8/127", ["fd03::8", "fd03::9"], ["fd03::7", "fd03::a"]),
        ("fd03::8/128", ["fd03::8"], ["fd03::9"]),
        ("::/0", ["2001:db8::1", "fe80::1"], ["::", "::1", "ff02::1", "10.3.0.1"]),
        ("127.0.0.0/8", ["127.0.0.1", "127.1.2.3"], ["127.0.0.0", "127.255.255.255", "::1"]),
        ("127.0.0.1/32", ["127.0.0.1"], ["127.0.0.2"]),
        ("::1/128", ["::1"], ["::", "::2", "127.0.0.1"]),
    ],
)  # fmt: skip
def test_the_hosts_of_a_network_are_ours(network, ours, not_ours):
    """RFC 919 and 922: neither network nor broadcast address; RFC 3021: /31 has only hosts."""
    host = ip.IpHost(network)
    assert [address for address in ours if not host.is_local(address)] == []
    assert [address for address in not_ours if host.is_local(address)] == []


@given(
    st.integers(0, 2**32 - 1).map(IPv4Address),
    st.integers(0, 32),
    st.integers(0, 2**32 - 1),
)
def test_ipv4_membership_is_that_of_the_standard_library(base, length, offset):
    network = ip_network((base, length), strict=False)
    if network.network_address.is_multicast or network.network_address.is_loopback:
        return
    host = ip.IpHost(str(network))
    address = network[offset % network.num_addresses]
    first = int(address) >> 24
    unicast = first not in (0, 127) and first >> 4 != 14 and int(address) != 2**32 - 1
    usable = length > 30 or address not in (network.network_address, network.broadcast_address)
    assert host.is_local(str(address)) == (unicast and usable)


def is_plain(address):
    """No address that means something by itself."""
    special = address.is_multicast or address.is_loopback or address.is_unspecified
    return not special and address.ipv4_mapped is None


@given(st.integers(0, 2**128 - 1).map(IPv6Address), st.integers(0, 128), st.integers(0, 127))
def test_ipv6_membership_is_that_of_the_standard_library(base, length, flip):
    network = ip_network((base, length), strict=False)
    address = IPv6Address(int(base) ^ 1 << flip)
    if not all(map(is_plain, (network.network_address, address))):
        return
    host = ip.IpHost(str(network))
    assert host.is_local(str(address)) == (address in network)


def test_networks_are_refused_for_a_reason():
    host = ip.IpHost("10.3.0.0/24", "fd03::/64")
    for text, number in [
        ("10.4.0.1/24", errno.EINVAL),  # host bits
        ("fd04::1/64", errno.EINVAL),
        ("224.0.0.0/24", errno.EINVAL),  # nobody's unicast addresses
        ("ff02::/64", errno.EINVAL),
        ("10.3.0.0/24", errno.EEXIST),
        ("10.3.0.128/25", errno.EEXIST),
        ("10.0.0.0/8", errno.EEXIST),
        ("0.0.0.0/0", errno.EEXIST),
        ("fd03::/48", errno.EEXIST),
        ("fd03::5/128", errno.EEXIST),
        ("10.4.0.0/33", errno.EINVAL),
    ]:
        with pytest.raises(OSError) as refused:
            host.add_network(text, strict=False)
        assert refused.value.errno == number, text
    for length in (-1, 95, 129):
        with pytest.raises(OSError):
            host.add_prefix("10.4.0.0", length)
    host.add_network("10.2.0.0/16")
    host.add_network("::/1")  # covers where IPv4 is held, but is no IPv4 network
    assert not host.is_local("10.5.0.1")
    assert host.is_local("2001:db8::1")


def test_an_excluded_address_is_somebody_elses():
    """The kernel's end of a TUN."""
    host = ip.IpHost("10.3.0.0/24", exclude=["10.3.0.1", "10.3.0.1"])
    assert not host.is_local("10.3.0.1")
    assert host.is_local("10.3.0.2")


@pytest.mark.parametrize(
    ("networks", "excluded", "destination", "source"),
    [
        (["10.3.0.0/24"], [], "192.0.2.1", "10.3.0.1"),
        (["10.3.0.0/24"], ["10.3.0.1"], "10.3.0.1", "10.3.0.2"),
        (["10.3.0.0/24"], ["10.3.0.1", "10.3.0.2", "10.3.0.3"], "192.0.2.1", "10.3.0.4"),
        (["10.3.0.4/31"], ["10.3.0.4"], "10.3.0.4", "10.3.0.5"),
        (["10.3.0.4/32"], [], "192.0.2.1", "10.3.0.4"),
        (["10.3.0.0/24"], [], "10.3.0.77", "10.3.0.77"),  # rule 1
        (["fe80::/64", "fd03::/64"], [], "2001:db8::1", "fd03::1"),  # rule 2
        (["fd03::/64", "fe80::/64"], [], "fe80:0:0:1::9", "fe80::1"),
        (["fd03::/64", "fe80::/64"], [], "ff02::1", "fe80::1"),
        (["fe80::/64", "fd03::/64"], [], "ff0e::1", "fd03::1"),
        (["169.254.0.0/16", "10.3.0.0/24"], [], "192.0.2.1", "10.3.0.1"),
        (["10.3.0.0/24", "192.0.0.0/24"], [], "192.0.2.1", "192.0.0.1"),  # rule 8
        (["fd03::/64", "2001:db8:1::/64"], [], "2001:db8::1", "2001:db8:1::1"),
        (["fd03::/64", "10.3.0.0/24"], [], "192.0.2.1", "10.3.0.1"),  # families apart
        # rule 6: the label of the destination, though more bits match the other
        (["fd03::/64", "2001:db8::/64"], [], "fd55::1", "fd03::1"),
        (["fd03::/64", "2001:db8::/64"], [], "ff1e::1", "2001:db8::1"),
        (["fd03::/64", "2001:db8::/64"], [], "e001::1", "2001:db8::1"),
        (["2001:db8::/64", "2002:a03::/48"], [], "2002:1::1", "2002:a03::1"),
        (["2002:a03::/48", "2001:db8::/64"], [], "2600::1", "2001:db8::1"),
        (["2001:db8::/64", "2001:0:1::/64"], [], "2001:0:7::1", "2001:0:1::1"),
        (["fec0::/64", "2001:db8::/64"], [], "2600::1", "2001:db8::1"),  # rule 2: site
        (["2001:db8::/64", "fec0::/64"], [], "fec0:0:0:9::1", "fec0::1"),
        (["2001:db8:8::/48", "2001:db8:9::/48"], [], "2001:db8:a::1", "2001:db8:8::1"),
        (["fd03::/64"], ["fd03::1"], "2001:db8::1", "fd03::2"),
    ],
)
def test_the_source_is_chosen_by_rule(networks, excluded, destination, source):
    """RFC 6724 section 5, rules 1, 2, 6, 8; never a subnet's anycast address (RFC 4291 2.6.1)."""
    assert ip.IpHost(*networks, exclude=excluded).choose_source(destination) == source


def test_without_a_network_of_the_family_there_is_no_way():
    host = ip.IpHost("10.3.0.0/31", exclude=["10.3.0.0", "10.3.0.1"])
    with pytest.raises(OSError) as refused:
        host.choose_source("2001:db8::1")
    assert refused.value.errno == errno.ENETUNREACH
    with pytest.raises(OSError) as refused:
        host.choose_source("192.0.2.1")
    assert refused.value.errno == errno.EADDRNOTAVAIL


def test_no_loopback_address_speaks_to_others():
    """RFC 1122 section 3.2.1.3 (g), RFC 4291 section 2.5.3."""
    host = ip.IpHost("127.0.0.0/8", "::1/128")
    assert host.choose_source("127.0.0.9") == "127.0.0.9"
    for destination in ("192.0.2.7", "2001:db8::7"):
        with pytest.raises(OSError) as refused:
            host.choose_source(destination)
        assert refused.value.errno == errno.ENETUNREACH
    host = ip.IpHost("127.0.0.0/8", "10.3.0.0/24")
    assert host.choose_source("192.0.2.7") == "10.3.0.1"
