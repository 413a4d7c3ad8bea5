# The scoreboard: what has been sent and not acknowledged, what of it the peer has, what is lost.
# Called by: output (adds), arrival (acknowledges), rack and recovery (mark), timers.
# RFCs: 6675 sections 2 to 4, 2018 section 5, 6582, 8985 section 5.1.

from libc.stdint cimport int64_t, uint8_t, uint32_t
from pystack.core.tcp.layer cimport SENT_FIN, Sent, SentQueue, Tcb, TcpBusy

# Remember a transmission of [seq, end) in segments of `mss`; flags: SENT_FIN and SENT_PUSHED. 0,
# or -1 when out of memory.
cdef int sent_push(
        Tcb* tcb, uint32_t seq, uint32_t end, uint32_t mss, uint8_t flags,
        int64_t now) noexcept nogil
# Give the memory back.
cdef void sent_release(SentQueue* queue) noexcept nogil
# The oldest record; NULL if nothing is outstanding.
cdef Sent* sent_first(const Tcb* tcb) noexcept nogil
# Cut record number `at` in two at `seq`; the first half, or NULL when out of memory.
cdef Sent* sent_split(Tcb* tcb, uint32_t at, uint32_t seq) noexcept nogil
# `count` segments of this record are not outstanding any more: they leave every sum they are in.
cdef void sent_discount(Tcb* tcb, const Sent* sent, uint32_t segments) noexcept nogil
# It is lost, or its retransmission is.
cdef void sent_mark_lost(Tcb* tcb, Sent* sent) noexcept nogil
# The first segment outstanding is lost (NewReno).
cdef void sent_mark_first_lost(Tcb* tcb) noexcept nogil
# IsLost() of RFC 6675, for who does without RACK; True if something was marked.
cdef bint sent_mark_lost_by_count(Tcb* tcb) noexcept nogil
# Nothing is lost after all (undo).
cdef void sent_unmark_lost(Tcb* tcb) noexcept nogil
# What was larger than `size` is lost for a reason that is known (path MTU); True if something was.
cdef bint sent_mark_too_big(Tcb* tcb, uint32_t size) noexcept nogil
# What to retransmit next: lost and not yet retransmitted, cut to at most `size` bytes, whole
# segments of `mss`; NULL: nothing.
cdef Sent* sent_next_lost(Tcb* tcb, uint32_t size, uint32_t mss) noexcept nogil
# RFC 6675 NextSeg rule 3: not lost, but below something that has arrived.
cdef Sent* sent_next_doubtful(Tcb* tcb, uint32_t size, uint32_t mss) noexcept nogil
# The last segment outstanding: tail loss probe, rescue retransmission (RFC 6675 NextSeg rule 4).
cdef Sent* sent_last(Tcb* tcb, uint32_t mss) noexcept nogil
# The first `size` bytes of a record: whole segments of `mss` if there is one, or less than one;
# NULL when out of memory.
cdef Sent* sent_begin(Tcb* tcb, Sent* sent, uint32_t size, uint32_t mss) noexcept nogil
# It goes out again now.
cdef void sent_again(Tcb* tcb, Sent* sent, int64_t now) noexcept nogil
# The same, and it counts as in the network until something is heard of it.
cdef void sent_retransmitted(Tcb* tcb, Sent* sent, int64_t now) noexcept nogil


cdef inline uint32_t sent_segments(const Sent* sent) noexcept nogil:
    cdef uint32_t length = sent.end - sent.seq - (1 if sent.flags & SENT_FIN else 0)
    return 1 if length <= sent.mss else (length + sent.mss - 1) // sent.mss


cdef inline uint32_t sent_highest_sacked(const Tcb* tcb) noexcept nogil:
    """End of the highest selective acknowledgment; SND.UNA if there is none."""
    if tcb.busy.sacked_out == 0 or not tcb.sack_ok:
        return tcb.snd_una
    return tcb.busy.highest_sacked


cdef inline uint32_t sent_in_flight(const Tcb* tcb) noexcept nogil:
    """Segments believed to be in the network (RFC 6675 SetPipe)."""
    # Without SACK sacked_out is an estimate.
    cdef const TcpBusy* busy = tcb.busy
    return (busy.packets_out - min(busy.packets_out, busy.sacked_out + busy.lost_out)
            + busy.retrans_out)


cdef inline uint32_t sent_pipe(const Tcb* tcb) noexcept nogil:
    """The same in bytes. As Linux, a short segment counts as a whole one: cwnd is segments too."""
    return sent_in_flight(tcb) * tcb.smss
