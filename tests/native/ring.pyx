# Byte ring, as tests see it: thin wrappers, no checks beyond those of the core.
# Called by: tests/unit/test_ring, tests/unit/exhaustion.
# RFCs: none.

from libc.stdint cimport uint8_t, uint32_t
from libc.string cimport memset
from pystack.core.memory.ring cimport (
    Ring, RingPool, ring_consume, ring_extend, ring_get, ring_lend, ring_pool_release, ring_put,
    ring_release, ring_reserve, ring_spans,
)


cdef class ByteRing:
    cdef Ring ring
    cdef RingPool pool
    cdef bytearray lent

    def __dealloc__(self):
        ring_release(&self.ring, &self.pool)
        ring_pool_release(&self.pool)

    @property
    def capacity(self):
        return self.ring.capacity

    @property
    def kept(self):
        """Capacities of the large ones that the pool keeps, the oldest first."""
        return [self.pool.capacity[i] for i in range(self.pool.count)]

    @property
    def kept_small(self):
        """How many of the least capacity it keeps."""
        return self.pool.small_count

    @property
    def length(self):
        return self.ring.length

    def reserve(self, uint32_t size):
        return ring_reserve(&self.ring, &self.pool, size)

    def give(self, uint32_t size):
        """A ring of that size has been, and is released."""
        cdef Ring other = [NULL, 0, 0, 0, 0]
        cdef RingPool none
        memset(&none, 0, sizeof(none))
        ring_reserve(&other, &none, size)
        ring_release(&other, &self.pool)

    def put(self, uint32_t offset, bytes data):
        ring_put(&self.ring, offset, data, <uint32_t>len(data))

    def get(self, uint32_t offset, uint32_t count):
        target = bytearray(count)
        ring_get(&self.ring, offset, target, count)
        return bytes(target)

    def spans(self, uint32_t offset, uint32_t count):
        cdef const uint8_t* spans[2]
        cdef uint32_t lengths[2]
        ring_spans(&self.ring, offset, count, spans, lengths)
        return [spans[i][:lengths[i]] if spans[i] != NULL else None for i in range(2)]

    def extend(self, uint32_t count):
        ring_extend(&self.ring, count)

    def consume(self, uint32_t count):
        ring_consume(&self.ring, count)

    def lend(self, bytes pattern, uint32_t span, uint32_t head):
        """The pattern for ever, so much of it in memory that `span` bytes are always whole."""
        self.lent = bytearray((pattern * (span // len(pattern) + 2))[:len(pattern) + span])
        ring_lend(&self.ring, &self.pool, self.lent, <uint32_t>len(self.lent),
                  <uint32_t>len(pattern), head)

    def release(self):
        ring_release(&self.ring, &self.pool)
