# Byte ring: the stored bytes of one direction of one connection.
# Called by: tcp (send and receive side).
# RFCs: none.

from libc.stdint cimport uint8_t, uint32_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy
from pystack.core.memory.check cimport check
from pystack.core.memory.poison cimport poison, unpoison

cdef enum:
    RING_MIN = 2048             # smallest capacity: a full segment at the usual MTU
    RING_MAX = 0x40000000       # largest: index arithmetic stays far from 2^32
    POOLED_MIN = 32 << 10       # smaller ones, but the smallest, malloc has at hand
    POOLED_BYTES = 8 << 20      # of large ones that a stack keeps at most
    SMALL_MOST = 64             # of the smallest ones


cdef void ring_pool_drop(RingPool* pool, uint32_t index) noexcept nogil:
    """Forget an entry; those that were given later move down."""
    pool.bytes -= pool.capacity[index]
    unpoison(pool.data[index], pool.capacity[index])
    pool.count -= 1
    while index < pool.count:
        pool.data[index] = pool.data[index + 1]
        pool.capacity[index] = pool.capacity[index + 1]
        index += 1


cdef void ring_pool_release(RingPool* pool) noexcept nogil:
    cdef uint8_t* data
    while pool.count:
        data = pool.data[0]
        ring_pool_drop(pool, 0)
        free(data)
    while pool.small != NULL:
        free(small_take(pool))


cdef inline void small_give(RingPool* pool, uint8_t* data) noexcept nogil:
    (<SmallRing*>data).next = pool.small
    pool.small = <SmallRing*>data
    pool.small_count += 1
    poison(data, RING_MIN)


cdef inline uint8_t* small_take(RingPool* pool) noexcept nogil:
    cdef SmallRing* first = pool.small
    if first == NULL:
        return NULL
    unpoison(first, RING_MIN)
    pool.small = first.next
    pool.small_count -= 1
    return <uint8_t*>first


cdef void ring_pool_give(RingPool* pool, uint8_t* data, uint32_t capacity) noexcept nogil:
    """Keep memory, in the place of the oldest if need be; or free it."""
    cdef uint8_t* oldest
    if capacity == RING_MIN and pool.small_count < SMALL_MOST:
        small_give(pool, data)
        return
    if not POOLED_MIN <= capacity <= POOLED_BYTES:
        free(data)
        return
    while pool.count == RING_POOL or pool.bytes + capacity > POOLED_BYTES:
        oldest = pool.data[0]
        ring_pool_drop(pool, 0)
        free(oldest)
    pool.data[pool.count] = data
    pool.capacity[pool.count] = capacity
    pool.count += 1
    pool.bytes += capacity
    poison(data, capacity)


cdef uint8_t* ring_pool_take(RingPool* pool, uint32_t* capacity) noexcept nogil:
    """Of that capacity or more, which it then says; or NULL.

    What was given last comes first, though smaller memory would do: a connection that fills its
    ring again need not let it grow, and the bytes are in the cache.
    """
    cdef uint32_t index = pool.count
    cdef uint8_t* data
    if capacity[0] == RING_MIN:
        return small_take(pool)
    if capacity[0] < POOLED_MIN:
        return NULL
    while index:
        index -= 1
        if pool.capacity[index] >= capacity[0]:
            data = pool.data[index]
            capacity[0] = pool.capacity[index]
            ring_pool_drop(pool, index)
            return data
    return NULL


cdef inline uint32_t ring_index(const Ring* ring, uint32_t offset) noexcept nogil:
    if ring.period:
        return (ring.head + offset) % ring.period
    return (ring.head + offset) & (ring.capacity - 1)


cdef inline uint32_t stretch_at(const Ring* ring, uint32_t index, uint32_t count) noexcept nogil:
    """How many of `count` bytes from `index` lie before the end of the memory."""
    return min(count, ring.capacity - index)


cdef inline uint32_t capacity_for(uint32_t size) noexcept nogil:
    cdef uint32_t capacity = RING_MIN
    while capacity < size:
        capacity *= 2
    return capacity


cdef int ring_reserve(Ring* ring, RingPool* pool, uint32_t size) noexcept nogil:
    """Make room for `size` bytes counted from head.

    Returns 0; -1, and the ring as it was, when out of memory or beyond 1 GiB.
    """
    cdef uint32_t capacity
    cdef uint8_t* data
    if size <= ring.capacity:
        return 0
    if size > RING_MAX:
        return -1
    capacity = capacity_for(size)
    data = ring_pool_take(pool, &capacity)
    if data == NULL:
        data = <uint8_t*>malloc(capacity)
    if data == NULL:
        return -1
    # All of the old memory, not only `length` bytes: out-of-order data lies beyond them.
    ring_get(ring, 0, data, ring.capacity)
    ring_pool_give(pool, ring.data, ring.capacity)
    ring.data = data
    ring.capacity = capacity
    ring.head = 0
    return 0


cdef void ring_put(Ring* ring, uint32_t offset, const uint8_t* source,
                   uint32_t count) noexcept nogil:
    """Copy `count` bytes in at an offset from head, within what was reserved."""
    cdef uint32_t index, first
    if count == 0:
        return
    check(offset <= ring.capacity and count <= ring.capacity - offset and ring.period == 0)
    index = ring_index(ring, offset)
    first = stretch_at(ring, index, count)
    memcpy(ring.data + index, source, first)
    memcpy(ring.data, source + first, count - first)


cdef void ring_get(const Ring* ring, uint32_t offset, uint8_t* target,
                   uint32_t count) noexcept nogil:
    """Copy `count` bytes out from an offset, within what was reserved."""
    cdef uint32_t index, first
    if count == 0:
        return
    check(offset <= ring.capacity and count <= ring.capacity - offset)
    index = ring_index(ring, offset)
    first = stretch_at(ring, index, count)
    memcpy(target, ring.data + index, first)
    memcpy(target + first, ring.data, count - first)


cdef void ring_spans(const Ring* ring, uint32_t offset, uint32_t count, const uint8_t** spans,
                     uint32_t* lengths) noexcept nogil:
    """Give the two stretches that hold [offset, offset + count); an unused one is NULL, 0."""
    cdef uint32_t index, first
    spans[0] = spans[1] = NULL
    lengths[0] = lengths[1] = 0
    if count == 0:
        return
    if ring.period:
        check(count <= ring.capacity - ring.period)
        spans[0] = ring.data + ring_index(ring, offset)
        lengths[0] = count
        return
    check(offset <= ring.capacity and count <= ring.capacity - offset)
    index = ring_index(ring, offset)
    first = stretch_at(ring, index, count)
    spans[0] = ring.data + index
    lengths[0] = first
    if first < count:
        spans[1] = ring.data
        lengths[1] = count - first


cdef void ring_consume(Ring* ring, uint32_t count) noexcept nogil:
    """Drop `count` bytes (<= length) from the head; what lies beyond them keeps its bytes."""
    check(count <= ring.length)
    ring.head = ring_index(ring, count)
    ring.length -= count


cdef void ring_lend(Ring* ring, RingPool* pool, uint8_t* data, uint32_t capacity, uint32_t period,
                    uint32_t head) noexcept nogil:
    """Begin to hold a pattern's bytes; what the ring held is freed."""
    ring_release(ring, pool)
    ring.data = data
    ring.capacity = capacity
    ring.period = period
    ring.head = head % period


cdef void ring_release(Ring* ring, RingPool* pool) noexcept nogil:
    """Give back the memory, also if it was lent; the ring is empty and usable again."""
    if ring.period == 0:
        ring_pool_give(pool, ring.data, ring.capacity)
    ring.data = NULL
    ring.capacity = ring.head = ring.length = ring.period = 0
