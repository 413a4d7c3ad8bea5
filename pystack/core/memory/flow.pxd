# Flow table: intrusive hash table, keyed with a secret, to whatever starts with a FlowKey.
# Called by: ip (policy, fragments, path MTU), udp, tcp. Secret, because peers choose the keys.
# RFCs: 4987 section 3.3 spirit; SipHash-1-3.

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from pystack.core.wire.address cimport Addr

ctypedef struct FlowKey:            # 40 bytes, no padding: hashed and compared as bytes
    Addr local
    Addr remote
    uint16_t local_port
    uint16_t remote_port
    uint8_t protocol
    uint8_t prefix_length           # for prefix tables; else 0
    uint16_t reserved               # 0

ctypedef struct FlowTable:
    FlowKey** slots
    uint32_t* hashes
    uint32_t mask                   # slots - 1; 0 while there is no memory
    uint32_t count
    uint64_t secret[2]

cdef void flow_table_init(FlowTable* table, const uint64_t* secret) noexcept nogil
cdef void flow_table_release(FlowTable* table) noexcept nogil
cdef FlowKey* flow_find(const FlowTable* table, const FlowKey* key) noexcept nogil
# 0; -1: out of memory; -2: an equal key is there already. The table holds the pointer
# until flow_remove; meanwhile the key must not change.
cdef int flow_insert(FlowTable* table, FlowKey* key) noexcept nogil
# Removes this very key, by its address; nothing happens if it isn't there.
cdef void flow_remove(FlowTable* table, FlowKey* key) noexcept nogil
# Walk: start with cursor 0; NULL at the end. Removing the returned key during a walk is allowed
# (some later key may then be passed over or seen twice: repeat until a walk is empty).
cdef FlowKey* flow_next(const FlowTable* table, uint32_t* cursor) noexcept nogil
cdef uint64_t siphash(const uint64_t* secret, const uint8_t* data, uint32_t length) noexcept nogil
