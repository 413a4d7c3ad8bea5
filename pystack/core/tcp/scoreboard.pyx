# The scoreboard: what has been sent and not acknowledged, what of it the peer has, what is lost.
# Called by: output (adds), ack (acknowledges), recovery (marks and picks), timers.
# RFCs: 6675 sections 2 to 4, 2018 section 5, 6582.

from libc.stdint cimport int64_t, uint32_t
from libc.stdlib cimport realloc
from libc.string cimport memmove
from pystack.core.tcp.layer cimport (
    SENT_EVER_RETRANSMITTED, SENT_LOST, SENT_RETRANSMITTED, SENT_SACKED, Sent, SentQueue, Tcb,
    TcpBusy,
)
from pystack.core.tcp.tcb cimport tcb_busy
from pystack.core.wire.tcp cimport seq_ge, seq_gt, seq_le, seq_lt, seq_max

cdef enum:
    DUP_THRESH = 3          # RFC 6675 section 2
    FIRST_CAPACITY = 4


cdef int make_room(SentQueue* queue) noexcept nogil:
    """Room for one more record at the end. 0, or -1 when out of memory."""
    cdef Sent* grown
    cdef uint32_t capacity
    if queue.first + queue.count < queue.capacity:
        return 0
    if queue.first > queue.capacity // 2:
        memmove(queue.items, queue.items + queue.first, queue.count * sizeof(Sent))
        queue.first = 0
        return 0
    capacity = max(2 * queue.capacity, <uint32_t>FIRST_CAPACITY)
    grown = <Sent*>realloc(queue.items, capacity * sizeof(Sent))
    if grown == NULL:
        return -1
    queue.items = grown
    queue.capacity = capacity
    return 0


cdef int sent_push(Tcb* tcb, uint32_t seq, uint32_t end, int64_t now) noexcept nogil:
    """Remember a transmission. 0, or -1 when out of memory."""
    cdef TcpBusy* busy = tcb_busy(tcb)
    cdef Sent* sent
    if busy == NULL or make_room(&busy.sent) < 0:
        return -1
    sent = busy.sent.items + busy.sent.first + busy.sent.count
    busy.sent.count += 1
    sent.seq = seq
    sent.end = end
    sent.sent_at = now
    sent.flags = 0
    return 0


cdef void discount(Tcb* tcb, const Sent* sent, uint32_t size) noexcept nogil:
    """Take `size` bytes of a record out of the sums that its flags put them in."""
    if sent.flags & SENT_SACKED:
        tcb.sacked_bytes -= size
    if sent.flags & SENT_LOST:
        tcb.lost_bytes -= size
    if sent.flags & SENT_RETRANSMITTED:
        tcb.retransmitted_bytes -= size


cdef void sent_acknowledge(Tcb* tcb, uint32_t ack, int64_t* sent_at) noexcept nogil:
    """Forget everything before `ack`.

    *sent_at: when the newest of it was sent; 0 if Karn's algorithm forbids a sample, because some
    of it was retransmitted and the rest may have waited for that (RFC 6298 section 3).
    """
    cdef SentQueue* queue
    cdef Sent* sent
    cdef bint retransmitted = False
    sent_at[0] = 0
    if tcb.busy == NULL:
        return
    queue = &tcb.busy.sent
    while queue.count:
        sent = queue.items + queue.first
        if seq_ge(sent.seq, ack):
            break
        retransmitted = retransmitted or sent.flags & SENT_EVER_RETRANSMITTED != 0
        if not sent.flags & SENT_SACKED:
            sent_at[0] = sent.sent_at
        if seq_gt(sent.end, ack):
            discount(tcb, sent, ack - sent.seq)
            sent.seq = ack
            break
        discount(tcb, sent, sent.end - sent.seq)
        queue.first += 1
        queue.count -= 1
    if retransmitted:
        sent_at[0] = 0
    if queue.count == 0:
        queue.first = 0


cdef Sent* split(Tcb* tcb, uint32_t at, uint32_t seq) noexcept nogil:
    """Cut record number `at` in two at `seq`; the first half, or NULL when out of memory."""
    cdef SentQueue* queue = &tcb.busy.sent
    cdef Sent* sent
    if make_room(queue) < 0:
        return NULL
    sent = queue.items + queue.first + at
    memmove(sent + 1, sent, (queue.count - at) * sizeof(Sent))
    queue.count += 1
    sent[0].end = seq
    sent[1].seq = seq
    return sent


cdef uint32_t sent_sack(Tcb* tcb, uint32_t start, uint32_t end) noexcept nogil:
    """Mark [start, end) as arrived; return the bytes for which that is news."""
    cdef SentQueue* queue
    cdef Sent* sent
    cdef uint32_t news = 0
    cdef uint32_t at = 0
    if tcb.busy == NULL:
        return 0
    queue = &tcb.busy.sent
    while at < queue.count:
        sent = queue.items + queue.first + at
        if seq_ge(sent.seq, end):
            break
        if seq_le(sent.end, start) or sent.flags & SENT_SACKED:
            at += 1
            continue
        if seq_lt(sent.seq, start):
            if split(tcb, at, start) == NULL:
                break
            at += 1
            continue
        if seq_gt(sent.end, end):
            sent = split(tcb, at, end)
            if sent == NULL:
                break
        discount(tcb, sent, sent.end - sent.seq)
        sent.flags = (sent.flags & SENT_EVER_RETRANSMITTED) | SENT_SACKED
        tcb.sacked_bytes += sent.end - sent.seq
        news += sent.end - sent.seq
        at += 1
    return news


cdef void mark_lost(Tcb* tcb, Sent* sent) noexcept nogil:
    if sent.flags & SENT_RETRANSMITTED:
        tcb.retransmitted_bytes -= sent.end - sent.seq
    if not sent.flags & SENT_LOST:
        tcb.lost_bytes += sent.end - sent.seq
    sent.flags = (sent.flags | SENT_LOST) & ~SENT_RETRANSMITTED


cdef bint sent_mark_lost(Tcb* tcb) noexcept nogil:
    """RFC 6675 IsLost(): DupThresh separate arrivals above, or more than (DupThresh - 1) SMSS
    bytes.
    """
    cdef SentQueue* queue
    cdef Sent* sent
    cdef uint32_t arrivals = 0
    cdef uint32_t above = 0
    cdef uint32_t at
    cdef bint marked = False
    cdef bint in_run = False
    if tcb.busy == NULL:
        return False
    queue = &tcb.busy.sent
    at = queue.count
    while at:
        at -= 1
        sent = queue.items + queue.first + at
        if sent.flags & SENT_SACKED:
            above += sent.end - sent.seq
            arrivals += not in_run
            in_run = True
            continue
        in_run = False
        if sent.flags & (SENT_LOST | SENT_RETRANSMITTED):
            continue
        if arrivals >= DUP_THRESH or above > (DUP_THRESH - 1) * tcb.smss:
            mark_lost(tcb, sent)
            marked = True
    return marked


cdef bint sent_mark_first_lost(Tcb* tcb, uint32_t size) noexcept nogil:
    """The segment at snd_una is lost (RFC 6582 section 3.2 steps 2 and 3)."""
    cdef Sent* sent
    if tcb.busy == NULL or tcb.busy.sent.count == 0:
        return False
    sent = tcb.busy.sent.items + tcb.busy.sent.first
    if sent.flags & (SENT_SACKED | SENT_LOST):
        return False
    if sent.end - sent.seq > size:
        sent = split(tcb, 0, sent.seq + size)
        if sent == NULL:
            return False
    mark_lost(tcb, sent)
    return True


cdef void sent_mark_all_lost(Tcb* tcb, bint reneged) noexcept nogil:
    """After a timeout nothing is in the network any more but what has arrived (RFC 6675 section
    5.1).

    reneged: the peer has thrown away what it had acknowledged selectively (RFC 2018 section 8).
    """
    cdef SentQueue* queue
    cdef Sent* sent
    cdef uint32_t at
    if tcb.busy == NULL:
        return
    queue = &tcb.busy.sent
    for at in range(queue.count):
        sent = queue.items + queue.first + at
        if sent.flags & SENT_SACKED:
            if not reneged:
                continue
            tcb.sacked_bytes -= sent.end - sent.seq
            sent.flags &= ~SENT_SACKED
        mark_lost(tcb, sent)


cdef void sent_mark_too_big(Tcb* tcb, uint32_t size) noexcept nogil:
    """A router dropped what was larger than `size` (RFC 1191 section 6.4: retransmit without
    delay).
    """
    cdef SentQueue* queue
    cdef Sent* sent
    cdef uint32_t at
    if tcb.busy == NULL:
        return
    queue = &tcb.busy.sent
    for at in range(queue.count):
        sent = queue.items + queue.first + at
        if not sent.flags & SENT_SACKED and sent.end - sent.seq > size:
            mark_lost(tcb, sent)


cdef Sent* cut(Tcb* tcb, uint32_t at, uint32_t size) noexcept nogil:
    """Record number `at`, cut to its first `size` bytes if it is longer."""
    cdef Sent* sent = tcb.busy.sent.items + tcb.busy.sent.first + at
    if sent.end - sent.seq <= size:
        return sent
    return split(tcb, at, sent.seq + size)


cdef Sent* sent_next_lost(Tcb* tcb, uint32_t size) noexcept nogil:
    """RFC 6675 NextSeg rule 1: the first that is lost and not yet retransmitted; NULL if there is
    none.
    """
    cdef SentQueue* queue
    cdef Sent* sent
    cdef uint32_t at
    if tcb.lost_bytes == 0 or tcb.lost_bytes == tcb.retransmitted_bytes:
        return NULL
    queue = &tcb.busy.sent
    for at in range(queue.count):
        sent = queue.items + queue.first + at
        if sent.flags & (SENT_LOST | SENT_RETRANSMITTED) == SENT_LOST:
            return cut(tcb, at, size)
    return NULL


cdef Sent* sent_next_doubtful(Tcb* tcb, uint32_t size) noexcept nogil:
    """RFC 6675 NextSeg rule 3: below the highest arrival, not lost, not yet retransmitted; NULL if
    none.
    """
    cdef SentQueue* queue
    cdef Sent* sent
    cdef uint32_t at
    cdef uint32_t highest = tcb.snd_una
    if tcb.sacked_bytes == 0 or tcb.busy == NULL:
        return NULL
    queue = &tcb.busy.sent
    for at in range(queue.count):
        sent = queue.items + queue.first + at
        if sent.flags & SENT_SACKED:
            highest = seq_max(highest, sent.end)
    for at in range(queue.count):
        sent = queue.items + queue.first + at
        if seq_ge(sent.seq, highest):
            return NULL
        if sent.flags & (SENT_SACKED | SENT_LOST | SENT_RETRANSMITTED):
            continue
        return cut(tcb, at, size)
    return NULL


cdef Sent* sent_last(Tcb* tcb, uint32_t size) noexcept nogil:
    """The last segment outstanding, for the rescue retransmission (RFC 6675 NextSeg rule 4)."""
    cdef SentQueue* queue
    cdef Sent* sent
    if tcb.busy == NULL or tcb.busy.sent.count == 0:
        return NULL
    queue = &tcb.busy.sent
    sent = queue.items + queue.first + queue.count - 1
    if sent.flags & (SENT_SACKED | SENT_RETRANSMITTED):
        return NULL
    if sent.end - sent.seq <= size:
        return sent
    if split(tcb, queue.count - 1, sent.end - size) == NULL:
        return NULL
    return queue.items + queue.first + queue.count - 1


cdef void sent_retransmitted(Tcb* tcb, Sent* sent, int64_t now) noexcept nogil:
    if not sent.flags & SENT_RETRANSMITTED:
        tcb.retransmitted_bytes += sent.end - sent.seq
    if not sent.flags & SENT_LOST:
        tcb.lost_bytes += sent.end - sent.seq
    sent.flags |= SENT_LOST | SENT_RETRANSMITTED | SENT_EVER_RETRANSMITTED
    sent.sent_at = now


cdef bint sent_head_is_sacked(const Tcb* tcb) noexcept nogil:
    """The peer holds what follows snd_una but did not acknowledge it: it has reneged (RFC 2018
    section 8).
    """
    cdef const SentQueue* queue
    if tcb.busy == NULL:
        return False
    queue = &tcb.busy.sent
    return queue.count != 0 and queue.items[queue.first].flags & SENT_SACKED
