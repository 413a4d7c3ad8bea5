"""The policy `mirror`: the kernel's own services at every address; iperf3 goes through it."""

from __future__ import annotations

import json
import subprocess
from contextlib import contextmanager

import pytest
from interop.harness import require_tool
from interop.virtual import HOST, KERNEL, MB, SECONDS, both_families, virtual_net, wait_until

SIZE = 100 * MB


@contextmanager
def iperf_server(namespace, family):
    command = [require_tool("iperf3"), "--server", "--bind", KERNEL[family], "--forceflush"]
    process = namespace.popen(command, stdout=subprocess.PIPE, text=True)
    with process:
        try:
            for line in process.stdout:
                if "Server listening" in line:
                    break
            yield
        finally:
            process.kill()


def iperf(namespace, family, *options):
    """What the client reports of a test through the mirror."""
    command = [require_tool("iperf3"), "--client", HOST[family], "--json", *options]
    report = json.loads(namespace.run(command, check=False, timeout=SECONDS).stdout)
    assert "error" not in report, report
    return report["end"]


@both_families
@pytest.mark.parametrize("offloads", [True, False], ids=["offloads", "no-offloads"])
@pytest.mark.parametrize("options", [(), ("--reverse",), ("--parallel", "4")], ids=" ".join)
def test_iperf3_over_tcp(namespace, family, offloads, options):
    with (
        virtual_net(namespace, offloads=offloads) as stack,
        iperf_server(namespace, family),
    ):
        stack.set_policy(HOST[family], "mirror")
        end = iperf(namespace, family, "--bytes", str(SIZE), *options)
        counters = stack.counters()
    assert end["sum_sent"]["bytes"] >= SIZE
    assert end["sum_received"]["bytes"] > SIZE / 2  # what is on its way at the end is not told
    assert counters["ip_mirrored"] == counters["packets_in"]
    assert counters["tcp_segments_in"] == 0


def dropped_by_the_kernel(namespace):
    """UDP packets that the kernel had no room for: on their way to the stack, and back."""
    link = json.loads(namespace.run(["ip", "-s", "-j", "link", "show", "dev", "pystack0"]).stdout)
    ipv4 = namespace.run(["cat", "/proc/net/snmp"]).stdout.splitlines()
    ipv6 = namespace.run(["cat", "/proc/net/snmp6"]).stdout.splitlines()
    names, counts = (line.split() for line in ipv4 if line.startswith("Udp:"))
    full = dict(zip(names, counts, strict=True)) | dict(line.split() for line in ipv6)
    on_the_way = sum(way["dropped"] for way in link[0]["stats64"].values())
    return on_the_way + int(full["RcvbufErrors"]) + int(full["Udp6RcvbufErrors"])


@both_families
def test_iperf3_over_udp(namespace, family):
    """Whatever the kernel does not drop comes through: it drops what programs are too late for."""
    with virtual_net(namespace) as stack, iperf_server(namespace, family):
        stack.set_policy(HOST[family], "mirror")
        rate = ("--udp", "--bitrate", "20M", "--length", "1400")
        before = dropped_by_the_kernel(namespace)
        end = iperf(namespace, family, "--bytes", str(5 * MB), *rate)
        dropped = dropped_by_the_kernel(namespace) - before
        counters = stack.counters()
    assert end["sum"]["packets"] > 3000
    assert end["sum"]["lost_packets"] <= dropped
    assert end["sum"]["lost_percent"] < 50
    assert counters["ip_mirrored"] == counters["packets_in"]


@both_families
def test_a_mirrored_ping_is_the_kernels_own(namespace, family):
    """Its request comes back as the kernel's request to itself, and so does its reply."""
    with virtual_net(namespace) as stack:
        stack.set_policy(HOST[family], "mirror")
        for size in ("56", "9000"):
            # The last may take as long as -i says.
            command = ["ping", "-n", "-i", "0.2", "-c", "3", "-s", size, HOST[family]]
            assert " 3 received" in namespace.run([require_tool("ping"), *command[1:]]).stdout
        assert stack.counters()["icmp_echo_requests_in"] == 0
        wait_until(lambda: stack.counters()["ip_mirrored"] > 12)  # each ping is two packets
