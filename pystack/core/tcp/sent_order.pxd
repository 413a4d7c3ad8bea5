# The records of the scoreboard in order of their last transmission: what RACK judges, oldest first.
# Called by: scoreboard, arrival, rack.
# RFCs: 8985 section 6.2 step 5.
#
# In it is what has neither arrived nor been judged. Records move in their array, and are split: so
# the links are sequence numbers, which a binary search resolves. To the next newer one leads the
# first number that it had, to the next older one the last: so they still hold when it is split.

from libc.stdint cimport uint32_t
from pystack.core.tcp.layer cimport SENT_JUDGED, SENT_SACKED, Sent, SentMark, SentQueue

cdef enum:
    NO_RECORD = 0xFFFFFFFF

# Number of the first record that ends beyond `seq`.
cdef uint32_t sent_find(const SentQueue* queue, uint32_t seq) noexcept nogil
# The same, if it is likely to be a neighbour of record number `at`.
cdef uint32_t sent_find_near(const SentQueue* queue, uint32_t at, uint32_t seq) noexcept nogil
# Record number `at` has been sent, last of all; it is not in the order.
cdef void order_append(SentQueue* queue, uint32_t at) noexcept nogil
# Out of the order.
cdef void order_remove(SentQueue* queue, uint32_t at) noexcept nogil
# Record number `at` is cut in two: the second half is number `at` + 1.
cdef void order_split(SentQueue* queue, uint32_t at) noexcept nogil
# The end of record number `at` moves up to `end`.
cdef void order_extend(SentQueue* queue, uint32_t at, uint32_t end) noexcept nogil
# Number of the record that was sent next after this one, or before it; NO_RECORD: none.
cdef uint32_t order_newer(const SentQueue* queue, uint32_t at) noexcept nogil
cdef uint32_t order_older(const SentQueue* queue, uint32_t at) noexcept nogil
# Number of the first record after a mark; NO_RECORD: none.
cdef uint32_t order_after(const SentQueue* queue, const SentMark* mark) noexcept nogil
# Move a mark to this record.
cdef void order_mark(SentMark* mark, const Sent* sent) noexcept nogil


cdef inline bint order_has(const Sent* sent) noexcept nogil:
    return not sent.flags & (SENT_SACKED | SENT_JUDGED)
