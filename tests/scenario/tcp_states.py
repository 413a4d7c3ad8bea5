"""Hosts and peers for TCP scenarios, and a connection in any of the eleven states."""

from __future__ import annotations

from native.core import Host
from scenario.peer import Peer
from scenario.tcp_wire import IPV4

from pystack.core.tcp.congestion.interface import NAMES

STATES = (
    "CLOSED",
    "LISTEN",
    "SYN-SENT",
    "SYN-RECEIVED",
    "ESTABLISHED",
    "FIN-WAIT-1",
    "FIN-WAIT-2",
    "CLOSE-WAIT",
    "CLOSING",
    "LAST-ACK",
    "TIME-WAIT",
)
SYNCHRONIZED = STATES[4:]

SHUT_RD, SHUT_WR, SHUT_RDWR = 0, 1, 2

RENO, CUBIC, BBR = (NAMES.index(name) for name in ("reno", "cubic", "bbr"))

hosts: list[Host] = []  # made by the running test; conftest looks after them


def alone(family=IPV4, *, options=None, port=40000, iss=1_000_000, local_port=80, **config) -> Peer:
    """A host that nobody has spoken with yet; config as in TcpConfig, or mtu and max_train.

    Its windows are halved by losses, unless the test asks for another algorithm: numbers that one
    can work out.
    """
    config.setdefault("congestion", RENO)
    host = Host(family.network, **config)
    hosts.append(host)
    return Peer(host, family, options=options, port=port, iss=iss, local_port=local_port)


def listening(family=IPV4, *, backlog: int = 16, **config) -> Peer:
    """A listener at port 80."""
    peer = alone(family, **config)
    peer.listener = peer.host.tcp(family.v6)
    peer.listener.bind(family.ours, peer.local_port)
    peer.listener.listen(backlog)
    return peer


def accepted(family=IPV4, *, rtt: int = 0, **config) -> Peer:
    """Opened by the peer, accepted by the host's application."""
    peer = listening(family, **config)
    peer.handshake(rtt)
    peer.socket = peer.listener.accept()
    return peer


def connecting(family=IPV4, **config) -> Peer:
    """Opened by the host, its SYN not yet taken from it."""
    peer = alone(family, **config)
    peer.socket = peer.host.tcp(family.v6)
    peer.socket.bind(family.ours, 0)
    peer.socket.connect(family.theirs, peer.port)
    peer.local_port = peer.socket.port
    return peer


def connected(family=IPV4, *, rtt: int = 0, **config) -> Peer:
    """Opened by the host."""
    peer = connecting(family, **config)
    peer.answer_syn(rtt)
    return peer


def in_state(state: str, family=IPV4, **config) -> Peer:
    """A peer, and the host's side of the connection with it in `state`, by legal exchanges.

    The application holds the socket. In FIN-WAIT-1, CLOSING and LAST-ACK our FIN is outstanding.
    """
    if state == "CLOSED":
        return alone(family, **config)
    if state == "LISTEN":
        return listening(family, **config)
    if state == "SYN-SENT":
        peer = connecting(family, **config)
        peer.expect_syn()
        peer.timestamps = "ts" in peer.options
        return peer
    if state == "SYN-RECEIVED":
        peer = listening(family, **config)
        peer.open()
        return peer
    peer = accepted(family, **config)
    close(peer, state)
    assert peer.state == state
    return peer


def simultaneous(family=IPV4, **config) -> Peer:
    """SYN-RECEIVED by a simultaneous open, our SYN-ACK taken."""
    peer = in_state("SYN-SENT", family, **config)
    peer.inject("S", seq=0, options=peer.syn_options())
    peer.expect("SA", seq=0, ack=1)
    assert peer.state == "SYN-RECEIVED"
    return peer


def close(peer: Peer, state: str) -> None:
    """From ESTABLISHED to a later state."""
    if state in ("FIN-WAIT-1", "FIN-WAIT-2", "CLOSING", "TIME-WAIT"):
        peer.socket.shutdown(SHUT_WR)
        peer.expect("FA")
    if state in ("FIN-WAIT-2", "TIME-WAIT"):
        peer.inject("A")
    if state in ("CLOSE-WAIT", "LAST-ACK", "TIME-WAIT"):
        peer.inject("FA")
        peer.expect("A", ack=peer.snd_nxt)
    if state == "CLOSING":
        peer.inject("FA", ack=peer.rcv_nxt - 1)
        peer.expect("A", ack=peer.snd_nxt)
    if state == "LAST-ACK":
        peer.socket.shutdown(SHUT_WR)
        peer.expect("FA")
