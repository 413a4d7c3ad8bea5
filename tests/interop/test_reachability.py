"""Every address answers: ping from all sides and of all sizes, traceroute."""

from __future__ import annotations

import random
import re
from ipaddress import IPv6Address

import pytest
from interop.harness import require_tool
from interop.virtual import HOST, KERNEL, both_families, virtual_net

AT_ONCE = "32"  # pings


def ping_each(namespace, addresses):
    """Ping each address once; those that did not answer. The shell says which."""
    require_tool("ping")
    each = 'ping -n -q -c 1 -W 10 "$1" >/dev/null || echo "$1"'
    command = [require_tool("xargs"), "-P", AT_ONCE, "-n", "1", "sh", "-c", each, "sh"]
    return namespace.run(command, input="\n".join(addresses)).stdout.split()


def ping(namespace, address, *options):
    """(sent, received) of some pings."""
    command = [require_tool("ping"), "-n", "-W", "10", *options, address]
    said = namespace.run(command).stdout
    return tuple(map(int, re.search(r"(\d+) packets transmitted, (\d+) received", said).groups()))


def test_all_254_addresses_answer_a_ping(namespace):
    addresses = [f"10.3.0.{n}" for n in range(1, 255)]
    with virtual_net(namespace) as stack:
        assert ping_each(namespace, addresses) == []
        assert stack.counters()["icmp_echo_requests_in"] == 253  # 10.3.0.1 is the kernel's
        assert stack.counters()["icmp_echo_replies_out"] == 253


def test_addresses_all_over_an_ipv6_net_answer_a_ping(namespace):
    pick = random.Random(4291)
    net = int(IPv6Address("fd03::"))
    hosts = {pick.getrandbits(pick.randrange(2, 65)) for _ in range(200)}
    addresses = {str(IPv6Address(net + host)) for host in hosts - {0, 1}}
    addresses |= {"fd03::2", "fd03::ffff:ffff:ffff:ffff"}
    with virtual_net(namespace) as stack:
        assert ping_each(namespace, sorted(addresses)) == []
        assert stack.counters()["icmp_echo_replies_out"] == len(addresses)


def test_network_and_broadcast_addresses_do_not_answer(namespace):
    with virtual_net(namespace) as stack:
        for address in ("10.3.0.0", "10.3.0.255"):
            command = ["ping", "-n", "-b", "-c", "1", "-W", "0.1", address]
            assert namespace.run(command, check=False).returncode == 1
        assert ping(namespace, HOST[4], "-c", "1") == (1, 1)
        assert stack.counters()["icmp_echo_replies_out"] == 1


@both_families
@pytest.mark.parametrize("size", [0, 1452, 1453, 1472, 1473, 9000, 65000, 65507])
def test_pings_of_every_length_come_back_whole(namespace, family, size):
    """ping compares what comes back with what it sent; for the last it waits as long as -i says."""
    options = ["-c", "2", "-i", "0.2", "-s", str(size), "-M", "dont"]
    with virtual_net(namespace) as stack:
        assert ping(namespace, HOST[family], *options) == (2, 2)
        counters = stack.counters()
    assert counters["icmp_echo_replies_out"] == 2
    is_cut = size + (28 if family == 4 else 48) > 1500
    assert bool(counters["ip_reassembled"]) == bool(counters["ip_fragments_out"]) == is_cut


@both_families
def test_a_flood_of_pings_is_answered(namespace, family):
    with virtual_net(namespace):
        sent, received = ping(namespace, HOST[family], "-f", "-c", "5000", "-s", "1000")
    assert sent == received == 5000


@both_families
@pytest.mark.parametrize("method", ["--udp", "--icmp", "--tcp"])
def test_traceroute_ends_at_the_virtual_host(namespace, family, method):
    """By UDP it needs port unreachable; by TCP a RST, since nobody listens."""
    command = [require_tool("traceroute"), f"-{family}", "-n", "-q", "2", "-m", "5", "-w", "5"]
    with virtual_net(namespace):
        said = namespace.run([*command, method, HOST[family]]).stdout
    _, *hops = said.splitlines()
    assert len(hops) == 1
    assert re.fullmatch(rf" 1  {HOST[family]}(  [\d.]+ ms){{2}}", hops[0].rstrip()), said


@both_families
def test_the_kernels_own_address_is_not_the_stacks(namespace, family):
    with virtual_net(namespace) as stack:
        assert ping(namespace, KERNEL[family], "-c", "1") == (1, 1)
        assert stack.counters()["icmp_echo_requests_in"] == 0
