# The mirror: a packet's addresses swapped in place.
# Called by: input.
# RFCs: 1071 (a sum does not depend on order).

from libc.stdint cimport uint8_t, uint32_t
from libc.string cimport memcpy
from pystack.core.ip.layer cimport PROTOCOL_ICMP, PROTOCOL_ICMPV6
from pystack.core.memory.packet cimport Packet
from pystack.core.wire.icmp cimport ICMP_HEADER_LENGTH, icmp4_is_error, icmp6_is_error
from pystack.core.wire.ipv4 cimport (
    IPV4_HEADER_LENGTH, IPV4_OFFSET_MASK, Ipv4Header, ipv4_read
)
from pystack.core.wire.ipv6 cimport IPV6_HEADER_LENGTH, Ipv6Upper, ipv6_find_upper

cdef enum:
    SOURCE4_AT = 12
    SOURCE6_AT = 8


cdef void addresses_swap(uint8_t* header, bint v6) noexcept nogil:
    """Source becomes destination; every checksum over both stays right."""
    cdef uint8_t[16] kept
    cdef uint8_t* source = header + (SOURCE6_AT if v6 else SOURCE4_AT)
    # Sizes that the compiler knows: a move each, no call.
    if v6:
        memcpy(kept, source, 16)
        memcpy(source, source + 16, 16)
        memcpy(source + 16, kept, 16)
    else:
        memcpy(kept, source, 4)
        memcpy(source, source + 4, 4)
        memcpy(source + 4, kept, 4)


cdef uint8_t* error4_find(const Packet* packet) noexcept nogil:
    """The message, if the packet is an ICMP error, and not a later fragment of one."""
    cdef Ipv4Header header
    ipv4_read(packet.data, &header)
    if header.protocol != PROTOCOL_ICMP or header.fragment & IPV4_OFFSET_MASK:
        return NULL
    if packet.length <= header.header_length:
        return NULL
    if not icmp4_is_error(packet.data[header.header_length]):
        return NULL
    return packet.data + header.header_length


cdef uint8_t* error6_find(const Packet* packet) noexcept nogil:
    cdef Ipv6Upper upper
    if ipv6_find_upper(packet.data, packet.length, &upper) < 0:
        return NULL
    if upper.protocol != PROTOCOL_ICMPV6 or upper.later_fragment:
        return NULL
    if packet.length <= upper.offset or not icmp6_is_error(packet.data[upper.offset]):
        return NULL
    return packet.data + upper.offset


cdef void mirror_swap(Packet* packet) noexcept nogil:
    """Swap the addresses of the packet, and of a packet that it quotes.

    What an error quotes was mirrored on its way out: its sender knows it by its addresses before.
    """
    cdef bint v6 = packet.data[0] >> 4 == 6
    cdef uint8_t* message = error6_find(packet) if v6 else error4_find(packet)
    cdef uint32_t header_length = IPV6_HEADER_LENGTH if v6 else IPV4_HEADER_LENGTH
    addresses_swap(packet.data, v6)
    if message == NULL:
        return
    if packet.length - <uint32_t>(message - packet.data) >= ICMP_HEADER_LENGTH + header_length:
        addresses_swap(message + ICMP_HEADER_LENGTH, v6)
