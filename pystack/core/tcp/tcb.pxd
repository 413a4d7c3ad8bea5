# The life of a TCB: made, moved between states, timed, ended, freed.
# Called by: every file of tcp/, stack.
# RFCs: 9293 sections 3.3.1, 3.3.2 and 3.10.7.

from libc.stdint cimport int64_t, uint32_t
from pystack.core.tcp.config cimport TcpConfig, TcpSettings
from pystack.core.tcp.layer cimport Tcb, TcbList, TcpLayer, TcpState

# A TCB in CLOSED, awake, with the settings of its parent (NULL: the stack's). NULL: out of memory.
cdef Tcb* tcb_new(TcpLayer* tcp, const Tcb* parent) noexcept nogil
# The settings that a configuration means, all others off; and what else begins with it.
cdef void settings_default(TcpSettings* settings, const TcpConfig* config) noexcept nogil
cdef void tcb_take_config(Tcb* tcb) noexcept nogil
# The one place where a state changes; asserts in debug builds that the RFC has this arrow.
cdef void tcb_set_state(TcpLayer* tcp, Tcb* tcb, TcpState state) noexcept nogil
# The connection is over: error (errno or 0) is left for the holder, or the TCB goes to the dead
# list if nobody holds it.
cdef void tcb_finish(TcpLayer* tcp, Tcb* tcb, int error) noexcept nogil
# Nobody holds it any more and it is CLOSED: it will be freed by tcp_reap.
cdef void tcb_bury(TcpLayer* tcp, Tcb* tcb) noexcept nogil
# Free the dead; called by the stack when no function is left that could still hold a pointer to
# them.
cdef void tcp_reap(TcpLayer* tcp) noexcept nogil
# Give back the memory that an idle connection does not need.
cdef void tcb_idle(TcpLayer* tcp, Tcb* tcb) noexcept nogil
# Output is owed; it happens once per batch.
cdef void tcb_output_later(TcpLayer* tcp, Tcb* tcb) noexcept nogil
# The next that owes output; NULL: none.
cdef Tcb* tcb_output_pop(TcpLayer* tcp) noexcept nogil
# Make sure that the deadline queue wakes us no later than the first timer.
cdef void tcb_rearm(TcpLayer* tcp, Tcb* tcb) noexcept nogil
cdef void tcb_list_push(TcbList* into, Tcb* tcb) noexcept nogil
cdef void tcb_list_remove(Tcb* tcb) noexcept nogil


cdef inline int64_t tcb_first_timer(const Tcb* tcb) noexcept nogil:
    return min(tcb.busy.retransmit_at, tcb.busy.ack_at, tcb.other_at, tcb.busy.pace_at)


cdef inline uint32_t tcb_flight(const Tcb* tcb) noexcept nogil:
    """FlightSize: sequence numbers sent and not yet cumulatively acknowledged."""
    return tcb.snd_nxt - tcb.snd_una


cdef inline uint32_t tcb_unsent(const Tcb* tcb) noexcept nogil:
    """Bytes that wait to be sent for the first time."""
    return 0 if tcb.fin_sent else tcb.busy.send_ring.length - tcb_flight(tcb)


cdef inline bint tcb_is_synchronized(const Tcb* tcb) noexcept nogil:
    return tcb.state >= TcpState.STATE_ESTABLISHED
