"""Which addresses the kernel's side of a device gets."""

from __future__ import annotations

from ipaddress import ip_address, ip_interface, ip_network

import pytest

from pystack.device.addressing import parse_host_addresses, plan


def planned(*networks: str, host: tuple[str, ...] = ()) -> tuple[list[str], list[str]]:
    """(addresses, routes) as text."""
    made = plan([ip_network(one) for one in networks], parse_host_addresses(host))
    return [str(one) for one in made.addresses], [str(one) for one in made.routes]


@pytest.mark.parametrize(
    ("network", "address"),
    [
        ("10.3.0.0/24", "10.3.0.1/24"),
        ("10.0.0.0/8", "10.0.0.1/8"),
        ("fd03::/64", "fd03::1/64"),
        ("10.3.0.4/30", "10.3.0.5/30"),
        ("10.3.0.4/31", "10.3.0.4/31"),  # RFC 3021
        ("fd03::2/127", "fd03::2/127"),  # RFC 6164
    ],
)
def test_the_kernel_gets_the_first_host_address(network, address):
    assert planned(network) == ([address], [])


@pytest.mark.parametrize("network", ["10.3.0.7/32", "fd03::7/128"])
def test_a_single_address_is_the_stacks_and_only_routed(network):
    assert planned(network) == ([], [network])


def test_a_given_address_takes_its_networks_prefix_and_others_keep_their_default():
    assert planned("10.3.0.0/24", "fd03::/64", host=("10.3.0.254",)) == (
        ["10.3.0.254/24", "fd03::1/64"],
        [],
    )


def test_an_address_outside_serves_all_networks_of_its_family():
    assert planned("10.3.0.0/24", "10.4.0.0/24", "fd03::/64", host=("192.168.9.9",)) == (
        ["192.168.9.9/32", "fd03::1/64"],
        ["10.3.0.0/24", "10.4.0.0/24"],
    )


@pytest.mark.parametrize(
    ("network", "host"),
    [
        ("10.3.0.0/24", "10.3.0.0"),
        ("10.3.0.0/24", "10.3.0.255"),
        ("fd03::/64", "fd03::"),
    ],
)
def test_an_address_that_no_host_may_have_is_refused(network, host):
    with pytest.raises(ValueError, match=f"{host} is no host address in {network}"):
        planned(network, host=(host,))


def test_the_last_address_of_an_ipv6_network_is_a_hosts():
    assert planned("fd03::/120", host=("fd03::ff",)) == (["fd03::ff/120"], [])


def test_text_that_is_no_address_is_refused():
    with pytest.raises(ValueError, match=r"10\.3\.0\.256"):
        parse_host_addresses(["10.3.0.256"])


def test_local_addresses_are_those_without_prefix():
    made = plan([ip_network("10.3.0.0/24")], [ip_address("10.3.0.9")])
    assert made.addresses == (ip_interface("10.3.0.9/24"),)
    assert made.local_addresses == (ip_address("10.3.0.9"),)
