# Byte ring: one direction of one connection's stream; allocated on first use, grows by doubling.
# And the memory of rings that have become empty, kept for the next ones.
# Called by: tcp. Knows no sequence numbers: offsets count from the first stored byte.
# RFCs: none.

from libc.stdint cimport uint8_t, uint32_t

ctypedef struct Ring:
    uint8_t* data
    uint32_t capacity       # power of two, unless lent; 0 while there is no memory
    uint32_t head           # index of the first stored byte
    uint32_t length         # bytes stored without a gap from head
    uint32_t period         # of lent bytes, which repeat; 0: the memory is the ring's own

cdef enum:
    RING_POOL = 8

ctypedef struct SmallRing:
    SmallRing* next

# All zero: empty. A busy connection's rings are empty many times a second: to have the memory from
# malloc each time would mean fresh pages each time, which cost more than the bytes put into them.
ctypedef struct RingPool:
    uint8_t* data[RING_POOL]    # large ones; the one given last is last
    uint32_t capacity[RING_POOL]
    uint32_t count
    uint32_t bytes
    SmallRing* small            # of the least capacity
    uint32_t small_count

cdef void ring_pool_release(RingPool* pool) noexcept nogil

# Make room for `size` bytes counted from head (what is there stays). 0, or -1 when out of memory.
cdef int ring_reserve(Ring* ring, RingPool* pool, uint32_t size) noexcept nogil
# Copy in at an offset from head; room must have been reserved; length is not changed (data may be
# out of order).
cdef void ring_put(Ring* ring, uint32_t offset, const uint8_t* source,
                   uint32_t count) noexcept nogil
# Copy out from an offset; the bytes stay.
cdef void ring_get(const Ring* ring, uint32_t offset, uint8_t* target,
                   uint32_t count) noexcept nogil
# The up to two stretches of memory that hold [offset, offset + count).
cdef void ring_spans(const Ring* ring, uint32_t offset, uint32_t count, const uint8_t** spans,
                     uint32_t* lengths) noexcept nogil
# Hold, from now on, the bytes of a pattern that repeats after `period` bytes and outlives the ring,
# which is empty: `capacity` bytes of it are there, so that a span of capacity - period is whole
# wherever it begins. head: where the stream is in the pattern. Only ring_extend appends.
cdef void ring_lend(Ring* ring, RingPool* pool, uint8_t* data, uint32_t capacity, uint32_t period,
                    uint32_t head) noexcept nogil
# Drop `count` bytes (<= length) from the head. Memory stays until ring_release.
cdef void ring_consume(Ring* ring, uint32_t count) noexcept nogil
cdef void ring_release(Ring* ring, RingPool* pool) noexcept nogil


cdef inline void ring_extend(Ring* ring, uint32_t count) noexcept nogil:
    ring.length += count
