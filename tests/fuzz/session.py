"""One host, and what a string of bytes says that its peers, its applications and time do to it.

Every string of bytes is a session: records of 16 bytes, each one event, the first the settings. So
a fuzzer may change what it likes. Segments are relative to what the peer knows by then; that is how
deep states are reached. Claimed is what conversation.py claims.
"""

from __future__ import annotations

from contextlib import suppress
from ipaddress import ip_address

from fuzz.conversation import SERVICES
from fuzz.peers import GROUPS, HOST, MS, PEER, Flow, Peers
from fuzz.records import LONGEST, RECORD, mutate
from fuzz.spoiling import TCP, UDP
from native.core import CallError, Host, Tcp, Udp

__all__ = ["CORPUS", "LONGEST", "Session", "check", "mutate", "seeds"]

SECOND = 1_000_000_000
PORT, LISTENING = 1000, 80
CORPUS = "stack.zip"
MOST_SOCKETS = 12
END = 20_000
TIMES = (1, MS, 10 * MS, 45 * MS, 250 * MS, SECOND, 61 * SECOND, 7201 * SECOND, 26 * 86400 * SECOND)
VALUES = (-1, 0, 1, 2, 100, 1000, 65535, 1 << 20, 1 << 31, -(1 << 62))
OPTIONS = ((1, 2), (1, 7), (1, 8), (1, 9), (1, 13), (1, 18), (6, 1), (6, 2), (6, 3), (6, 4), (6, 5),
           (6, 6), (6, 7), (6, 10), (6, 12), (6, 13), (6, 18), (6, 25))  # fmt: skip


class Session(Peers):
    def __init__(self, data: bytes) -> None:
        self.data = data[:LONGEST]
        first = self.record(0)
        host = Host("10.3.0.0/24", "fd03::/64", **settings(first))
        super().__init__(host, 0xFFFFF000 if first[15] & 1 else 1000)
        for port, service in SERVICES.items():
            host.serve(service, TCP, port)
            host.serve(service, UDP, port)
        self.tcp: list[Tcp] = []
        self.udp: list[Udp] = []
        for number, port in enumerate((LISTENING, LISTENING, 7, 9, 19)):
            self.flows.append(Flow(number % 2 == 1, PORT + number, port, self.iss))
        for v6 in (False, True):
            listener = host.tcp(v6)
            listener.set_option(1, 2, 1)
            listener.bind("::" if v6 else "0.0.0.0", LISTENING)
            listener.listen(first[14] % 8)
            self.tcp.append(listener)

    def record(self, number: int) -> bytes:
        return self.data[number * RECORD : (number + 1) * RECORD].ljust(RECORD, b"\0")

    def run(self) -> None:
        for number in range(1, len(self.data) // RECORD + 1):
            record = self.record(number)
            with suppress(CallError):
                EVENTS[record[0] % len(EVENTS)](self, record)
            self.take()
        self.end()

    # Time and applications

    def time(self, record: bytes) -> None:
        if record[1] & 1:
            self.host.advance(TIMES[record[2] % len(TIMES)])
            return
        for _ in range(1 + record[2] % 8):
            deadline = self.host.deadline
            if deadline is None:
                return
            self.host.advance(max(deadline - self.host.now, 0))
            self.take()

    def call(self, record: bytes) -> None:
        what, argument = record[2] % 12, record[3]
        if what == 0:
            self.open(record)
            return
        at = record[1] % len(self.tcp)
        socket = self.tcp[at]
        if what in (1, 2, 3):
            size = (1, 100, 1460, 5000, 100_000)[argument % 5]
            socket.send(bytes(size), bool(argument & 64), bool(argument & 128))
        elif what in (4, 5):
            socket.receive((0, 1, 1000, 1 << 20)[argument % 4], bool(argument & 64))
        elif what == 6:
            child = socket.accept()
            if child is not None:
                self.tcp.append(child)
        elif what == 7:
            socket.shutdown(argument % 4)
        elif what == 8:
            level, name = OPTIONS[argument % len(OPTIONS)]
            socket.set_option(level, name, VALUES[record[4] % len(VALUES)])
            socket.get_option(level, name)
        elif what == 9:
            socket.poll()
            socket.listen(argument % 4)
        elif len(self.tcp) > 1:
            del self.tcp[at]
            (socket.close if argument & 1 else socket.abort)()

    def open(self, record: bytes) -> None:
        """An active open, to a peer, to ourselves, or where we listen."""
        if len(self.tcp) >= MOST_SOCKETS:
            return
        v6 = bool(record[3] & 1)
        socket = self.host.tcp(v6)
        self.tcp.append(socket)
        if record[3] & 2:
            socket.bind("::" if v6 else "0.0.0.0", 2000 + record[4] % 4)
        to = HOST[v6] if record[3] & 4 else PEER[v6]
        socket.connect(str(ip_address(to)), (PORT, PORT + 1, LISTENING, 7)[record[5] % 4])

    def datagrams(self, record: bytes) -> None:
        """What applications do with datagram sockets."""
        what, v6 = record[2] % 8, bool(record[3] & 1)
        if what == 0 or not self.udp:
            if len(self.udp) < MOST_SOCKETS:
                socket = self.host.datagram(v6, bool(record[3] & 2))
                self.udp.append(socket)
                socket.bind("::" if v6 else "0.0.0.0", 5000 + record[4] % 2)
            return
        at = record[1] % len(self.udp)
        socket = self.udp[at]
        target = str(ip_address(HOST[v6] if record[3] & 4 else PEER[v6]))
        if what == 1:
            socket.connect(target, (7, 53, 5000)[record[4] % 3])
        elif what in (2, 3):
            size = (0, 1, 1400, 3000, 65000, 70000)[record[4] % 6]
            piece = (0, 0, 1, 500, 1400)[record[5] % 5]
            socket.send(bytes(size), target, (7, 53, 5000)[record[6] % 3], piece)
        elif what == 4:
            socket.receive()
            socket.take_error()
        elif what in (5, 6):
            group = GROUPS[v6][record[4] % 3]
            socket.member(1 + record[5] % 6, group, str(ip_address(PEER[v6])))
        else:
            del self.udp[at]
            socket.close()

    # The end

    def end(self) -> None:
        """All is closed; what nobody holds ends by itself, and the rest is aborted."""
        for number, tcp in enumerate(self.tcp):
            (tcp.close if (number + len(self.data)) % 4 else tcp.abort)()
        for udp in self.udp:
            udp.close()
        self.wind_down(200)
        self.host.abort_all()
        self.wind_down(END)
        assert self.host.deadline is None, "timers that never end"
        assert self.host.connections == 0, "connections are left"
        self.host.take()
        assert self.host.live_packets == 0, "packets are left"
        self.host.free()

    def wind_down(self, most: int) -> None:
        for _ in range(most):
            self.take()
            deadline = self.host.deadline
            if deadline is None:
                return
            self.host.advance(max(deadline - self.host.now, 0))


EVENTS = (
    *(Session.segment,) * 8, *(Session.call,) * 4, Session.time, Session.time, Session.datagram,
    Session.datagrams, Session.control, Session.group, Session.extended, Session.raw,
    Session.spoil, Session.fragment, Session.as_train,
)  # fmt: skip


def settings(first: bytes) -> dict[str, object]:
    """Mostly small limits: they are reached sooner."""
    return {
        "mtu": (1500, 1280, 9000, 65535)[first[0] % 4],
        "max_train": (65535, 0, 1500)[first[1] % 3],
        "max_syn_backlog": (1024, 0, 1)[first[2] % 3],
        "max_sent": (4096, 1, 4)[first[3] % 3],
        "max_time_wait": (65536, 1)[first[4] % 2],
        "max_out_of_order": (1024, 1, 3)[first[5] % 3],
        "receive_buffer": (65536, 4096, 1 << 20)[first[6] % 3],
        "send_buffer": (65536, 4096, 1 << 20)[first[7] % 3],
        "window_scale": (7, 0, 14)[first[8] % 3],
        "timestamps": not first[9] & 1,
        "sack": not first[9] & 2,
        "window_scaling": not first[9] & 4,
        "syn_cookies": not first[9] & 8,
        "ecn": (2, 1, 0)[first[10] % 3],
        "max_orphans": (65536, 1)[first[11] % 2],
        "rto_min": (200 * MS, MS)[first[12] % 2],
        "early_retrans": (3, 0)[first[13] % 2],
        "recovery": (1, 0, 3, 5)[first[13] >> 1 & 3],
    }


def check(data: bytes) -> None:
    Session(data).run()


def seeds() -> list[bytes]:
    """A handshake, text both ways and its end; an active open; datagrams."""
    syn, ack, fin = ((0, 0, flags) for flags in (2, 16, 17))
    text = (0, 0, 24, 0, 0, 0, 0, 0, 0, 0, 0, 8)
    accept, send, read, close = (8, 0, 6), (8, 2, 1, 3), (8, 2, 4, 3), (8, 2, 10, 1)
    connect, syn_ack, wait, far = (8, 0, 0), (0, 5, 18), (12, 0, 3), (12, 1, 5)
    passive = (syn, ack, accept, text, read, send, ack, wait, close, ack, fin, far)
    sessions = passive, (connect, syn_ack, wait), ((15, 0, 0), (15, 0, 2), (14,), (16, 2, 3, 3))
    return [
        bytes(RECORD) + b"".join(bytes(event).ljust(RECORD, b"\0") for event in events)
        for events in sessions
    ]
