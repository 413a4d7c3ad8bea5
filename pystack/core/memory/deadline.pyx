# Deadline queue: a heap of four children per entry, in which each node knows its place.
# Called by: ip, tcp, stack.
# RFCs: none.

from libc.stddef cimport size_t
from libc.stdint cimport int64_t, uint8_t, uint32_t
from libc.stdlib cimport free, realloc
from pystack.core.memory.check cimport check

cdef enum:
    MIN_CAPACITY = 16
    MAX_CAPACITY = 0x40000000


cdef inline bint entry_before(const DeadlineEntry* a, const DeadlineEntry* b) noexcept nogil:
    """Earlier first; of equal times the one that was set first."""
    if a.when != b.when:
        return a.when < b.when
    return a.node.order < b.node.order


cdef inline void put_at(DeadlineQueue* queue, uint32_t place, DeadlineEntry entry) noexcept nogil:
    queue.heap[place] = entry
    entry.node.index = place + 1


cdef void sift_up(DeadlineQueue* queue, uint32_t place, DeadlineEntry entry) noexcept nogil:
    cdef uint32_t parent
    while place > 0:
        parent = (place - 1) >> 2
        if not entry_before(&entry, queue.heap + parent):
            break
        put_at(queue, place, queue.heap[parent])
        place = parent
    put_at(queue, place, entry)


cdef inline uint32_t first_child(const DeadlineQueue* queue, uint32_t place) noexcept nogil:
    """The earliest of the children of `place`; count if it has none."""
    cdef uint32_t first = 4 * place + 1
    cdef uint32_t end = min(first + 4, queue.count)
    cdef uint32_t best = min(first, queue.count)
    cdef uint32_t child
    for child in range(first + 1, end):
        if entry_before(queue.heap + child, queue.heap + best):
            best = child
    return best


cdef void sift_down(DeadlineQueue* queue, uint32_t place, DeadlineEntry entry) noexcept nogil:
    cdef uint32_t child = first_child(queue, place)
    while child < queue.count and entry_before(queue.heap + child, &entry):
        put_at(queue, place, queue.heap[child])
        place = child
        child = first_child(queue, place)
    put_at(queue, place, entry)


cdef void settle(DeadlineQueue* queue, uint32_t place, DeadlineEntry entry) noexcept nogil:
    """Put an entry where it belongs, starting from a free place in the heap."""
    if place > 0 and entry_before(&entry, queue.heap + ((place - 1) >> 2)):
        sift_up(queue, place, entry)
    else:
        sift_down(queue, place, entry)


cdef void take_out(DeadlineQueue* queue, DeadlineNode* node) noexcept nogil:
    cdef uint32_t place = node.index - 1
    if node.index == 0:
        return
    node.index = 0
    queue.count -= 1
    if place < queue.count:
        settle(queue, place, queue.heap[queue.count])


cdef int resize(DeadlineQueue* queue, uint32_t capacity) noexcept nogil:
    cdef DeadlineEntry* heap
    if capacity > MAX_CAPACITY:
        return -1
    heap = <DeadlineEntry*>realloc(queue.heap, <size_t>capacity * sizeof(DeadlineEntry))
    if heap == NULL:
        return -1
    queue.heap = heap
    queue.capacity = capacity
    return 0


cdef int deadline_register(DeadlineQueue* queue, DeadlineNode* node, void* owner,
                           uint8_t kind) noexcept nogil:
    """Keep room for one more node and prepare it, not queued: 0, or -1 when out of memory."""
    if queue.registered == queue.capacity:
        if resize(queue, max(<uint32_t>MIN_CAPACITY, 2 * queue.capacity)) < 0:
            return -1
    queue.registered += 1
    node.owner = owner
    node.index = 0
    node.kind = kind
    node.order = 0
    return 0


cdef void deadline_unregister(DeadlineQueue* queue, DeadlineNode* node) noexcept nogil:
    """Take the node out and give its room back; only for a registered node."""
    check(queue.registered > 0)
    take_out(queue, node)
    queue.registered -= 1
    # A flood passes: give its memory back. If that fails, nothing is lost.
    if queue.capacity > MIN_CAPACITY and queue.registered < queue.capacity // 8:
        resize(queue, queue.capacity // 2)


cdef void deadline_set(DeadlineQueue* queue, DeadlineNode* node, int64_t when) noexcept nogil:
    """Insert or move a registered node; DEADLINE_NEVER takes it out.

    Setting the time that it has already changes nothing, not even its place among equals.
    """
    cdef DeadlineEntry entry
    if when == deadline_of(queue, node):
        return
    if when == DEADLINE_NEVER:
        take_out(queue, node)
        return
    entry.when = when
    entry.node = node
    queue.order += 1
    node.order = queue.order
    if node.index != 0:
        settle(queue, node.index - 1, entry)
        return
    check(queue.count < queue.registered)
    queue.count += 1
    sift_up(queue, queue.count - 1, entry)


cdef int64_t deadline_of(const DeadlineQueue* queue, const DeadlineNode* node) noexcept nogil:
    """Return when the node is due; DEADLINE_NEVER if it isn't queued."""
    return queue.heap[node.index - 1].when if node.index != 0 else DEADLINE_NEVER


cdef DeadlineNode* deadline_pop(DeadlineQueue* queue, int64_t now) noexcept nogil:
    """Take out and return the first node due at `now`, or NULL."""
    cdef DeadlineNode* node
    if queue.count == 0 or queue.heap[0].when > now:
        return NULL
    node = queue.heap[0].node
    take_out(queue, node)
    return node


cdef void deadline_queue_release(DeadlineQueue* queue) noexcept nogil:
    """Free the memory and forget all nodes; the queue is empty and usable again."""
    free(queue.heap)
    queue.heap = NULL
    queue.count = queue.capacity = queue.registered = 0
    queue.order = 0
