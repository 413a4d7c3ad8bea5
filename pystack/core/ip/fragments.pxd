# IP fragments: reassembly with bounds (RFC 815, 5722, 6946, 3128).

from libc.stdint cimport uint8_t, uint32_t
from pystack.core.ip.layer cimport IpLayer
from pystack.core.memory.packet cimport Packet
from pystack.core.wire.address cimport Addr

# A fragment whose headers have been read.
ctypedef struct Fragment:
    Addr source
    Addr destination
    uint32_t id
    uint32_t header_length      # from packet.data to the fragment's payload
    uint32_t offset             # bytes
    uint32_t length             # of its payload
    uint8_t protocol            # IPv4: of the header; IPv6: 0, it is no part of the key
    uint8_t next_header         # what fragment 0's payload begins with
    uint8_t tos
    bint more
    bint v6

# Takes the packet, a fragment. Returns the whole packet, header and all, when this was the last one
# missing, else NULL. The whole packet's header has no options and no extension headers: those were
# dealt with in the fragments.
cdef Packet* fragments_input(IpLayer* ip, Packet* packet, const Fragment* fragment) noexcept nogil
# Deadline DEADLINE_FRAGMENTS came due.
cdef void ip_fragments_expire(IpLayer* ip) noexcept nogil
cdef int fragments_init(IpLayer* ip) noexcept nogil         # 0, or -1 when out of memory
cdef void fragments_release(IpLayer* ip) noexcept nogil
