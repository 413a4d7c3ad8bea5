# Undo: a reduction of cwnd that was a mistake, found by timestamps (Eifel) or by D-SACKs.
# Called by: recovery, frto; output (what was sent again).
# RFCs: 3522, 4015, 3708, 2883.

from libc.stdint cimport int64_t, uint32_t
from pystack.core.tcp.layer cimport Tcb, TcpLayer
from pystack.core.tcp.news cimport AckNews

# A reduction begins.
cdef void undo_start(Tcb* tcb) noexcept nogil
# Something was sent again now that counts as `segments`.
cdef void undo_retransmitted(TcpLayer* tcp, Tcb* tcb, uint32_t segments) noexcept nogil
# D-SACKs have told of `segments` sent again for nothing.
cdef void undo_duplicates(Tcb* tcb, uint32_t segments) noexcept nogil
# The ACK answers something sent before `sent_at` (RFC 3522 section 3.2 step 5).
cdef bint echo_is_before(const Tcb* tcb, const AckNews* news, int64_t sent_at) noexcept nogil
# Each True if it was done (of a partial ACK: if nothing more is to be sent again now).
cdef bint undo_by_duplicates(TcpLayer* tcp, Tcb* tcb) noexcept nogil
cdef bint undo_partial(TcpLayer* tcp, Tcb* tcb, const AckNews* news) noexcept nogil
cdef bint undo_loss(TcpLayer* tcp, Tcb* tcb, const AckNews* news, bint frto) noexcept nogil
# `recover` is acknowledged. True: without SACK the old state is kept for a while.
cdef bint undo_recovery(TcpLayer* tcp, Tcb* tcb, const AckNews* news) noexcept nogil
# Open, or Disorder if something is still in doubt.
cdef void keep_open(Tcb* tcb) noexcept nogil
# Something that is outstanding has been sent again; otherwise the next retransmission is the first.
cdef bint any_retransmission(const Tcb* tcb) noexcept nogil
cdef void first_retransmit_forget(Tcb* tcb) noexcept nogil
