# IPv6 extension headers: walked in order, each judged before the next is looked at.
# Called by: ipv6_input.
# RFCs: 8200 section 4, 5095, 7112.

from libc.stdint cimport uint8_t, uint32_t
from pystack.core.ip.layer cimport IpLayer
from pystack.core.memory.packet cimport Packet
from pystack.core.wire.address cimport Addr

cdef enum:
    EXTENSION_HEADERS_MAX = 8

cdef enum ExtensionResult:
    EXTENSIONS_UPPER = 0        # the walk stands at an upper-layer header
    EXTENSIONS_FRAGMENT = 1     # at a whole fragment header
    EXTENSIONS_DROPPED = 2      # the packet is gone

# Where the walk stands.
ctypedef struct ExtensionWalk:
    uint32_t offset             # of the header
    uint32_t named_at           # offset of the field that names it
    uint32_t count              # headers passed
    uint8_t next_header         # what it is

# Begin at the fixed header.
cdef void extensions_begin(const Packet* packet, ExtensionWalk* walk) noexcept nogil
# Go on from where the walk stands. Takes the packet if it is dropped, after having reported what is
# to be reported.
cdef ExtensionResult extensions_walk(
    IpLayer* ip, Packet* packet, const Addr* destination, ExtensionWalk* walk
) noexcept nogil
# Step over one whole header of `length` bytes.
cdef void extensions_step(const Packet* packet, ExtensionWalk* walk, uint32_t length) noexcept nogil
# Drop a packet with a Parameter Problem that points at a byte of it.
cdef void extensions_reject(
    IpLayer* ip, Packet* packet, uint8_t code, uint32_t pointer
) noexcept nogil
