# The scoreboard: what has been sent and not acknowledged, what of it the peer has, what is lost.
# Called by: output (adds), ack (acknowledges), recovery (marks and picks), timers.
# RFCs: 6675 sections 2 to 4, 2018 section 5, 6582.

from libc.stdint cimport int64_t, uint32_t
from pystack.core.tcp.layer cimport Sent, Tcb

# Remember a transmission of [seq, end). 0, or -1 when out of memory.
cdef int sent_push(Tcb* tcb, uint32_t seq, uint32_t end, int64_t now) noexcept nogil
# Everything before `ack` has arrived. *sent_at: when the newest of it was sent, 0 if Karn forbids a
# sample.
cdef void sent_acknowledge(Tcb* tcb, uint32_t ack, int64_t* sent_at) noexcept nogil
# The peer has [start, end). Returns the bytes that are news.
cdef uint32_t sent_sack(Tcb* tcb, uint32_t start, uint32_t end) noexcept nogil
# Mark what RFC 6675's IsLost() says is lost; True if something was.
cdef bint sent_mark_lost(Tcb* tcb) noexcept nogil
# Mark the first `size` bytes outstanding as lost (NewReno); True if they were not.
cdef bint sent_mark_first_lost(Tcb* tcb, uint32_t size) noexcept nogil
# Everything that was not selectively acknowledged is lost (RTO); with `reneged`, that too.
cdef void sent_mark_all_lost(Tcb* tcb, bint reneged) noexcept nogil
# Lost for a reason that is known: segments that were larger than `size` (path MTU).
cdef void sent_mark_too_big(Tcb* tcb, uint32_t size) noexcept nogil
# What to retransmit next: lost and not yet retransmitted, cut to at most `size` bytes; NULL:
# nothing.
cdef Sent* sent_next_lost(Tcb* tcb, uint32_t size) noexcept nogil
# RFC 6675 NextSeg rule 3: not lost, but below something that has arrived. (The flags say what
# HighRxt would.)
cdef Sent* sent_next_doubtful(Tcb* tcb, uint32_t size) noexcept nogil
# The last record, cut to its last `size` bytes at most: rescue retransmission (rule 4).
cdef Sent* sent_last(Tcb* tcb, uint32_t size) noexcept nogil
cdef void sent_retransmitted(Tcb* tcb, Sent* sent, int64_t now) noexcept nogil
cdef bint sent_head_is_sacked(const Tcb* tcb) noexcept nogil


cdef inline uint32_t sent_pipe(const Tcb* tcb) noexcept nogil:
    """Bytes believed to be in the network (RFC 6675 SetPipe)."""
    cdef uint32_t flight = tcb.snd_nxt - tcb.snd_una
    # Without SACK sacked_bytes is an estimate, which what is lost may overlap.
    return flight - min(flight, tcb.sacked_bytes + tcb.lost_bytes - tcb.retransmitted_bytes)
