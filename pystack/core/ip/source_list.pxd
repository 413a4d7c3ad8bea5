# Lists of addresses that send to a multicast group: short, in the order in which they came.
# Called by: membership, membership_report, membership_query; udp.
# RFCs: 3376 section 2.

from libc.stdint cimport uint8_t, uint32_t
from pystack.core.ip.membership_table cimport FILTER_INCLUDE, SourceList
from pystack.core.wire.address cimport Addr

# -1: it is not there.
cdef int source_list_find(const SourceList* sources, const Addr* source) noexcept nogil
# 0, also if it is there already; -ENOMEM.
cdef int source_list_add(SourceList* sources, const Addr* source) noexcept nogil
cdef void source_list_remove(SourceList* sources, uint32_t index) noexcept nogil
cdef void source_list_clear(SourceList* sources) noexcept nogil


cdef inline bint filter_accepts(
    uint8_t mode, const SourceList* sources, const Addr* source
) noexcept nogil:
    """Whether a filter lets a source in (RFC 3376 section 3)."""
    return (source_list_find(sources, source) >= 0) == (mode == FILTER_INCLUDE)
