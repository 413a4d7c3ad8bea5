# IP output: a packet's way out: headers, path MTU, fragmentation, looping back.
# Called by: udp, tcp, icmp.
# RFCs: 791, 1122 section 3.2.1, 6864, 6437, 8200.

from libc.errno cimport EINVAL, EMSGSIZE, ENETUNREACH, ENOMEM
from libc.stdint cimport uint8_t, uint16_t, uint32_t
from libc.string cimport memcpy
from pystack.core.context cimport count, packet_drop
from pystack.core.counters cimport Counter
from pystack.core.endpoint cimport MTU_DISCOVER_DO, MTU_DISCOVER_DONT
from pystack.core.ip.fragmentation cimport ip_fragment
from pystack.core.ip.identification cimport identification_next
from pystack.core.ip.layer cimport (
    IpLayer, IpSend, MULTICAST_LOOP, MULTICAST_STAY, PROTOCOL_UDP
)
from pystack.core.ip.networks cimport ip_is_local
from pystack.core.ip.path_mtu cimport ip_path_mtu, ip_path_mtu_is_locked
from pystack.core.memory.packet cimport (
    GSO_NONE, Packet, packet_free, packet_linearize, packet_new, packet_push, packet_total
)
from pystack.core.wire.address cimport addr_is_any, addr_is_loopback, addr_is_v4
from pystack.core.wire.ipv4 cimport IPV4_DF, IPV4_HEADER_LENGTH, Ipv4Header, ipv4_build
from pystack.core.wire.ipv6 cimport (
    IPV6_HEADER_LENGTH, IPV6_MIN_MTU, Ipv6Header, ipv6_build
)

cdef enum:
    DEFAULT_TTL = 64            # RFC 1122 section 3.2.1.7 leaves it open; IANA recommends 64
    LENGTH_MAX = 65535          # of an IPv4 packet, and of what an IPv6 header is followed by
    LOOP_QUEUE_MAX = 256
    UDP_HEADER_LENGTH = 8
    TCP_HEADER_LENGTH = 20


cdef Packet* ip_packet_new(IpLayer* ip, uint32_t size) noexcept nogil:
    """Packet of length 0 with room for `size` bytes, and for IP and device headers before them."""
    cdef Packet* packet = packet_new(&ip.context.slab, size)
    if packet == NULL:
        count(ip.context, Counter.OUT_OF_MEMORY)
    return packet


cdef inline uint32_t header_length_of(bint v6) noexcept nogil:
    return IPV6_HEADER_LENGTH if v6 else IPV4_HEADER_LENGTH


cdef bint is_sendable(IpLayer* ip, const IpSend* send) noexcept nogil:
    """Not nowhere, nor a loopback address, unless it is ours (RFC 1122 section 3.2.1.3 (g))."""
    if addr_is_v4(&send.source) != addr_is_v4(&send.destination):
        return False
    if addr_is_loopback(&send.destination):
        return ip_is_local(ip, &send.destination)
    return not addr_is_any(&send.destination)


cdef uint32_t transport_header_length(const Packet* packet, uint8_t protocol) noexcept nogil:
    if protocol == PROTOCOL_UDP or packet.length < TCP_HEADER_LENGTH:
        return UDP_HEADER_LENGTH
    return (packet.data[12] >> 4) * 4


cdef bint train_fits(
    IpLayer* ip, const Packet* packet, const IpSend* send, uint32_t mtu
) noexcept nogil:
    """Each piece fits the path and the whole train the device."""
    cdef uint32_t headers = header_length_of(not addr_is_v4(&send.destination))
    if headers + packet_total(packet) > ip.context.max_train:
        return False
    headers += transport_header_length(packet, send.protocol)
    return headers + packet.gso_size <= mtu


cdef uint16_t id_of(IpLayer* ip, const Packet* packet, const IpSend* send, bint df) noexcept nogil:
    """Identification of an IPv4 packet; atomic ones need none (RFC 6864 section 4.1).

    The pieces of a train take successive numbers.
    """
    cdef uint32_t pieces = 1
    if df:
        return 0
    if packet.gso != GSO_NONE and packet.gso_size:
        pieces = packet_total(packet) // packet.gso_size + 1
    return <uint16_t>identification_next(
        &ip.identification, &send.source, &send.destination, send.protocol, pieces
    )


cdef void header4_push(IpLayer* ip, Packet* packet, const IpSend* send, bint df) noexcept nogil:
    cdef Ipv4Header header
    header.source = send.source
    header.destination = send.destination
    header.total_length = <uint16_t>(IPV4_HEADER_LENGTH + packet_total(packet))
    header.id = id_of(ip, packet, send, df)
    header.fragment = IPV4_DF if df else 0
    header.header_length = IPV4_HEADER_LENGTH
    header.tos = send.marking.tos
    header.ttl = send.marking.ttl if send.marking.ttl else DEFAULT_TTL
    header.protocol = send.protocol
    packet.data -= IPV4_HEADER_LENGTH
    packet.length += IPV4_HEADER_LENGTH
    ipv4_build(packet.data, &header)


cdef void header6_push(Packet* packet, const IpSend* send) noexcept nogil:
    cdef Ipv6Header header
    header.source = send.source
    header.destination = send.destination
    header.flow_label = send.marking.flow_label
    header.payload_length = <uint16_t>packet_total(packet)
    header.next_header = send.protocol
    header.hop_limit = send.marking.ttl if send.marking.ttl else DEFAULT_TTL
    header.tos = send.marking.tos
    packet.data -= IPV6_HEADER_LENGTH
    packet.length += IPV6_HEADER_LENGTH
    ipv6_build(packet.data, &header)


cdef void header_push(IpLayer* ip, Packet* packet, const IpSend* send, bint df) noexcept nogil:
    """Put the IP header before the transport header; df counts for IPv4 only."""
    if addr_is_v4(&send.destination):
        header4_push(ip, packet, send, df)
        packet.csum_start += IPV4_HEADER_LENGTH
    else:
        header6_push(packet, send)
        packet.csum_start += IPV6_HEADER_LENGTH


cdef int loop_back(IpLayer* ip, Packet* packet) noexcept nogil:
    """Queue a whole packet for our own input.

    Its bytes are made its own, since the sender's ring lends them only until the stack is next
    entered. What it says of its checksum stays true: the bytes never leave this memory.
    """
    if ip.context.loop.count >= LOOP_QUEUE_MAX:
        # As on a wire: what is lost on the way is no error of the sender's.
        packet_drop(ip.context, packet, Counter.IP_DROP_LOOP_QUEUE_FULL)
        return 0
    packet = packet_linearize(&ip.context.slab, packet)
    if packet == NULL:
        count(ip.context, Counter.OUT_OF_MEMORY)
        return -ENOMEM
    packet.control[0] = PACKET_LOOPED
    count(ip.context, Counter.IP_LOOPED)
    packet_push(&ip.context.loop, packet)
    return 0


cdef void loop_copy(IpLayer* ip, const Packet* packet, const IpSend* send) noexcept nogil:
    """A copy for the members of the group that are on this stack; lost if there is no memory."""
    cdef Packet* copy = ip_packet_new(ip, packet.length)
    if copy == NULL:
        return
    memcpy(copy.data, packet.data, packet.length)
    copy.length = packet.length
    copy.csum = packet.csum
    copy.csum_start = packet.csum_start
    copy.csum_offset = packet.csum_offset
    copy.gso = packet.gso
    copy.gso_size = packet.gso_size
    header_push(ip, copy, send, wants_df(ip, send))
    loop_back(ip, copy)


cdef int output_fragments(
    IpLayer* ip, Packet* packet, const IpSend* send, uint32_t mtu
) noexcept nogil:
    """Send a packet that is larger than the path MTU in fragments, DF clear."""
    cdef uint32_t id = 0
    if not addr_is_v4(&send.destination):
        id = identification_next(
            &ip.identification, &send.source, &send.destination, send.protocol, 1
        )
        # Who does not discover the path MTU cuts to what every path takes (RFC 8200 section 5).
        if send.marking.mtu_discover == MTU_DISCOVER_DONT:
            mtu = min(mtu, <uint32_t>IPV6_MIN_MTU)
    header_push(ip, packet, send, False)
    return ip_fragment(ip, packet, mtu, id)


cdef bint wants_df(IpLayer* ip, const IpSend* send) noexcept nogil:
    """Linux's ip_dont_fragment."""
    if send.marking.mtu_discover == MTU_DISCOVER_DONT:
        return False
    if send.marking.mtu_discover == MTU_DISCOVER_DO or not addr_is_v4(&send.destination):
        return True
    return not ip_path_mtu_is_locked(ip, &send.source, &send.destination)


cdef int ip_output(IpLayer* ip, Packet* packet, const IpSend* send) noexcept nogil:
    """Send a transport's packet or train: out, in fragments, or back to ourselves."""
    cdef bint v6 = not addr_is_v4(&send.destination)
    cdef uint32_t size = header_length_of(v6) + packet_total(packet)
    cdef uint32_t mtu
    cdef bint fits
    if not is_sendable(ip, send):
        packet_drop(ip.context, packet, Counter.IP_DROP_NO_ROUTE)
        return -ENETUNREACH
    if size > <uint32_t>LENGTH_MAX + (IPV6_HEADER_LENGTH if v6 else 0):
        packet_drop(ip.context, packet, Counter.IP_DROP_TOO_BIG)
        return -EMSGSIZE
    if send.multicast & MULTICAST_LOOP:
        loop_copy(ip, packet, send)
    if send.multicast & MULTICAST_STAY:
        packet_free(&ip.context.slab, packet)
        return 0
    if ip_is_local(ip, &send.destination):
        header_push(ip, packet, send, wants_df(ip, send))
        return loop_back(ip, packet)
    if addr_is_loopback(&send.source):      # and the destination is somebody else
        packet_drop(ip.context, packet, Counter.IP_DROP_NO_ROUTE)
        return -EINVAL
    mtu = ip_path_mtu(ip, &send.source, &send.destination)
    if packet.gso != GSO_NONE:
        fits = train_fits(ip, packet, send, mtu)
    else:
        fits = size <= mtu
    if fits:
        header_push(ip, packet, send, wants_df(ip, send))
        packet_push(&ip.context.tx, packet)
        return 0
    if packet.gso != GSO_NONE or send.marking.mtu_discover == MTU_DISCOVER_DO:
        packet_drop(ip.context, packet, Counter.IP_DROP_TOO_BIG)
        return -EMSGSIZE
    return output_fragments(ip, packet, send, mtu)
