"""A router between the stack and another kernel: hops, path MTU, unreachable hosts."""

from __future__ import annotations

import errno
import re
import socket
import subprocess
from contextlib import contextmanager

import pytest
from interop.harness import require_tool
from interop.virtual import (
    HOST,
    KIND,
    MB,
    SECONDS,
    Background,
    both_families,
    pattern,
    python,
    receive_all,
    send_all,
    sha256,
    virtual_net,
    wait_until,
)

FAR = {4: "10.9.0.2", 6: "fd09::2"}
NARROW = 1300
HALF = 2 * MB
DATA = pattern(6 * MB)

# In a namespace of its own: what the other end of the link does. Reads HALF bytes, waits for word
# that the path has changed, reads the rest; or sends so.
PEER = """
import hashlib, json, socket, subprocess, sys
from interop.test_router import DATA, HALF

def say(*words):
    print(*words, flush=True)
    sys.stdin.readline()

def run(command):
    subprocess.run(command.split(), check=True)

with open("/proc/sys/net/ipv6/conf/default/accept_dad", "w") as setting:
    setting.write("0")
say("here")
for command in (
    "ip link set lo up",
    "ip addr add 10.9.0.2/24 dev far",
    "ip -6 addr add fd09::2/64 dev far nodad",
    "ip link set far up",
    "ip route add default via 10.9.0.1",
    "ip -6 route add default via fd09::1",
):
    run(command)
server = socket.create_server(("::", 5000), family=socket.AF_INET6, dualstack_ipv6=True)
say("listening")
while True:
    connection, _ = server.accept()
    with connection:
        what = connection.recv(4, socket.MSG_WAITALL)
        if what == b"read":
            seen = hashlib.sha256()
            left = HALF
            while left:
                data = connection.recv(min(left, 1 << 18))
                seen.update(data)
                left -= len(data)
            say("half")
            while data := connection.recv(1 << 18):
                seen.update(data)
            connection.sendall(seen.hexdigest().encode())
        else:
            connection.sendall(DATA[:HALF])
            say("half")
            connection.sendall(DATA[HALF:])
"""


class Peer:
    """The kernel beyond the router."""

    def __init__(self, process):
        self.process = process

    def expect(self, word):
        assert self.process.stdout.readline() == f"{word}\n"

    def go_on(self):
        self.process.stdin.write("\n")
        self.process.stdin.flush()


def sh(namespace, script):
    return namespace.run([require_tool("sh"), "-ec", script]).stdout


@contextmanager
def routed(namespace):
    """The namespace forwards; a link leads to another one, where a peer listens."""
    pipe = subprocess.PIPE
    command = ["unshare", "--net", *python(PEER)]
    process = namespace.popen(command, stdin=pipe, stdout=pipe, text=True)
    peer = Peer(process)
    with process:
        try:
            peer.expect("here")
            set_up = f"""
                echo 0 >/proc/sys/net/ipv6/conf/default/accept_dad
                ip link add near type veth peer name far netns {process.pid}
                ip addr add 10.9.0.1/24 dev near
                ip -6 addr add fd09::1/64 dev near nodad
                ip link set near up
                echo 1 >/proc/sys/net/ipv4/ip_forward
                echo 1 >/proc/sys/net/ipv6/conf/all/forwarding
            """
            sh(namespace, set_up)
            peer.go_on()
            peer.expect("listening")
            peer.go_on()
            yield peer
        finally:
            process.kill()


def narrow(namespace):
    """From now on the router cannot forward packets of full length."""
    sh(namespace, f"ip link set near mtu {NARROW}")


class Lengths:
    """A capture that remembers how long the last packets to the far side were."""

    def __init__(self):
        self.longest = 0

    def write(self, packet, time_ns, outbound):
        if outbound:
            self.longest = max(self.longest, len(packet))


@both_families
@pytest.mark.parametrize("offloads", [True, False], ids=["offloads", "no-offloads"])
def test_the_path_becomes_narrower_in_the_middle_of_a_stream(namespace, family, offloads):
    """RFC 1191, 8201: what was too long is sent again, and nothing as long ever after."""
    lengths = Lengths()
    with virtual_net(namespace, offloads=offloads) as stack, routed(namespace) as peer:
        with stack.create_connection((FAR[family], 5000), SECONDS) as client:
            client.sendall(b"read" + DATA[:HALF])
            peer.expect("half")
            narrow(namespace)
            with Background(send_all, client, DATA[HALF:]):
                peer.go_on()
                assert client.recv(64, socket.MSG_WAITALL) == sha256(DATA).encode()
        counters = stack.counters()
        assert counters["ip_path_mtu_lowered"] == 1
        assert counters["tcp_retransmitted_segments"] > 0
        stack.capture(lengths)
        with stack.create_connection((FAR[family], 5000), SECONDS) as client:
            client.sendall(b"read")
            with Background(send_all, client, DATA):
                peer.expect("half")
                peer.go_on()
                assert client.recv(64, socket.MSG_WAITALL) == sha256(DATA).encode()
        assert lengths.longest == NARROW  # another connection knows from the first segment on
        assert stack.counters()["ip_path_mtu_lowered"] == 1


@both_families
def test_the_path_to_us_becomes_narrower(namespace, family):
    """The other kernel is told so by the router; what it sends again arrives once."""
    with virtual_net(namespace) as stack, routed(namespace) as peer:
        with stack.create_connection((FAR[family], 5000), SECONDS) as client:
            client.sendall(b"send")
            with Background(receive_all, client) as receiver:
                peer.expect("half")
                sh(namespace, f"ip link set pystack0 mtu {NARROW}")
                peer.go_on()
        assert receiver.result == sha256(DATA)


@both_families
def test_a_datagram_that_was_too_long_once_is_cut_the_next_time(namespace, family):
    with virtual_net(namespace) as stack, routed(namespace):
        narrow(namespace)
        with stack.socket(KIND[family], socket.SOCK_DGRAM) as client:
            client.bind((HOST[family], 0))
            client.sendto(bytes(1400), (FAR[family], 9))
            wait_until(lambda: stack.counters()["ip_path_mtu_lowered"] == 1)
            assert stack.counters()["ip_fragments_out"] == 0
            client.connect((FAR[family], 9))
            client.settimeout(SECONDS)
            client.send(bytes(1400))
            assert stack.counters()["ip_fragments_out"] == 2
            with pytest.raises(ConnectionRefusedError):  # so it was reassembled there
                client.recv(1)


@both_families
def test_what_expires_on_the_way_is_told(namespace, family):
    """By the router, with a hop limit of one."""
    levels = (socket.IPPROTO_IP, socket.IP_TTL), (socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS)
    with virtual_net(namespace) as stack, routed(namespace):
        with stack.socket(KIND[family], socket.SOCK_STREAM) as client:
            client.setsockopt(*levels[family == 6], 1)
            client.settimeout(0.3)
            with pytest.raises(OSError) as problem:
                client.connect((FAR[family], 5000))
        assert stack.counters()["icmp_errors_in"] >= 1
        assert isinstance(problem.value, TimeoutError) or problem.value.errno == errno.EHOSTUNREACH


@both_families
def test_traceroute_from_beyond_the_router_has_two_hops(namespace, family):
    trace = f"traceroute -{family} -n -q 1 -m 5 -w 5 {HOST[family]}"
    require_tool("traceroute")
    with virtual_net(namespace), routed(namespace) as peer:
        enter = f"nsenter --net=/proc/{peer.process.pid}/ns/net"
        hops = sh(namespace, f"{enter} {trace}").splitlines()[1:]
    router = "10.9.0.1" if family == 4 else "fd09::1"
    assert [re.match(r" \d  (\S+)  ", hop).group(1) for hop in hops] == [router, HOST[family]]
