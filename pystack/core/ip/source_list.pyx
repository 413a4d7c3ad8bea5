# Lists of addresses that send to a multicast group: short, in the order in which they came.
# Called by: membership, membership_report, membership_query; udp.
# RFCs: 3376 section 2.

from libc.errno cimport ENOMEM
from libc.stdint cimport uint32_t
from libc.stdlib cimport free, realloc
from libc.string cimport memmove
from pystack.core.ip.membership_table cimport SourceList
from pystack.core.wire.address cimport Addr, addr_eq

cdef enum:
    STEP = 8                    # memory grows by so many


cdef int source_list_find(const SourceList* sources, const Addr* source) noexcept nogil:
    cdef uint32_t i
    for i in range(sources.count):
        if addr_eq(&sources.items[i], source):
            return <int>i
    return -1


cdef int source_list_add(SourceList* sources, const Addr* source) noexcept nogil:
    """Add one that is not there yet: 0, or -ENOMEM."""
    cdef Addr* items
    if source_list_find(sources, source) >= 0:
        return 0
    if sources.count % STEP == 0:
        items = <Addr*>realloc(sources.items, (sources.count + STEP) * sizeof(Addr))
        if items == NULL:
            return -ENOMEM
        sources.items = items
    sources.items[sources.count] = source[0]
    sources.count += 1
    return 0


cdef void source_list_remove(SourceList* sources, uint32_t index) noexcept nogil:
    sources.count -= 1
    memmove(
        sources.items + index, sources.items + index + 1, (sources.count - index) * sizeof(Addr)
    )
    if sources.count == 0:
        source_list_clear(sources)


cdef void source_list_clear(SourceList* sources) noexcept nogil:
    """Empty it and free its memory."""
    free(sources.items)
    sources.items = NULL
    sources.count = 0
