# Deadline queue: what is due first, for everything in a stack that waits for time to pass.
# Called by: ip, tcp, stack. Times are int64 nanoseconds.
# RFCs: none.

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

# Not an enum: in C those end with int.
cdef extern from "<stdint.h>" nogil:
    const int64_t DEADLINE_NEVER "INT64_MAX"

ctypedef struct DeadlineNode:
    void* owner
    uint32_t index              # place in the heap + 1; 0: not queued
    uint8_t kind                # for the stack, to know what owner is
    uint64_t order              # of the last deadline_set; of equal times, first set is first due

ctypedef struct DeadlineEntry:
    int64_t when
    DeadlineNode* node

ctypedef struct DeadlineQueue:     # all zero: empty, no memory; only this module writes it
    DeadlineEntry* heap
    uint32_t count
    uint32_t capacity
    uint32_t registered         # nodes for which room is kept, so that deadline_set cannot fail
    uint64_t order              # of the last node set

# Keep room for one more node: 0, or -1 when out of memory. Each owner registers once, and
# unregisters when it dies.
cdef int deadline_register(DeadlineQueue* queue, DeadlineNode* node, void* owner,
                           uint8_t kind) noexcept nogil
cdef void deadline_unregister(DeadlineQueue* queue, DeadlineNode* node) noexcept nogil
# Insert or move. DEADLINE_NEVER takes it out.
cdef void deadline_set(DeadlineQueue* queue, DeadlineNode* node, int64_t when) noexcept nogil
cdef int64_t deadline_of(const DeadlineQueue* queue, const DeadlineNode* node) noexcept nogil
# Take out and return the first node due at `now`, or NULL.
cdef DeadlineNode* deadline_pop(DeadlineQueue* queue, int64_t now) noexcept nogil
cdef void deadline_queue_release(DeadlineQueue* queue) noexcept nogil


cdef inline int64_t deadline_first(const DeadlineQueue* queue) noexcept nogil:
    return queue.heap[0].when if queue.count else DEADLINE_NEVER
