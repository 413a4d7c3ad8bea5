"""Script packets to live ones, to be injected.

Called by: the runner.
RFCs: 792, 4443 section 3 (what an error quotes); 3168 (ECN).
"""

from __future__ import annotations

import struct
from dataclasses import replace

from pystack.script.connection import MASK, Connection
from pystack.script.errors import Mismatch, Unsupported
from pystack.script.icmp_names import ECHO, type_and_code
from pystack.script.nodes import Icmp, IpInfo, Quote, Tcp, TcpOption, Udp
from pystack.script.parse_options import SACK, TS, sack, timestamps
from pystack.script.settings import Settings
from pystack.script.wire import (
    ACK,
    ICMP,
    ICMPV6,
    SYN,
    TCP,
    UDP,
    Datagram,
    Ip,
    Message,
    Segment,
    icmp_bytes,
    ip_header,
    ip_packet,
    tcp_bytes,
    udp_bytes,
)

QUOTED = 8  # bytes of the transport header in an ICMP error


def ip_for(settings: Settings, info: IpInfo, protocol: int) -> Ip:
    """The IP header of an injected packet."""
    tos = info.tos or 0
    if info.dscp is not None:
        tos = info.dscp << 2 | (tos & 3)
    if info.ecn is not None:
        tos = (tos & ~3) | info.ecn
    return Ip(
        settings.remote,
        settings.local,
        protocol,
        info.ttl or 255,
        tos,
        info.flow_label or 0,
    )


def build_tcp(settings: Settings, info: IpInfo, packet: Tcp, connection: Connection) -> bytes:
    """An injected segment."""
    if packet.encapsulation is not None:
        raise Unsupported("TCP over UDP")
    syn = bool(packet.flags & SYN)
    source, destination = packet.ports or (connection.remote_port, connection.local_port)
    seq = packet.seq or 0
    ack = packet.ack or 0
    ip = ip_for(settings, info, TCP)
    segment = Segment(
        source_port=source or settings.connect_port,
        destination_port=destination or settings.bind_port,
        seq=seq if packet.raw_seq else connection.seq_to_live(seq, syn),
        ack=ack if packet.raw_ack or not packet.flags & ACK else connection.ack_to_live(ack, syn),
        flags=packet.flags,
        window=packet.window or 0,
        urgent=packet.urgent or 0,
        options=b"".join(
            live_option(settings, one, packet, connection).wire for one in packet.options or ()
        ),
        payload=bytes(packet.payload),
    )
    return ip_packet(ip, tcp_bytes(ip, segment))


def live_option(
    settings: Settings, option: TcpOption, packet: Tcp, connection: Connection
) -> TcpOption:
    """An option of an injected segment, with the numbers that the stack has."""
    if option.raw:
        return option
    if option.kind == SACK:
        syn = bool(packet.flags & SYN)
        return sack(tuple(connection.ack_to_live(edge, syn) for edge in option.numbers))
    if option.kind == TS and packet.flags & ACK:
        val, ecr = option.numbers
        return timestamps(val, live_ecr(settings, connection, ecr))
    return option


def live_ecr(settings: Settings, connection: Connection, ecr: int) -> int:
    """What an injected TS ecr echoes."""
    if ecr in connection.ts_live:
        return connection.ts_live[ecr]
    if settings.ts_ecr_scaled and connection.ts_first is not None:
        script, live = connection.ts_first
        return (ecr - script + live) & MASK
    if ecr == 0:
        return 0
    raise Mismatch(f"TS ecr {ecr}: no packet with this TS val was expected before")


def build_udp(settings: Settings, info: IpInfo, packet: Udp, connection: Connection) -> bytes:
    source, destination = packet.ports or (connection.remote_port, connection.local_port)
    ip = ip_for(settings, info, UDP)
    datagram = Datagram(
        source or settings.connect_port, destination or settings.bind_port, bytes(packet.payload)
    )
    return ip_packet(ip, udp_bytes(ip, datagram))


def build_icmp(
    settings: Settings, info: IpInfo, packet: Icmp, connection: Connection | None
) -> bytes:
    """An injected ICMP message: an echo, or an error about something that was sent."""
    version = settings.version
    try:
        kind, code = type_and_code(version, packet.type, packet.code)
    except KeyError as problem:
        raise Mismatch(problem.args[0]) from None
    ip = ip_for(settings, info, ICMP if version == 4 else ICMPV6)
    number = packet.id or 0
    if connection is not None and connection.protocol == ICMP and connection.local_port:
        number = connection.local_port  # of a socket for echoes
    rest = struct.pack("!HH", number, 0)
    if packet.mtu is not None:
        if (version, kind, code) != (4, 3, 4) and (version, kind) != (6, 2):
            raise Mismatch("mtu belongs to frag_needed and packet_too_big only")
        rest = struct.pack("!I", packet.mtu)
    if packet.quote is not None and packet.quote.protocol == "raw":
        body = bytes(max(packet.quote.payload - 8, 0))
    elif kind in ECHO[version] and packet.quote is None:
        body = b""
    else:
        body = quoted(settings, packet.quote, connection)
    return ip_packet(ip, icmp_bytes(ip, Message(kind, code, rest, body)))


def quoted(settings: Settings, quote: Quote | None, connection: Connection | None) -> bytes:
    """The head of a packet that our side is said to have sent."""
    connection = connection or Connection()
    if quote is None:
        quote = Quote("tcp" if connection.protocol == TCP else "udp")
    local = connection.local_port or settings.bind_port
    remote = connection.remote_port or settings.connect_port
    protocol = TCP if quote.protocol == "tcp" else UDP
    ip = Ip(settings.local, settings.remote, protocol)
    if protocol == TCP:
        seq = quote.seq if quote.raw_seq else (quote.seq + connection.local_isn) & MASK
        head = struct.pack("!HHI", local, remote, seq)
        return ip_header(ip, 20 + quote.payload) + head
    datagram = udp_bytes(ip, Datagram(local, remote, bytes(quote.payload)))
    return ip_header(ip, len(datagram)) + datagram[:QUOTED]


def cleanup_reset(settings: Settings, connection: Connection, seq: int, ack: int) -> bytes:
    """A RST that ends a connection at the end of a script; numbers are live ones."""
    ip = Ip(settings.remote, settings.local, TCP)
    segment = Segment(
        connection.remote_port or settings.connect_port,
        connection.local_port or settings.bind_port,
        seq,
        ack,
        4 | ACK,
        0,
    )
    return ip_packet(ip, tcp_bytes(ip, replace(segment)))
