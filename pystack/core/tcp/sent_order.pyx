# The records of the scoreboard in order of their last transmission: what RACK judges, oldest first.
# Called by: scoreboard, arrival, rack.
# RFCs: 8985 section 6.2 step 5.

from libc.stdint cimport uint32_t
from pystack.core.tcp.layer cimport Sent, SentMark, SentOrder, SentQueue
from pystack.core.wire.tcp cimport seq_ge, seq_gt, seq_lt


cdef uint32_t sent_find(const SentQueue* queue, uint32_t seq) noexcept nogil:
    cdef uint32_t low = 0
    cdef uint32_t high = queue.count
    cdef uint32_t middle
    while low < high:
        middle = (low + high) // 2
        if seq_gt(queue.items[queue.first + middle].end, seq):
            high = middle
        else:
            low = middle + 1
    return low


cdef inline bint holds(const SentQueue* queue, uint32_t at, uint32_t seq) noexcept nogil:
    """A search for `seq` would find this record: the first one also for what was acknowledged."""
    cdef const Sent* sent = queue.items + queue.first + at
    return seq_lt(seq, sent.end) and (at == 0 or seq_ge(seq, sent.seq))


cdef uint32_t sent_find_near(const SentQueue* queue, uint32_t at, uint32_t seq) noexcept nogil:
    if at + 1 < queue.count and holds(queue, at + 1, seq):
        return at + 1
    if at and holds(queue, at - 1, seq):
        return at - 1
    return sent_find(queue, seq)


cdef void order_append(SentQueue* queue, uint32_t at) noexcept nogil:
    cdef SentOrder* order = &queue.order
    cdef Sent* sent = queue.items + queue.first + at
    if order.count:
        queue.items[queue.first + sent_find_near(queue, at, order.newest)].newer = sent.seq
        sent.older = order.newest
    else:
        order.oldest = sent.seq
    order.newest = sent.end - 1
    order.count += 1


cdef void withdraw(const SentQueue* queue, uint32_t at, bint oldest, SentMark* mark) noexcept nogil:
    """A mark at a record that leaves the order: it is now at the one before."""
    if mark.is_set and holds(queue, at, mark.last):
        mark.is_set = not oldest
        mark.last = queue.items[queue.first + at].older


cdef void order_remove(SentQueue* queue, uint32_t at) noexcept nogil:
    cdef SentOrder* order = &queue.order
    cdef const Sent* sent = queue.items + queue.first + at
    cdef bint oldest = holds(queue, at, order.oldest)
    withdraw(queue, at, oldest, &order.overtaken)
    withdraw(queue, at, oldest, &order.passed)
    if holds(queue, at, order.newest):
        order.newest = sent.older
    elif not oldest:
        queue.items[queue.first + sent_find_near(queue, at, sent.newer)].older = sent.older
    if oldest:
        order.oldest = sent.newer
    else:
        queue.items[queue.first + sent_find_near(queue, at, sent.older)].newer = sent.newer
    order.count -= 1


cdef void order_split(SentQueue* queue, uint32_t at) noexcept nogil:
    cdef Sent* halves = queue.items + queue.first + at
    halves[0].newer = halves[1].seq
    halves[1].older = halves[0].end - 1
    queue.order.count += 1


cdef void prolong(const SentQueue* queue, uint32_t at, uint32_t* last, uint32_t end) noexcept nogil:
    if holds(queue, at, last[0]):
        last[0] = end - 1


cdef void order_extend(SentQueue* queue, uint32_t at, uint32_t end) noexcept nogil:
    cdef uint32_t newer = order_newer(queue, at)
    if newer != NO_RECORD:
        queue.items[queue.first + newer].older = end - 1
    prolong(queue, at, &queue.order.newest, end)
    prolong(queue, at, &queue.order.overtaken.last, end)
    prolong(queue, at, &queue.order.passed.last, end)


cdef uint32_t order_newer(const SentQueue* queue, uint32_t at) noexcept nogil:
    if holds(queue, at, queue.order.newest):
        return NO_RECORD
    return sent_find_near(queue, at, queue.items[queue.first + at].newer)


cdef uint32_t order_older(const SentQueue* queue, uint32_t at) noexcept nogil:
    if holds(queue, at, queue.order.oldest):
        return NO_RECORD
    return sent_find_near(queue, at, queue.items[queue.first + at].older)


cdef uint32_t order_after(const SentQueue* queue, const SentMark* mark) noexcept nogil:
    if queue.order.count == 0:
        return NO_RECORD
    if mark.is_set:
        return order_newer(queue, sent_find(queue, mark.last))
    return sent_find(queue, queue.order.oldest)


cdef void order_mark(SentMark* mark, const Sent* sent) noexcept nogil:
    mark.last = sent.end - 1
    mark.is_set = True
