# IP output: a packet's way out: headers, fragmentation, looping back.

from libc.stdint cimport uint32_t
from pystack.core.ip.layer cimport IpLayer, IpSend
from pystack.core.memory.packet cimport Packet

cdef enum:
    # Packet.control[0] in the loop queue: only from there may a source be one of ours.
    PACKET_LOOPED = 1

# New packet with `size` bytes of room for transport header and inline payload; NULL when out of
# memory (counted).
cdef Packet* ip_packet_new(IpLayer* ip, uint32_t size) noexcept nogil
# Takes the packet: data at the transport header, borrowed payload behind it. With CSUM_PARTIAL the
# transport has stored the pseudo-header sum (csum_fold(csum_pseudo())) in the checksum field and
# set csum_offset and csum_start = 0. Sends, cuts into fragments where allowed, loops back to our
# own addresses. 0; -EMSGSIZE (larger than the path MTU and not to be fragmented), -ENETUNREACH,
# -ENOMEM: the packet is freed then too.
cdef int ip_output(IpLayer* ip, Packet* packet, const IpSend* send) noexcept nogil
