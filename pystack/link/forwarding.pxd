# Forwarding: what a router may pass on, what it changes, and how it cuts what is too long.
# Called by: node.
# RFCs: 1812 section 5, 791 section 3.2, 8200 section 3, 2827 and 3704, 3927 section 7, 4291 2.5.6.

from libc.stdint cimport uint32_t
from pystack.core.memory.packet cimport Packet, PacketQueue, PacketSlab
from pystack.core.wire.address cimport Addr

cdef enum Verdict:
    PASS_ON = 0
    BAD_HEADER = 1
    MARTIAN = 2                 # an address that no router may pass on
    SOURCE_ROUTED = 3
    EXPIRED = 4                 # it has no hop left

ctypedef struct Hop:            # what a router looks at
    Addr source
    Addr destination
    bint v6
    bint fragile                # must not be fragmented: IPv6, or DF

cdef int hop_read(const Packet* packet, Hop* hop) noexcept nogil    # -1: BAD_HEADER
# Of a packet of our own stack, whose header is good.
cdef Addr hop_destination(const Packet* packet) noexcept nogil
cdef Verdict hop_judge(const Packet* packet, const Hop* hop) noexcept nogil
cdef bint is_martian(const Addr* address) noexcept nogil
# One hop less, the checksum brought up to date.
cdef void count_hop(Packet* packet) noexcept nogil
# Takes an IPv4 packet without DF, pushes its fragments; -1: out of memory, or the MTU is too small
# for any. The packet is freed.
cdef int fragment(
    PacketSlab* slab, Packet* packet, uint32_t mtu, PacketQueue* out
) noexcept nogil
