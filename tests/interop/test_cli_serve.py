"""`pystack serve`, with the kernel's own programs as its clients."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import signal
import socket
import subprocess
import time
from contextlib import suppress

import dpkt
import pytest
from interop.command import PYSTACK, SECONDS, interfaces, pystack, serving
from interop.harness import require_tool

HOSTS = [
    pytest.param("10.3.0.0/24", "10.3.0.1", "10.3.0.77", id="IPv4"),
    pytest.param("fd03::/64", "fd03::1", "fd03::77", id="IPv6"),
]


@pytest.mark.parametrize(("net", "host_address", "host"), HOSTS)
class TestServices:
    def test_every_address_answers_ping(self, namespace, net, host_address, host):
        with serving(namespace, "--net", net) as server:
            assert server.ready.startswith(f"pystack: {net} answers on pystack0; try: ping ")
            example = server.ready.split()[-1]
            for address in (host, example, host_address):
                namespace.run(["ping", "-c", "1", "-W", "5", address])

    def test_the_page_names_the_host_that_answered(self, namespace, net, host_address, host):
        with serving(namespace, "--net", net):
            url = f"http://[{host}]" if ":" in host else f"http://{host}"
            page = namespace.run([require_tool("curl"), "-sSf", f"{url}/"]).stdout
            assert f"<h1>{host}</h1>" in page
            assert f"You came from {host_address}." in page
            assert "<td>packets in<td>" in page
            text = namespace.run(["curl", "-sSf", f"{url}/counters.json"]).stdout
            assert json.loads(text)["packets_in"] > 0
            missing = namespace.run(["curl", "-sSf", f"{url}/nothing"], check=False)
            assert missing.returncode == 22

    def test_a_download_has_the_length_asked_for(self, namespace, net, host_address, host):
        with serving(namespace, "--net", net), namespace.connect(host, 80) as client:
            client.sendall(b"GET /bytes/3000000 HTTP/1.0\r\n\r\n")
            body = everything(client).partition(b"\r\n\r\n")[2]
            assert body == (bytes(range(256)) * 12000)[:3000000]

    def test_echo_over_tcp(self, namespace, net, host_address, host):
        with serving(namespace, "--net", net), namespace.connect(host, 7) as client:
            client.sendall(b"hello" * 1000)
            client.shutdown(socket.SHUT_WR)
            assert everything(client) == b"hello" * 1000

    def test_discard_over_tcp(self, namespace, net, host_address, host):
        with serving(namespace, "--net", net), namespace.connect(host, 9) as client:
            client.sendall(b"x" * 100_000)
            client.shutdown(socket.SHUT_WR)
            assert everything(client) == b""

    def test_daytime_over_tcp_tells_the_time_and_closes(self, namespace, net, host_address, host):
        with serving(namespace, "--net", net), namespace.connect(host, 13) as client:
            client.sendall(b"what is not asked for")
            assert_is_now(everything(client))

    def test_chargen_over_tcp_goes_on(self, namespace, net, host_address, host):
        with serving(namespace, "--net", net), namespace.connect(host, 19) as client:
            got = b""
            while len(got) < 100_000:
                got += client.recv(65536)
            assert got.startswith(b' !"#$%&')

    @pytest.mark.parametrize(
        ("port", "expected"), [(7, rb"hello"), (13, rb"\w+, .*\r\n"), (19, rb"[ -~\r\n]*")]
    )
    def test_services_over_udp(self, namespace, net, host_address, host, port, expected):
        with serving(namespace, "--net", net), datagrams(namespace, host, port) as client:
            client.send(b"hello")
            assert re.fullmatch(expected, client.recv(2048), re.DOTALL)

    def test_other_ports_refuse(self, namespace, net, host_address, host):
        with serving(namespace, "--net", net):
            with pytest.raises(ConnectionRefusedError):
                namespace.connect(host, 8080)
            with datagrams(namespace, host, 8080) as client:
                client.send(b"hello")
                with pytest.raises(ConnectionRefusedError):
                    client.recv(2048)


def everything(client: socket.socket) -> bytes:
    """All until the end of the stream."""
    got = b""
    while data := client.recv(1 << 20):
        got += data
    return got


def datagrams(namespace, host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    client = namespace.socket(family, socket.SOCK_DGRAM)
    client.settimeout(SECONDS)
    client.connect((host, port))
    return client


def assert_is_now(line: bytes) -> None:
    told = time.strptime(line.decode().rsplit("-", 1)[0], "%A, %B %d, %Y %H:%M:%S")
    assert abs(time.mktime(told) - time.time()) < SECONDS


def test_both_families_at_once(namespace):
    with serving(namespace, "--net", "10.3.0.0/24", "--net", "fd03::/64") as server:
        assert server.ready == (
            "pystack: 10.3.0.0/24 and fd03::/64 answer on pystack0; try: ping 10.3.0.5\n"
        )
        for host in ("10.3.0.9", "fd03::9"):
            with namespace.connect(host, 13) as client:
                assert_is_now(everything(client))


def test_services_are_those_asked_for(namespace):
    asked = ("--no-services", "--service", "tcp/8080=http", "--service", "udp/4444=echo")
    with serving(namespace, "--net", "10.3.0.0/24", *asked):
        namespace.run([require_tool("curl"), "-sSf", "http://10.3.0.9:8080/"])
        with datagrams(namespace, "10.3.0.9", 4444) as client:
            client.send(b"x")
            assert client.recv(9) == b"x"
        with pytest.raises(ConnectionRefusedError):
            namespace.connect("10.3.0.9", 7)


def test_a_mirror_shows_the_kernels_own_services_at_every_address(namespace):
    with namespace.socket(socket.AF_INET, socket.SOCK_STREAM) as listener:
        listener.bind(("0.0.0.0", 5000))
        listener.listen()
        with (
            serving(namespace, "--net", "10.3.0.0/24", "--mirror", "--service", "tcp/80=http"),
            namespace.connect("10.3.0.200", 5000) as client,
        ):
            accepted, peer = listener.accept()
            with accepted:
                assert peer == ("10.3.0.200", client.getsockname()[1])
                assert accepted.getsockname() == ("10.3.0.1", 5000)
            namespace.run([require_tool("curl"), "-sSf", "http://10.3.0.9/"])


def test_the_interface_is_as_asked_for(namespace):
    options = ["--tun", "wire", "--mtu", "9000", "--host-address", "10.3.0.254"]
    with serving(namespace, "--net", "10.3.0.0/24", *options) as server:
        assert "answers on wire;" in server.ready
        shown = namespace.run(["ip", "address", "show", "dev", "wire"]).stdout
        assert "mtu 9000" in shown
        assert "inet 10.3.0.254/24" in shown
        namespace.run(["ping", "-c", "1", "-W", "5", "10.3.0.1"])


PERSISTENT = ["--net", "10.3.0.0/24", "--tun", "mine"]


def test_an_interface_that_root_has_made_is_used_and_left(namespace):
    namespace.run(["ip", "tuntap", "add", "dev", "mine", "mode", "tun"])
    namespace.run(["ip", "address", "add", "10.3.0.1/24", "dev", "mine"])
    namespace.run(["ip", "link", "set", "dev", "mine", "up"])
    with serving(namespace, *PERSISTENT) as server:
        namespace.run(["ping", "-c", "1", "-W", "5", "10.3.0.9"])
        assert server.stop().returncode == 0
    assert interfaces(namespace) == ["lo", "mine"]
    assert "10.3.0.1/24" in namespace.run(["ip", "address", "show", "dev", "mine"]).stdout


def test_an_interface_that_is_not_ready_comes_with_the_commands_to_run(namespace):
    namespace.run(["ip", "tuntap", "add", "dev", "mine", "mode", "tun"])
    told = refused(namespace, "--tun", "mine")
    commands = told.partition(" Run: ")[2]
    assert "ip address add 10.3.0.1/24 dev mine" in commands
    namespace.run(["sh", "-e", "-c", commands])
    with serving(namespace, *PERSISTENT):
        namespace.run(["ping", "-c", "1", "-W", "5", "10.3.0.9"])


# Workers.


def test_workers_are_one_subnet(namespace):
    """More of them than this machine has cores, perhaps."""
    with serving(namespace, "--net", "10.3.0.0/24", "--workers", "5", "--json", "-q") as server:
        assert json.loads(server.ready)["workers"] == 5
        clients = [namespace.connect(f"10.3.0.{host}", 7) for host in range(2, 42)]
        for client in clients:
            client.sendall(b"hello")
        for client in clients:
            assert client.recv(5, socket.MSG_WAITALL) == b"hello"
        page = namespace.run([require_tool("curl"), "-sSf", "http://10.3.0.9/"]).stdout
        assert "<h1>10.3.0.9</h1>" in page
        for host in range(2, 12):
            namespace.run(["ping", "-c", "1", "-W", "5", f"10.3.0.{host}"])
        ended = server.stop()
        for client in clients:
            with pytest.raises(ConnectionResetError):
                client.recv(1)
            client.close()
    summary = json.loads(ended.stdout.splitlines()[-1])
    assert (ended.returncode, ended.stderr) == (0, "")
    assert (summary["pings"], summary["connections"]) == (10, 41)
    assert interfaces(namespace) == ["lo"]


def test_workers_write_one_capture(namespace, tmp_path):
    file = tmp_path / "all.pcapng"
    with serving(
        namespace, "--net", "10.3.0.0/24", "--workers", "3", "--pcap", str(file)
    ) as server:
        for port in range(9):
            with datagrams(namespace, f"10.3.0.{port + 2}", 7) as client:
                client.send(b"%d" % port)
                assert client.recv(100) == b"%d" % port
        assert server.stop().returncode == 0
    read = [require_tool("tshark"), "-r", str(file), "-Y", "udp.port == 7"]
    assert len(namespace.run(read).stdout.splitlines()) == 18


def test_workers_use_an_interface_that_root_has_made_with_several_queues(namespace):
    namespace.run(["ip", "tuntap", "add", "dev", "mine", "mode", "tun", "multi_queue"])
    namespace.run(["ip", "address", "add", "10.3.0.1/24", "dev", "mine"])
    namespace.run(["ip", "link", "set", "dev", "mine", "up"])
    assert refused(namespace, "--tun", "mine") == (
        "pystack: interface mine was made with multi_queue, for several workers. "
        "Make it without, or choose another name\n"
    )
    with serving(namespace, *PERSISTENT, "--workers", "2") as server:
        namespace.run(["ping", "-c", "1", "-W", "5", "10.3.0.9"])
        assert server.stop().returncode == 0
    assert interfaces(namespace) == ["lo", "mine"]


def test_workers_need_an_interface_with_several_queues(namespace):
    namespace.run(["ip", "tuntap", "add", "dev", "mine", "mode", "tun"])
    assert refused(namespace, "--tun", "mine", "--workers", "2") == (
        "pystack: interface mine has one queue, for one worker. "
        "Make it with multi_queue, or choose another name\n"
    )


# The end.


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_connections_removes_the_device_and_sums_up(namespace, number):
    with serving(namespace, "--net", "10.3.0.0/24") as server:
        namespace.run(["ping", "-c", "2", "-i", "0.01", "10.3.0.9"])
        with namespace.connect("10.3.0.9", 7) as client:
            client.sendall(b"x")
            assert client.recv(1) == b"x"
            ended = server.stop(number)
            with pytest.raises(ConnectionResetError):
                client.recv(1)
    assert ended.returncode == 0
    assert ended.stderr == ""
    summary = ended.stdout.splitlines()[-1]
    assert re.match(r"pystack: ended after \d+\.\d s: \d+ packets in, \d+ out, 2 pings, ", summary)
    assert "1 connection" in summary
    assert interfaces(namespace) == ["lo"]


def test_a_signal_in_the_middle_of_the_start_leaves_nothing(namespace, tmp_path):
    pipe = tmp_path / "capture"
    os.mkfifo(pipe)
    options = ["--net", "10.3.0.0/24", "--pcap", str(pipe)]
    with serving(namespace, *options, ready=False) as server:
        deadline = time.monotonic() + SECONDS
        while "pystack0" not in interfaces(namespace):  # it waits for a reader of the capture
            assert time.monotonic() < deadline
        ended = server.stop(signal.SIGTERM)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")
    assert interfaces(namespace) == ["lo"]


def test_when_the_interface_is_deleted_it_says_so_and_ends(namespace):
    with serving(namespace, "--net", "10.3.0.0/24") as server:
        namespace.run(["ip", "link", "delete", "pystack0"])
        _, err = server.process.communicate(timeout=SECONDS)
        assert server.process.returncode == 1
        assert err.startswith("pystack: ")
        assert err.count("\n") == 1


def test_a_kill_leaves_nothing(namespace):
    with serving(namespace, "--net", "10.3.0.0/24", "--net", "fd03::/64") as server:
        server.stop(signal.SIGKILL)
    assert interfaces(namespace) == ["lo"]
    assert "10.3.0" not in namespace.run(["ip", "route", "show", "table", "all"]).stdout


# What it tells.


def test_piped_it_tells_lines(namespace):
    with serving(namespace, "--net", "10.3.0.0/24", "-v") as server:
        assert server.line() == (
            "pystack: services: tcp/7=echo udp/7=echo tcp/9=discard udp/9=discard "
            "tcp/13=daytime udp/13=daytime tcp/19=chargen udp/19=chargen tcp/80=http\n"
        )
        with namespace.connect("10.3.0.9", 7) as client:
            port = client.getsockname()[1]
            told = f"10.3.0.9 port 7 from 10.3.0.1 port {port}\n"
            wait_for(server, f"pystack: opened {told}")
        wait_for(server, f"pystack: closed {told}")


def test_a_reader_that_goes_away_ends_it(namespace):
    with serving(namespace, "--net", "10.3.0.0/24", "-v") as server:
        server.process.stdout.close()
        with namespace.connect("10.3.0.9", 7):
            assert server.process.wait(SECONDS) == 1
        assert server.process.stderr.read() == ""
    assert interfaces(namespace) == ["lo"]


def wait_for(server, expected: str) -> None:
    while (line := server.line()) != expected:
        assert line, f"it ended without {expected}"


def test_quiet_it_tells_nothing(namespace):
    with serving(namespace, "--net", "10.3.0.0/24", "-q", ready=False) as server:
        wait_until_it_answers(namespace, "10.3.0.9")
        ended = server.stop()
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")


def wait_until_it_answers(namespace, host: str) -> None:
    deadline = time.monotonic() + SECONDS
    while namespace.run(["ping", "-c", "1", "-W", "1", host], check=False).returncode:
        assert time.monotonic() < deadline


def test_json_is_one_object_a_line(namespace):
    with serving(namespace, "--net", "10.3.0.0/24", "--json") as server:
        ready = json.loads(server.ready)
        assert ready == {
            "event": "ready",
            "device": "pystack0",
            "networks": ["10.3.0.0/24"],
            "host_addresses": ["10.3.0.1"],
            "mtu": 1500,
            "mirror": False,
            "workers": 1,
            "services": ready["services"],
            "example": "10.3.0.5",
        }
        assert "tcp/80=http" in ready["services"]
        with namespace.connect("10.3.0.9", 7) as client:
            here = list(client.getsockname())
            opened = next_event(server, "connection")
            assert opened == {
                "event": "connection",
                "state": "opened",
                "local": ["10.3.0.9", 7],
                "remote": here,
            }
        assert next_event(server, "stats")["counters"]["packets_in"] > 0
        ended = server.stop()
    objects = [json.loads(line) for line in ended.stdout.splitlines()]
    assert objects[-1]["event"] == "summary"
    assert objects[-1]["connections"] == 1
    assert ended.stderr.startswith("pystack: 10.3.0.0/24 answers on pystack0;")
    assert "pystack: ended after " in ended.stderr
    assert ended.returncode == 0


def test_a_reader_that_does_not_read_delays_nothing_for_ever(namespace):
    ours, theirs = os.pipe()
    command = [*PYSTACK, "serve", "--net", "10.3.0.0/24", "--json", "-q"]
    process = namespace.popen(command, stdin=subprocess.DEVNULL, stdout=theirs)
    with process, os.fdopen(ours, "rb", buffering=0) as reader:
        assert reader.read(1) == b"{"
        # Non-blocking for us, not for the process: another description of the same pipe.
        filler = os.open(f"/proc/self/fd/{theirs}", os.O_WRONLY | os.O_NONBLOCK)
        with suppress(BlockingIOError):
            while os.write(filler, bytes(4096)):
                pass
        os.close(filler)
        process.send_signal(signal.SIGINT)
        assert process.wait(SECONDS) == 0
        os.close(theirs)
    assert interfaces(namespace) == ["lo"]


def next_event(server, event: str) -> dict[str, object]:
    while line := server.line():
        found = json.loads(line)
        if found["event"] == event:
            return found
    raise AssertionError(f"it ended without {event}")


def test_on_a_terminal_it_shows_a_view(namespace):
    ours, theirs = pty.openpty()
    command = [*PYSTACK, "serve", "--net", "10.3.0.0/24"]
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "100", "LINES": "40"}
    process = namespace.popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=environment)
    os.close(theirs)
    with process, os.fdopen(ours, "rb", buffering=0) as terminal:
        first = read_until(terminal, b"Ctrl-C ends it")
        assert b"10.3.0.0/24 answers on pystack0; try: ping 10.3.0.5\r\n" in first
        with namespace.connect("10.3.0.9", 7):
            shown = read_until(terminal, b"ESTABLISHED")
            assert b"10.3.0.9 port 7" in shown
        process.send_signal(signal.SIGINT)
        last = read_until(terminal, b"pystack: ended after ")
        assert b"\x1b[?25h" in last  # the cursor is back
        assert process.wait(SECONDS) == 0


def read_until(terminal, expected: bytes) -> bytes:
    got = b""
    while expected not in got:
        assert select.select([terminal], [], [], SECONDS)[0], got
        got += terminal.read(65536)
    return got


def test_a_capture_is_one_that_others_read(namespace, tmp_path):
    file = tmp_path / "capture.pcapng"
    with serving(namespace, "--net", "10.3.0.0/24", "--pcap", str(file)) as server:
        namespace.run(["ping", "-c", "3", "-i", "0.01", "10.3.0.9"])
        with namespace.connect("10.3.0.9", 7) as client:
            client.sendall(b"x")
            client.recv(1)
        server.stop()
    with open(file, "rb") as opened:
        packets = [dpkt.ip.IP(data) for _, data in dpkt.pcapng.Reader(opened)]
    assert sum(packet.p == dpkt.ip.IP_PROTO_ICMP for packet in packets) == 6
    tshark = require_tool("tshark")
    read = [tshark, "-r", str(file), "-Y", "tcp.port == 7", "-T", "fields", "-e", "ip.src"]
    shown = subprocess.run(read, capture_output=True, text=True, check=True).stdout.split()
    assert {"10.3.0.1", "10.3.0.9"} == set(shown)


# What can be wrong with the machine.


def refused(namespace, *options: str, status: int = 2) -> str:
    """The one line of a serve that does not start and leaves nothing behind."""
    before = interfaces(namespace)
    ended = pystack(namespace, "serve", "--net", "10.3.0.0/24", *options)
    assert (ended.returncode, ended.stdout) == (status, "")
    assert ended.stderr.startswith("pystack: ")
    assert ended.stderr.count("\n") == 1
    assert interfaces(namespace) == before
    return ended.stderr


def test_a_network_that_is_routed_is_refused(namespace):
    namespace.run(["ip", "route", "add", "10.3.0.128/25", "dev", "lo"])
    assert "10.3.0.0/24 is in use" in refused(namespace)


def test_a_network_with_an_address_of_ours_is_refused(namespace):
    namespace.run(["ip", "address", "add", "10.3.0.99/32", "dev", "lo"])
    assert "10.3.0.0/24 is in use" in refused(namespace)


def test_a_second_serve_of_the_same_network_is_refused(namespace):
    with serving(namespace, "--net", "10.3.0.0/24"):
        assert "pystack0 has the" in refused(namespace)
        with serving(namespace, "--net", "10.4.0.0/24") as second:
            assert "answers on pystack1" in second.ready


def test_a_name_that_is_taken_is_refused(namespace):
    with serving(namespace, "--net", "10.4.0.0/24", "--tun", "wire"):
        assert "Choose another name" in refused(namespace, "--tun", "wire")
    assert "Choose another name" in refused(namespace, "--tun", "lo")


def test_a_name_that_cannot_be_is_refused(namespace):
    assert "must have 1 to 15 characters" in refused(namespace, "--tun", "x" * 16)


def test_a_host_address_that_cannot_be_is_refused(namespace):
    assert "no host address" in refused(namespace, "--host-address", "10.3.0.255")


def test_ipv6_over_a_small_mtu_is_refused(namespace):
    assert "at least 1280" in refused(namespace, "--net", "fd03::/64", "--mtu", "1000")


def test_a_capture_that_cannot_be_written_is_refused(namespace, tmp_path):
    ended = refused(namespace, "--pcap", str(tmp_path / "no" / "where"))
    assert str(tmp_path / "no" / "where") in ended


def test_without_the_device_file_it_says_how_to_get_it(namespace):
    hidden = 'mount -t tmpfs none /dev/net && exec "$@"'
    command = [require_tool("unshare"), "--mount", "sh", "-c", hidden, "sh"]
    ended = namespace.run([*command, *PYSTACK, "serve", "--net", "10.3.0.0/24"], check=False)
    assert ended.returncode == 2
    assert ended.stderr.startswith("pystack: there is no /dev/net/tun. ")
    assert ended.stderr.count("\n") == 1


def test_without_permission_it_says_what_works_without(namespace):
    dropped = [require_tool("setpriv"), "--bounding-set=-all", "--inh-caps=-all"]
    ended = namespace.run([*dropped, *PYSTACK, "serve", "--net", "10.3.0.0/24"], check=False)
    assert ended.returncode == 77
    assert ended.stderr.startswith("pystack: cannot ")
    assert ended.stderr.count("\n") == 1
    assert interfaces(namespace) == ["lo"]


def test_a_capture_whose_reader_goes_away_ends_and_the_stack_goes_on(namespace, tmp_path):
    pipe = tmp_path / "capture"
    os.mkfifo(pipe)
    with serving(namespace, "--net", "10.3.0.0/24", "--pcap", str(pipe), ready=False) as server:
        with open(pipe, "rb") as reader:
            assert "answers on pystack0" in server.line()
            assert reader.read(4) == b"\n\r\r\n"
        namespace.run(["ping", "-c", "1", "-W", "5", "10.3.0.9"])
        told = server.process.stderr.readline()
        assert told == f"pystack: the capture {pipe} ends here: Broken pipe\n"
        namespace.run(["ping", "-c", "1", "-W", "5", "10.3.0.9"])
        ended = server.stop()
    assert (ended.returncode, ended.stderr) == (0, "")


def test_whoever_comes_first_finds_the_services_there(namespace):
    """What is sent before the subnet answers waits; nothing is refused before it is all there."""
    require_tool("curl")
    first = f"until ping -c 1 -W {SECONDS} 10.3.0.77; do :; done; exec curl -sSf http://10.3.0.77/"
    with (
        namespace.popen(["sh", "-c", first], stdout=subprocess.PIPE, text=True) as client,
        serving(namespace, "--net", "10.3.0.0/24", ready=False),
    ):
        out, _ = client.communicate(timeout=SECONDS)
        assert client.returncode == 0
        assert "<h1>10.3.0.77</h1>" in out
