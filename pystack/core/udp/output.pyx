# Datagrams out: header, checksum, trains; echo requests.
# Called by: udp/datagram.
# RFCs: 768, 1122 section 4.1, 8200 section 8.1, 792, 4443 section 4.1.

from libc.errno cimport EINVAL, EMSGSIZE, ENOMEM
from libc.stddef cimport size_t
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t
from libc.string cimport memcpy
from pystack.core.context cimport Context, count, count_many
from pystack.core.counters cimport UDP_DATAGRAMS_OUT
from pystack.core.ip.layer cimport PROTOCOL_ICMPV6, PROTOCOL_UDP, IpSend
from pystack.core.ip.output cimport ip_output, ip_packet_new
from pystack.core.ip.path_mtu cimport ip_path_mtu
from pystack.core.memory.packet cimport (
    CSUM_PARTIAL, CSUM_VERIFIED, GSO_UDP4, GSO_UDP6, PACKET_MAX, Packet,
)
from pystack.core.udp.layer cimport Datagram, UdpLayer
from pystack.core.wire.address cimport addr_is_v4
from pystack.core.wire.bytes cimport store16
from pystack.core.wire.checksum cimport csum_fold, csum_pseudo
from pystack.core.wire.icmp cimport (
    ICMP4_ECHO,
    ICMP6_ECHO,
    ICMP_HEADER_LENGTH,
    icmp_checksum,
)
from pystack.core.wire.ipv4 cimport IPV4_HEADER_LENGTH
from pystack.core.wire.ipv6 cimport IPV6_HEADER_LENGTH
from pystack.core.wire.udp cimport (
    UDP_CHECKSUM_OFFSET,
    UDP_HEADER_LENGTH,
    UdpHeader,
    udp_build_header,
)

cdef enum:
    MAX_LENGTH = 65535          # of an IPv4 packet, and of what an IPv6 header is followed by
    MAX_PIECES = 64             # Linux's UDP_MAX_SEGMENTS
    ICMP_CHECKSUM_OFFSET = 2
    ICMP_IDENTIFIER_OFFSET = 4


cdef inline uint32_t ip_header_length(const IpSend* send) noexcept nogil:
    return IPV4_HEADER_LENGTH if addr_is_v4(&send.destination) else IPV6_HEADER_LENGTH


cdef inline uint32_t transport_limit(const IpSend* send) noexcept nogil:
    """Bytes of transport header and payload that the IP header's length field can say."""
    return MAX_LENGTH - IPV4_HEADER_LENGTH if addr_is_v4(&send.destination) else MAX_LENGTH


cdef uint32_t udp_limit(const IpSend* send) noexcept nogil:
    return transport_limit(send) - UDP_HEADER_LENGTH


cdef inline bint has_no_checksum(const Datagram* socket, const IpSend* send) noexcept nogil:
    """RFC 768, and RFC 6935 for IPv6: the application does without."""
    return socket.no_checksum if addr_is_v4(&send.destination) else socket.no_checksum6


cdef int check_length(
    UdpLayer* udp, const Datagram* socket, const IpSend* send, size_t length, uint16_t gso_size
) noexcept nogil:
    """0; -EMSGSIZE or -EINVAL with Linux's limits for one call."""
    cdef uint32_t headers = ip_header_length(send) + UDP_HEADER_LENGTH
    cdef uint32_t mtu
    if length > udp_limit(send):
        return -EMSGSIZE
    if gso_size == 0:
        return 0
    if has_no_checksum(socket, send):
        return -EINVAL      # as Linux: pieces have checksums
    # The pieces of a train are never fragmented.
    mtu = ip_path_mtu(udp.ip, &send.source, &send.destination)
    if headers + min(length, <size_t>gso_size) > mtu:
        return -EMSGSIZE
    return -EINVAL if length > <size_t>gso_size * MAX_PIECES else 0


cdef uint32_t train_limit(
    const Context* context, const IpSend* send, uint16_t gso_size
) noexcept nogil:
    """Payload of the longest train that a device takes: whole pieces, at least one."""
    cdef uint32_t headers = ip_header_length(send) + UDP_HEADER_LENGTH
    cdef uint32_t room = min(context.max_train, <uint32_t>PACKET_MAX)
    if room < headers + gso_size:
        return gso_size
    return (room - headers) // gso_size * gso_size


cdef Packet* udp_packet(
    UdpLayer* udp, const Datagram* socket, const IpSend* send, uint16_t port,
    const uint8_t* data, uint32_t length
) noexcept nogil:
    """A packet that holds one datagram, or a whole train under one header; NULL: no memory."""
    cdef Packet* packet = ip_packet_new(udp.ip, UDP_HEADER_LENGTH + length)
    cdef UdpHeader header
    if packet == NULL:
        return NULL
    header.source_port = socket.endpoint.key.local_port
    header.destination_port = port
    header.length = <uint16_t>(UDP_HEADER_LENGTH + length)
    # Who completes the sum writes 0xffff for 0 (RFC 768).
    header.checksum = 0 if has_no_checksum(socket, send) else csum_fold(
        csum_pseudo(&send.source, &send.destination, PROTOCOL_UDP, header.length)
    )
    udp_build_header(packet.data, &header)
    if length:
        memcpy(packet.data + UDP_HEADER_LENGTH, data, length)
    packet.length = UDP_HEADER_LENGTH + length
    if has_no_checksum(socket, send):
        packet.csum = CSUM_VERIFIED     # as it is to be
        return packet
    packet.csum = CSUM_PARTIAL
    packet.csum_start = 0
    packet.csum_offset = UDP_CHECKSUM_OFFSET
    return packet


cdef int send_datagram(
    UdpLayer* udp, const Datagram* socket, const IpSend* send, uint16_t port,
    const uint8_t* data, uint32_t length
) noexcept nogil:
    cdef Packet* packet = udp_packet(udp, socket, send, port, data, length)
    cdef int code
    if packet == NULL:
        return -ENOMEM
    code = ip_output(udp.ip, packet, send)
    if code == 0:
        count(udp.ip.context, UDP_DATAGRAMS_OUT)
    return code


cdef int send_train(
    UdpLayer* udp, const Datagram* socket, const IpSend* send, uint16_t port,
    const uint8_t* data, uint32_t length, uint16_t gso_size
) noexcept nogil:
    cdef Packet* packet = udp_packet(udp, socket, send, port, data, length)
    cdef int code
    if packet == NULL:
        return -ENOMEM
    packet.gso = GSO_UDP4 if addr_is_v4(&send.destination) else GSO_UDP6
    packet.gso_size = gso_size
    code = ip_output(udp.ip, packet, send)
    if code == 0:
        count_many(udp.ip.context, UDP_DATAGRAMS_OUT, (length + gso_size - 1) // gso_size)
    return code


cdef int64_t udp_output(
    UdpLayer* udp, const Datagram* socket, const IpSend* send, uint16_t port,
    const uint8_t* data, size_t length, uint16_t gso_size
) noexcept nogil:
    """Send data as one datagram or, with gso_size, cut into several; return its length.

    -EMSGSIZE, -EINVAL (more than 64 pieces), -ENOMEM, and what ip_output returns.
    """
    cdef int code = check_length(udp, socket, send, length, gso_size)
    cdef uint32_t left = <uint32_t>length
    cdef uint32_t most, part
    if code < 0:
        return code
    if gso_size == 0 or length <= gso_size:
        code = send_datagram(udp, socket, send, port, data, left)
        return code if code < 0 else <int64_t>length
    most = train_limit(udp.ip.context, send, gso_size)
    while left:
        part = min(left, most)
        if part <= gso_size:
            code = send_datagram(udp, socket, send, port, data, part)
        else:
            code = send_train(udp, socket, send, port, data, part, gso_size)
        if code < 0:
            return code
        data += part
        left -= part
    return <int64_t>length


cdef bint echo_is_request(uint8_t protocol, const uint8_t* data, size_t length) noexcept nogil:
    """Whether data is an ICMP echo request as an application writes it."""
    if length < ICMP_HEADER_LENGTH or data[1] != 0:
        return False
    if protocol == PROTOCOL_ICMPV6:
        return data[0] == ICMP6_ECHO
    return data[0] == ICMP4_ECHO


cdef int64_t echo_output(
    UdpLayer* udp, const IpSend* send, uint16_t identifier, const uint8_t* data, size_t length
) noexcept nogil:
    """Send an ICMP message under our identifier and a checksum of our own; return its length."""
    cdef Packet* packet
    cdef int code
    if length > transport_limit(send):
        return -EMSGSIZE
    packet = ip_packet_new(udp.ip, <uint32_t>length)
    if packet == NULL:
        return -ENOMEM
    memcpy(packet.data, data, length)
    packet.length = <uint32_t>length
    store16(packet.data + ICMP_IDENTIFIER_OFFSET, identifier)
    store16(packet.data + ICMP_CHECKSUM_OFFSET, 0)
    store16(
        packet.data + ICMP_CHECKSUM_OFFSET,
        icmp_checksum(packet.data, packet.length, &send.source, &send.destination),
    )
    code = ip_output(udp.ip, packet, send)
    return code if code < 0 else <int64_t>length
