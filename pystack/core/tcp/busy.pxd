# Waking and resting: a connection has what only motion needs (TcpBusy) from its first segment, call
# or timer on, until it has been at rest for a while.
# Called by: input, calls, settings, errors, timers (tcb_wake), tcb (the life of a TCB), stack
#   (tcp_rest).
# RFCs: none.

from pystack.core.tcp.layer cimport Tcb, TcpBusy, TcpLayer, TcpRare

cdef bint busy_watch(TcpLayer* tcp, Tcb* tcb) noexcept nogil
# Nothing in it is needed any more, or it is lost; tcb.busy may still be read.
cdef void tcb_put_to_rest(TcpLayer* tcp, Tcb* tcb) noexcept nogil
# For TCBs that are being made: neither is there, both may be read.
cdef void busy_init(Tcb* tcb) noexcept nogil
# To be called when tcp.rest is due.
cdef void tcp_rest(TcpLayer* tcp) noexcept nogil
# To be written; NULL when out of memory.
cdef TcpRare* tcb_rare(Tcb* tcb) noexcept nogil
cdef void rare_release(Tcb* tcb) noexcept nogil


cdef inline bint tcb_is_awake(const Tcb* tcb) noexcept nogil:
    """tcb.busy may be written."""
    return tcb.busy.tcb != NULL


cdef inline bint tcb_wake(TcpLayer* tcp, Tcb* tcb) noexcept nogil:
    """Let tcb.busy be written; False when out of memory (counted). Every way into the layer that
    may write begins with it, and what takes away a reason to be awake.
    """
    return tcb.busy.watched or busy_watch(tcp, tcb)
