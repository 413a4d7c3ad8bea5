# The scoreboard: what has been sent and not acknowledged, what of it the peer has, what is lost.
# Called by: output (adds), arrival (acknowledges), rack and recovery (mark), timers.
# RFCs: 6675 sections 2 to 4, 2018 section 5, 6582, 8985 section 5.1.

from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t
from libc.stdlib cimport free, malloc, realloc
from libc.string cimport memcpy, memmove, memset
from pystack.core.tcp.layer cimport (
    FEW_SENT, SENT_EVER_RETRANSMITTED, SENT_FIN, SENT_JUDGED, SENT_LOST, SENT_PUSHED,
    SENT_RETRANSMITTED, SENT_SACKED, Sent, SentOrder, SentQueue, Tcb, TcpBusy, TcpRare,
)
from pystack.core.tcp.rate cimport rate_sent
from pystack.core.tcp.busy cimport tcb_rare
from pystack.core.tcp.sent_order cimport (
    order_append, order_extend, order_has, order_remove, order_split, sent_find,
)
from pystack.core.wire.tcp cimport seq_ge, seq_lt

cdef enum:
    DUP_THRESH = 3          # RFC 6675 section 2


cdef int make_room(SentQueue* queue) noexcept nogil:
    """Room for one more record at the end. 0, or -1 when out of memory."""
    cdef Sent* grown
    if queue.first + queue.count < queue.capacity:
        return 0
    if queue.first > queue.capacity // 2:
        memmove(queue.items, queue.items + queue.first, queue.count * sizeof(Sent))
        queue.first = 0
        return 0
    if queue.items == NULL:
        queue.items = queue.few
        queue.capacity = FEW_SENT
        return 0
    if queue.items != queue.few:
        grown = <Sent*>realloc(queue.items, 2 * queue.capacity * sizeof(Sent))
    else:
        grown = <Sent*>malloc(2 * FEW_SENT * sizeof(Sent))
        if grown != NULL:
            memcpy(grown, queue.few, sizeof(queue.few))
    if grown == NULL:
        return -1
    queue.items = grown
    queue.capacity *= 2
    return 0


cdef void sent_release(SentQueue* queue) noexcept nogil:
    if queue.items != queue.few:
        free(queue.items)
    queue.items = NULL
    queue.first = queue.count = queue.capacity = 0
    memset(&queue.order, 0, sizeof(SentOrder))


cdef int sent_push(
        Tcb* tcb, uint32_t seq, uint32_t end, uint32_t mss, uint8_t flags,
        int64_t now) noexcept nogil:
    cdef TcpBusy* busy = tcb.busy
    cdef Sent* sent
    if make_room(&busy.sent) < 0:
        return -1
    sent = busy.sent.items + busy.sent.first + busy.sent.count
    busy.sent.count += 1
    sent.seq = seq
    sent.end = end
    sent.mss = <uint16_t>mss
    sent.flags = flags
    rate_sent(tcb, sent, now)
    order_append(&busy.sent, busy.sent.count - 1)
    tcb.busy.packets_out += sent_segments(sent)
    return 0


cdef Sent* sent_first(const Tcb* tcb) noexcept nogil:
    if tcb.busy.sent.count == 0:
        return NULL
    return tcb.busy.sent.items + tcb.busy.sent.first


cdef void adjust(Tcb* tcb, uint8_t flags, int32_t segments) noexcept nogil:
    """Put segments with these flags into every sum that they belong to; negative: take out."""
    tcb.busy.packets_out += segments
    if flags & SENT_SACKED:
        tcb.busy.sacked_out += segments
    if flags & SENT_LOST:
        tcb.busy.lost_out += segments
    if flags & SENT_RETRANSMITTED:
        tcb.busy.retrans_out += segments
    elif flags & SENT_LOST:
        tcb.busy.to_repeat += segments


cdef void sent_discount(Tcb* tcb, const Sent* sent, uint32_t segments) noexcept nogil:
    adjust(tcb, sent.flags, -<int32_t>segments)


cdef Sent* sent_split(Tcb* tcb, uint32_t at, uint32_t seq) noexcept nogil:
    cdef SentQueue* queue = &tcb.busy.sent
    cdef Sent* sent
    cdef uint32_t before
    if make_room(queue) < 0:
        return NULL
    sent = queue.items + queue.first + at
    before = sent_segments(sent)
    memmove(sent + 1, sent, (queue.count - at) * sizeof(Sent))
    queue.count += 1
    sent[0].end = seq
    sent[0].flags &= ~(SENT_FIN | SENT_PUSHED)
    sent[1].seq = seq
    if order_has(sent):
        order_split(queue, at)
    adjust(tcb, sent[0].flags, sent_segments(sent) + sent_segments(sent + 1) - before)
    return sent


cdef void note_to_repeat(Tcb* tcb, const Sent* sent, uint32_t segments) noexcept nogil:
    if tcb.busy.to_repeat == 0 or seq_lt(sent.seq, tcb.busy.repeat_from):
        tcb.busy.repeat_from = sent.seq
    tcb.busy.to_repeat += segments


cdef void sent_mark_lost(Tcb* tcb, Sent* sent) noexcept nogil:
    cdef uint32_t segments = sent_segments(sent)
    if sent.flags & SENT_SACKED:
        return
    if not sent.flags & SENT_LOST:
        # What was retransmitted without having been lost keeps that mark: it is still under way.
        sent.flags |= SENT_LOST
        tcb.busy.lost_out += segments
        if not sent.flags & SENT_RETRANSMITTED:
            note_to_repeat(tcb, sent, segments)
    elif sent.flags & SENT_RETRANSMITTED:
        sent.flags &= ~SENT_RETRANSMITTED
        tcb.busy.retrans_out -= segments
        note_to_repeat(tcb, sent, segments)
    else:
        return
    cdef TcpRare* rare = tcb_rare(tcb)
    if rare != NULL:
        rare.lost += segments


cdef void sent_mark_first_lost(Tcb* tcb) noexcept nogil:
    """The segment at snd_una is lost (RFC 6582 section 3.2 steps 2 and 3)."""
    cdef Sent* sent = sent_first(tcb)
    if sent == NULL or sent.flags & SENT_LOST:
        return
    if sent_segments(sent) > 1:
        sent = sent_split(tcb, 0, sent.seq + sent.mss)
        if sent == NULL:
            return
    sent_mark_lost(tcb, sent)


cdef bint sent_mark_lost_by_count(Tcb* tcb) noexcept nogil:
    """RFC 6675 IsLost(): DupThresh segments above have arrived."""
    cdef SentQueue* queue
    cdef Sent* sent
    cdef uint32_t above = 0
    cdef uint32_t at
    cdef bint marked = False
    if tcb.busy.sacked_out < tcb.reordering:
        return False
    queue = &tcb.busy.sent
    at = queue.count
    while at:
        at -= 1
        sent = queue.items + queue.first + at
        if sent.flags & SENT_SACKED:
            above += sent_segments(sent)
        elif above >= tcb.reordering and not sent.flags & (SENT_LOST | SENT_RETRANSMITTED):
            sent_mark_lost(tcb, sent)
            marked = True
    return marked


cdef void sent_unmark_lost(Tcb* tcb) noexcept nogil:
    cdef SentQueue* queue
    cdef uint32_t at
    tcb.busy.lost_out = tcb.busy.to_repeat = 0
    queue = &tcb.busy.sent
    queue.order.passed.is_set = False
    for at in range(queue.count):
        queue.items[queue.first + at].flags &= ~SENT_LOST


cdef bint sent_mark_too_big(Tcb* tcb, uint32_t size) noexcept nogil:
    """A router dropped what was larger than `size` (RFC 1191 section 6.4: retransmit without
    delay).
    """
    cdef SentQueue* queue
    cdef Sent* sent
    cdef uint32_t at
    cdef bint marked = False
    queue = &tcb.busy.sent
    for at in range(queue.count):
        sent = queue.items + queue.first + at
        if sent.flags & SENT_SACKED or min(sent.end - sent.seq, <uint32_t>sent.mss) <= size:
            continue
        if sent.flags & SENT_RETRANSMITTED:
            sent.flags &= ~SENT_RETRANSMITTED
            tcb.busy.retrans_out -= sent_segments(sent)
            if sent.flags & SENT_LOST:
                note_to_repeat(tcb, sent, sent_segments(sent))
        sent_mark_lost(tcb, sent)
        marked = True
    return marked


cdef Sent* cut(Tcb* tcb, uint32_t at, uint32_t size, uint32_t mss) noexcept nogil:
    """Record number `at` in segments of `mss`, and cut to its first `size` bytes."""
    cdef Sent* sent = tcb.busy.sent.items + tcb.busy.sent.first + at
    cdef uint32_t before
    if sent.mss != mss:
        before = sent_segments(sent)
        sent.mss = <uint16_t>mss
        adjust(tcb, sent.flags, sent_segments(sent) - before)
    if sent.end - sent.seq - (1 if sent.flags & SENT_FIN else 0) <= size:
        return sent
    return sent_split(tcb, at, sent.seq + max(size - size % sent.mss, <uint32_t>sent.mss))


cdef void collapse(Tcb* tcb, uint32_t at, uint32_t size) noexcept nogil:
    """Short segments that follow record number `at` travel with it, as far as one segment carries
    them.

    RFC 9293 section 3.8.6.2.1 allows to repacketize; as Linux, only what has not arrived.
    """
    cdef SentQueue* queue = &tcb.busy.sent
    cdef Sent* sent = queue.items + queue.first + at
    cdef Sent* next
    while at + 1 < queue.count:
        next = sent + 1
        if next.flags & SENT_SACKED or (
                next.end - sent.seq - (1 if next.flags & SENT_FIN else 0) > size):
            return
        adjust(tcb, sent.flags, -<int32_t>sent_segments(sent))
        adjust(tcb, next.flags, -<int32_t>sent_segments(next))
        if order_has(next):
            order_remove(queue, at + 1)
        if order_has(sent):
            order_extend(queue, at, next.end)
        sent.end = next.end
        sent.mss = <uint16_t>size
        sent.flags |= next.flags & (SENT_EVER_RETRANSMITTED | SENT_FIN)
        adjust(tcb, sent.flags, sent_segments(sent))
        queue.count -= 1
        memmove(next, next + 1, (queue.count - at - 1) * sizeof(Sent))


cdef Sent* sent_next_lost(Tcb* tcb, uint32_t size, uint32_t mss) noexcept nogil:
    """RFC 6675 NextSeg rule 1: the first that is lost and not yet retransmitted."""
    cdef SentQueue* queue
    cdef Sent* sent
    cdef uint32_t at
    if tcb.busy.to_repeat == 0:
        return NULL
    queue = &tcb.busy.sent
    for at in range(sent_find(queue, tcb.busy.repeat_from), queue.count):
        sent = queue.items + queue.first + at
        if sent.flags & (SENT_LOST | SENT_RETRANSMITTED) == SENT_LOST:
            tcb.busy.repeat_from = sent.seq
            if sent.end - sent.seq < mss:
                collapse(tcb, at, mss)
            return cut(tcb, at, size, mss)
    return NULL


cdef Sent* sent_next_doubtful(Tcb* tcb, uint32_t size, uint32_t mss) noexcept nogil:
    cdef SentQueue* queue
    cdef Sent* sent
    cdef uint32_t at
    cdef uint32_t highest = sent_highest_sacked(tcb)
    if tcb.busy.sacked_out == 0:
        return NULL
    queue = &tcb.busy.sent
    for at in range(queue.count):
        sent = queue.items + queue.first + at
        if seq_ge(sent.seq, highest):
            return NULL
        if not sent.flags & (SENT_SACKED | SENT_LOST | SENT_RETRANSMITTED):
            return cut(tcb, at, size, mss)
    return NULL


cdef Sent* sent_begin(Tcb* tcb, Sent* sent, uint32_t size, uint32_t mss) noexcept nogil:
    cdef SentQueue* queue = &tcb.busy.sent
    cdef uint32_t at = <uint32_t>(sent - queue.items - queue.first)
    cdef uint32_t length = sent.end - sent.seq - (1 if sent.flags & SENT_FIN else 0)
    if length <= size:
        return sent
    if size >= mss:
        return sent_split(tcb, at, sent.seq + size - size % mss)
    # The segments behind it begin where they did.
    if length > mss and sent_split(tcb, at, sent.seq + mss) == NULL:
        return NULL
    return sent_split(tcb, at, sent.seq + size)


cdef Sent* sent_last(Tcb* tcb, uint32_t mss) noexcept nogil:
    cdef SentQueue* queue
    cdef Sent* sent
    cdef uint32_t segments
    if tcb.busy.sent.count == 0:
        return NULL
    queue = &tcb.busy.sent
    sent = cut(tcb, queue.count - 1, 0xFFFFFFFF, mss)
    segments = sent_segments(sent)
    if segments > 1:
        if sent_split(tcb, queue.count - 1, sent.seq + (segments - 1) * sent.mss) == NULL:
            return NULL
    return queue.items + queue.first + queue.count - 1


cdef void sent_again(Tcb* tcb, Sent* sent, int64_t now) noexcept nogil:
    cdef uint32_t at = <uint32_t>(sent - sent_first(tcb))
    if order_has(sent):
        order_remove(&tcb.busy.sent, at)
    sent.flags = (sent.flags | SENT_EVER_RETRANSMITTED) & ~SENT_JUDGED
    rate_sent(tcb, sent, now)
    if order_has(sent):
        order_append(&tcb.busy.sent, at)
    cdef TcpRare* rare = tcb_rare(tcb)
    if rare != NULL:
        rare.total_retransmitted += sent_segments(sent)


cdef void sent_retransmitted(Tcb* tcb, Sent* sent, int64_t now) noexcept nogil:
    sent_again(tcb, sent, now)
    if not sent.flags & SENT_RETRANSMITTED:
        sent.flags |= SENT_RETRANSMITTED
        tcb.busy.retrans_out += sent_segments(sent)
        if sent.flags & SENT_LOST:
            tcb.busy.to_repeat -= sent_segments(sent)
