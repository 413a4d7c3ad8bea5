# Which of two addresses of ours is the better source for a destination.
# Called by: networks.
# RFCs: 6724 sections 2.1, 2.2, 3.1 and 5.

from libc.stdint cimport uint64_t
from pystack.core.wire.address cimport (
    Addr, addr_is_link_local, addr_is_loopback, addr_is_multicast, addr_is_v4
)

cdef enum:
    SCOPE_LINK = 2              # RFC 4291 section 2.7
    SCOPE_SITE = 5
    SCOPE_GLOBAL = 14
    # Labels of the default policy table (RFC 6724 section 2.1).
    LABEL_LOOPBACK = 0
    LABEL_NATIVE = 1
    LABEL_6TO4 = 2
    LABEL_COMPATIBLE = 3
    LABEL_V4 = 4
    LABEL_TEREDO = 5
    LABEL_SITE_LOCAL = 11
    LABEL_6BONE = 12
    LABEL_UNIQUE_LOCAL = 13


cdef int scope_of(const Addr* address) noexcept nogil:
    """RFC 6724 section 3.1; private and unique local addresses are global."""
    if addr_is_link_local(address):
        return SCOPE_LINK
    if addr_is_v4(address):
        return SCOPE_GLOBAL
    if addr_is_multicast(address):
        return (address.hi >> 48) & 0xF
    if address.hi >> 54 == 0x3FB:       # fec0::/10
        return SCOPE_SITE
    return SCOPE_GLOBAL


cdef int label_of(const Addr* address) noexcept nogil:
    """The label of the longest prefix in the default policy table (RFC 6724 section 2.1)."""
    if addr_is_v4(address):
        return LABEL_V4
    if addr_is_loopback(address):
        return LABEL_LOOPBACK
    if address.hi == 0 and address.lo >> 32 == 0:
        return LABEL_COMPATIBLE
    if address.hi >> 32 == 0x20010000:
        return LABEL_TEREDO
    if address.hi >> 48 == 0x2002:
        return LABEL_6TO4
    if address.hi >> 48 == 0x3FFE:
        return LABEL_6BONE
    if address.hi >> 54 == 0x3FB:
        return LABEL_SITE_LOCAL
    return LABEL_UNIQUE_LOCAL if address.hi >> 57 == 0x7E else LABEL_NATIVE


cdef int common_prefix(const Addr* a, const Addr* b, int most) noexcept nogil:
    """How many leading bits are equal, `most` at most (RFC 6724 section 2.2)."""
    cdef uint64_t differ = a.hi ^ b.hi
    cdef int bits = 0
    if differ == 0:
        differ = a.lo ^ b.lo
        bits = 64
    if differ == 0:
        return most
    while not differ >> 63:
        differ <<= 1
        bits += 1
    return min(bits, most)


cdef bint source_is_better(
    const Addr* destination, const Addr* candidate, int candidate_length, const Addr* best,
    int best_length
) noexcept nogil:
    """RFC 6724 section 5, rules 2, 6 and 8.

    Rule 1 is the caller's. 3, 4 and 7 are about addresses that age, roam or hide, 5 about several
    interfaces: a stack has none of these.
    """
    cdef int wanted = scope_of(destination)
    cdef int ours = scope_of(candidate)
    cdef int theirs = scope_of(best)
    cdef int label = label_of(destination)
    if ours < theirs:
        return ours >= wanted
    if ours > theirs:
        return theirs < wanted
    if (label_of(candidate) == label) != (label_of(best) == label):
        return label_of(candidate) == label
    return common_prefix(candidate, destination, candidate_length) > (
        common_prefix(best, destination, best_length))
