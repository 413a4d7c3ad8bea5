# The receive queue: text that has not been read, first in a ring, then in trains as they arrived.
# Called by: receive (adds), transfer (removes), calls, service (the ring), tcb and busy (the end).
# RFCs: none.

from libc.stdint cimport uint8_t, uint32_t
from pystack.core.memory.packet cimport Packet
from pystack.core.tcp.layer cimport ReceiveQueue, TcpLayer

# Room in the ring for `size` bytes counted from the first, more than there are in order. 0, or -1
# when out of memory.
cdef int received_reserve(TcpLayer* tcp, ReceiveQueue* queue, uint32_t size) noexcept nogil
# Copy in what lies beyond a hole, at an offset from the first byte; room must have been reserved.
cdef void received_put(
        ReceiveQueue* queue, uint32_t offset, const uint8_t* text, uint32_t length) noexcept nogil
# So many bytes more are in order: put there before, or never to be looked at.
cdef void received_extend(ReceiveQueue* queue, uint32_t length) noexcept nogil
# Copy in what is next in order. 0, or -1 when out of memory.
cdef int received_append(
        TcpLayer* tcp, ReceiveQueue* queue, const uint8_t* text, uint32_t length) noexcept nogil
# Take the packet itself, in which the text lies that is next in order; not while there are holes.
cdef void received_keep(
        ReceiveQueue* queue, Packet* packet, uint8_t* text, uint32_t length) noexcept nogil
# Copy out from an offset; the bytes stay.
cdef void received_get(
        const ReceiveQueue* queue, uint32_t offset, uint8_t* target, uint32_t count) noexcept nogil
# Drop `count` bytes (<= length) from the front.
cdef void received_consume(TcpLayer* tcp, ReceiveQueue* queue, uint32_t count) noexcept nogil
# Drop everything, and give the memory back.
cdef void received_release(TcpLayer* tcp, ReceiveQueue* queue) noexcept nogil
