# RACK: what was sent before something that has arrived, and long enough ago, is lost.
# Called by: arrival (each delivery), recovery (detection), timers (the reordering timer), undo.
# RFCs: 8985 sections 5 and 6.

from libc.stdint cimport int64_t, uint8_t, uint32_t
from pystack.core.tcp.layer cimport Tcb, TcpLayer
from pystack.core.tcp.news cimport AckNews

# RACK decides what is lost; otherwise duplicate ACKs are counted.
cdef bint rack_is_on(const TcpLayer* tcp, const Tcb* tcb) noexcept nogil
# A segment has arrived whose record has these flags, ends at `end` and was last sent at `sent_at`.
cdef void rack_advance(
        TcpLayer* tcp, Tcb* tcb, uint8_t flags, uint32_t end, int64_t sent_at) noexcept nogil
# Mark what is lost; returns ns until more may be, or 0.
cdef int64_t rack_detect_loss(TcpLayer* tcp, Tcb* tcb) noexcept nogil
# After an ACK: mark what is lost, and wait for the rest; True if the reordering timer was started.
cdef bint rack_mark_lost(TcpLayer* tcp, Tcb* tcb) noexcept nogil
# D-SACKs widen the reordering window, their absence narrows it.
cdef void rack_update_window(TcpLayer* tcp, Tcb* tcb, const AckNews* news) noexcept nogil
# ns until something sent at `sent_at` is overdue; not positive: it is.
cdef int64_t rack_overdue(
        const TcpLayer* tcp, const Tcb* tcb, int64_t sent_at, int64_t window) noexcept nogil
# Several recoveries without a D-SACK, counted down or up.
cdef void rack_persist(Tcb* tcb, int change) noexcept nogil
