# The life of a TCB: made, moved between states, timed, ended, freed.
# Called by: every file of tcp/, stack.
# RFCs: 9293 sections 3.3.1, 3.3.2 and 3.10.7.

from libc.stdint cimport int16_t, int64_t, uint16_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memset
from pystack.core.context cimport (
    DEADLINE_CONNECTION, count, endpoint_free, endpoint_ready,
)
from pystack.core.counters cimport Counter
from pystack.core.endpoint cimport (
    ENDPOINT_TCP, MTU_DISCOVER_WANT, READY_ERROR, READY_HANGUP, READY_READ, READY_WRITE,
)
from pystack.core.error_queue cimport error_queue_release
from pystack.core.ip.flow_label cimport flow_label_new
from pystack.core.ip.layer cimport PROTOCOL_TCP
from pystack.core.memory.deadline cimport (
    DEADLINE_NEVER, deadline_of, deadline_register, deadline_set, deadline_unregister,
)
from pystack.core.memory.flow cimport flow_remove
from pystack.core.memory.interval cimport interval_release
from pystack.core.memory.loan cimport loan_release
from pystack.core.memory.ring cimport ring_release
from pystack.core.tcp.busy cimport (
    busy_init, rare_release, tcb_is_awake, tcb_put_to_rest, tcb_wake,
)
from pystack.core.tcp.config cimport TcpConfig, TcpSettings
from pystack.core.tcp.configure cimport config_release, config_share
from pystack.core.tcp.congestion.window cimport INFINITE_SSTHRESH
from pystack.core.tcp.fast_open cimport (
    awaits_accept, fast_open_end, fast_open_leave, fast_open_release, is_early,
)
from pystack.core.tcp.layer cimport (
    FAST_OPEN_CHILD, STATE_CLOSED, STATE_CLOSE_WAIT, STATE_CLOSING, STATE_ESTABLISHED,
    STATE_FIN_WAIT_1, STATE_FIN_WAIT_2, STATE_LAST_ACK, STATE_LISTEN, STATE_SYN_RECEIVED,
    STATE_SYN_SENT, STATE_TIME_WAIT, Tcb, TcbList, TcpBusy, TcpLayer, TcpState,
)
from pystack.core.tcp.lookup cimport bound_remove
from pystack.core.tcp.receive_queue cimport received_release
from pystack.core.tcp.scoreboard cimport sent_release
from pystack.core.tcp.shared_settings cimport (
    settings_release, settings_share, settings_start,
)

# For each state the states that may follow it (RFC 9293 figure 5). Every state may end in CLOSED.
cdef uint16_t[11] NEXT_STATES
NEXT_STATES[<int>STATE_CLOSED] = 1 << STATE_LISTEN | 1 << STATE_SYN_SENT | 1 << STATE_SYN_RECEIVED
NEXT_STATES[<int>STATE_LISTEN] = 1 << STATE_SYN_SENT
NEXT_STATES[<int>STATE_SYN_SENT] = 1 << STATE_SYN_RECEIVED | 1 << STATE_ESTABLISHED
NEXT_STATES[<int>STATE_SYN_RECEIVED] = 1 << STATE_ESTABLISHED | 1 << STATE_FIN_WAIT_1
NEXT_STATES[<int>STATE_ESTABLISHED] = 1 << STATE_FIN_WAIT_1 | 1 << STATE_CLOSE_WAIT
NEXT_STATES[<int>STATE_FIN_WAIT_1] = (
    1 << STATE_FIN_WAIT_2 | 1 << STATE_CLOSING | 1 << STATE_TIME_WAIT)
NEXT_STATES[<int>STATE_FIN_WAIT_2] = 1 << STATE_TIME_WAIT
NEXT_STATES[<int>STATE_CLOSE_WAIT] = 1 << STATE_LAST_ACK
NEXT_STATES[<int>STATE_CLOSING] = 1 << STATE_TIME_WAIT
NEXT_STATES[<int>STATE_LAST_ACK] = 0
NEXT_STATES[<int>STATE_TIME_WAIT] = 0

cdef extern from "assert.h" nogil:
    void c_assert "assert" (bint condition)


cdef void settings_default(TcpSettings* settings, const TcpConfig* config) noexcept nogil:
    memset(settings, 0, sizeof(TcpSettings))
    settings.receive_low = 1
    settings.notsent_lowat = config.notsent_lowat
    settings.keepalive_idle_s = <uint16_t>(config.keepalive_time // 1_000_000_000)
    settings.keepalive_interval_s = <uint16_t>(config.keepalive_interval // 1_000_000_000)
    settings.keepalive_count = <unsigned char>config.keepalive_probes
    settings.congestion = config.congestion
    settings.max_pacing_rate = ~<uint64_t>0


cdef void tcb_take_config(Tcb* tcb) noexcept nogil:
    """What begins with the configuration and is no setting of the application's."""
    tcb.rtt.rto = tcb.config.rto_initial
    tcb.reordering = <uint16_t>tcb.config.reordering
    tcb.receive_buffer = tcb.config.receive_buffer
    tcb.send_buffer = tcb.config.send_buffer
    tcb.last_text_at = -tcb.config.delayed_ack


cdef Tcb* tcb_new(TcpLayer* tcp, const Tcb* parent) noexcept nogil:
    """A TCB in CLOSED; NULL when out of memory (counted)."""
    cdef Tcb* tcb = <Tcb*>calloc(1, sizeof(Tcb))
    if tcb == NULL:
        count(tcp.context, Counter.OUT_OF_MEMORY)
        return NULL
    if deadline_register(&tcp.context.deadlines, &tcb.deadline, tcb, DEADLINE_CONNECTION) < 0:
        count(tcp.context, Counter.OUT_OF_MEMORY)
        free(tcb)
        return NULL
    tcp.connection_count += 1
    busy_init(tcb)
    tcb.config = &tcp.config
    tcb.endpoint.kind = ENDPOINT_TCP
    tcb.endpoint.key.protocol = PROTOCOL_TCP
    tcb.endpoint.marking.mtu_discover = MTU_DISCOVER_WANT
    tcb.endpoint.marking.flow_label = flow_label_new(tcp.context)
    tcb.other_at = DEADLINE_NEVER
    tcb.delivered = 1               # our SYN
    tcb.rack_steps = 1
    tcb.rate_app_limited = 1
    if not (take_settings(tcp, tcb, parent) and tcb_wake(tcp, tcb)):
        tcb_free(tcp, tcb)
        return NULL
    return tcb


cdef bint take_settings(TcpLayer* tcp, Tcb* tcb, const Tcb* parent) noexcept nogil:
    """As its parent, or the stack's."""
    cdef TcpSettings settings
    if parent != NULL:
        settings_share(tcp, tcb, parent)
        config_share(tcp, tcb, parent)
        tcb.receive_buffer = parent.receive_buffer
        tcb.send_buffer = parent.send_buffer
        return True
    tcb_take_config(tcb)
    settings_default(&settings, tcb.config)
    return settings_start(tcp, tcb, &settings) == 0


cdef void tcb_free(TcpLayer* tcp, Tcb* tcb) noexcept nogil:
    deadline_unregister(&tcp.context.deadlines, &tcb.deadline)
    tcb_put_to_rest(tcp, tcb)
    error_queue_release(&tcp.context.slab, &tcb.endpoint.errors)
    if tcb.rare.backlog != NULL:
        fast_open_release(tcb.rare.backlog)
    rare_release(tcb)
    settings_release(tcp, tcb)
    config_release(tcp, tcb)
    free(tcb.congestion.cubic)
    endpoint_free(&tcb.endpoint)
    tcp.connection_count -= 1


cdef void tcb_set_state(TcpLayer* tcp, Tcb* tcb, TcpState state) noexcept nogil:
    """The one place where a state changes."""
    c_assert(state == STATE_CLOSED or NEXT_STATES[tcb.state] >> <int>state & 1)
    if state == STATE_ESTABLISHED:
        count(tcp.context, Counter.TCP_CONNECTIONS_OPENED_PASSIVE if tcb.passive
              else Counter.TCP_CONNECTIONS_OPENED_ACTIVE)
    tcb.state = <unsigned char>state


cdef void leave_tables(TcpLayer* tcp, Tcb* tcb) noexcept nogil:
    if tcb.bound:
        bound_remove(tcp, tcb)
        tcb.bound = False
    elif tcb.state not in (STATE_CLOSED, STATE_LISTEN):
        flow_remove(&tcp.connections, &tcb.endpoint.key)
        if tcp.recent == tcb:
            tcp.recent = NULL


cdef void forget_motion(TcpLayer* tcp, Tcb* tcb) noexcept nogil:
    """Timers and what was to be sent; what was received stays readable."""
    cdef TcpBusy* busy = tcb.busy
    tcb.other_at = DEADLINE_NEVER
    deadline_set(&tcp.context.deadlines, &tcb.deadline, DEADLINE_NEVER)
    if not tcb_is_awake(tcb):
        return
    busy.retransmit_at = busy.ack_at = busy.pace_at = DEADLINE_NEVER
    busy.ack_now = busy.probing = False
    busy.packets_out = busy.sacked_out = busy.lost_out = busy.retrans_out = 0
    busy.to_repeat = 0
    busy.sent.count = busy.out_of_order.count = 0
    ring_release(&busy.send_ring, &tcp.context.rings)
    loan_release(&busy.loans)
    tcb_idle(tcp, tcb)


cdef void tcb_finish(TcpLayer* tcp, Tcb* tcb, int error) noexcept nogil:
    """End the connection in whatever state it is; nothing is sent.

    error: errno for the holder, 0 after an orderly close. What was received in order stays
    readable, as in Linux.
    """
    cdef bint kept
    if tcb.state == STATE_CLOSED:
        return
    if tcb.fast_open:
        if is_early(tcb):
            fast_open_leave(tcb)
        if not tcb.passive:
            fast_open_end(tcp, tcb)
    leave_tables(tcp, tcb)
    # As Linux: who accepts it hears of its end.
    kept = tcb.fast_open & FAST_OPEN_CHILD and not tcb.held and awaits_accept(tcb)
    if not kept:
        tcb_list_remove(tcb)
        if tcb_is_awake(tcb):
            tcb.busy.listener = NULL
    tcb.fin_queued = False
    forget_motion(tcp, tcb)
    tcb.backoff = 0
    tcb.snd_una = tcb.snd_nxt
    count(tcp.context, Counter.TCP_CONNECTIONS_CLOSED)
    tcb_set_state(tcp, tcb, STATE_CLOSED)
    if not tcb.held and not kept:
        tcb_bury(tcp, tcb)
        return
    tcb.endpoint.error = <int16_t>error
    if kept:
        return
    endpoint_ready(tcp.context, &tcb.endpoint,
                   READY_READ | READY_WRITE | READY_HANGUP | (READY_ERROR if error else 0))


cdef void tcb_bury(TcpLayer* tcp, Tcb* tcb) noexcept nogil:
    if tcb.buried:
        return
    leave_tables(tcp, tcb)          # where `next` may tell who shares its address and port
    tcb_list_remove(tcb)
    tcb.buried = True
    tcb.next = tcp.dead
    tcp.dead = tcb


cdef void tcp_reap(TcpLayer* tcp) noexcept nogil:
    """Free the dead."""
    cdef Tcb* tcb = tcp.dead
    while tcb != NULL:
        tcp.dead = tcb.next
        tcb_free(tcp, tcb)
        tcb = tcp.dead


cdef void tcb_idle(TcpLayer* tcp, Tcb* tcb) noexcept nogil:
    """Give back rings that are empty and the scoreboard if nothing is outstanding or out of order;
    the rest of TcpBusy goes when it stays so (busy.pyx).
    """
    cdef TcpBusy* busy = tcb.busy
    if not tcb_is_awake(tcb):
        return
    if busy.send_ring.length == 0:
        if busy.send_ring.data != NULL:
            ring_release(&busy.send_ring, &tcp.context.rings)
        # In the first slow start it says nothing that the next round trip would not.
        if tcb.congestion.cubic != NULL and (
                tcb.congestion.ssthresh == INFINITE_SSTHRESH or tcb.state == STATE_TIME_WAIT):
            free(tcb.congestion.cubic)
            tcb.congestion.cubic = NULL
    if busy.out_of_order.count == 0:
        if busy.out_of_order.items != NULL:
            interval_release(&busy.out_of_order)
        if busy.received.length == 0 and busy.received.ring.data != NULL:
            received_release(tcp, &busy.received)
    if busy.sent.count == 0:
        if busy.sent.items != NULL:
            sent_release(&busy.sent)
        if busy.send_ring.length == 0:
            busy.chunks.count = busy.chunks.used = 0


cdef void tcb_output_later(TcpLayer* tcp, Tcb* tcb) noexcept nogil:
    cdef TcpBusy* busy = tcb.busy
    if busy.output_pending or not tcb_is_awake(tcb):
        return
    busy.output_pending = True
    busy.output_next = NULL
    if tcp.output_last != NULL:
        tcp.output_last.output_next = busy
    else:
        tcp.output_first = busy
    tcp.output_last = busy


cdef Tcb* tcb_output_pop(TcpLayer* tcp) noexcept nogil:
    cdef TcpBusy* busy = tcp.output_first
    while busy != NULL:
        tcp.output_first = busy.output_next
        if tcp.output_first == NULL:
            tcp.output_last = NULL
        busy.output_pending = False
        if busy.tcb != NULL:
            return busy.tcb
        free(busy)
        busy = tcp.output_first
    return NULL


cdef void tcb_rearm(TcpLayer* tcp, Tcb* tcb) noexcept nogil:
    """Move the deadline forward if a timer is earlier; a later one is noticed when the deadline
    fires.

    So the heap is not touched by the packets of a busy connection.
    """
    cdef int64_t first = tcb_first_timer(tcb)
    if first < deadline_of(&tcp.context.deadlines, &tcb.deadline):
        deadline_set(&tcp.context.deadlines, &tcb.deadline, first)


cdef void tcb_list_push(TcbList* into, Tcb* tcb) noexcept nogil:
    tcb.busy.list = into
    tcb.next = NULL
    tcb.busy.previous_tcb = into.last
    if into.last != NULL:
        into.last.next = tcb
    else:
        into.first = tcb
    into.last = tcb
    into.count += 1


cdef void tcb_list_remove(Tcb* tcb) noexcept nogil:
    cdef TcpBusy* busy = tcb.busy
    cdef TcbList* out = busy.list
    if out == NULL:
        return
    if busy.previous_tcb != NULL:
        busy.previous_tcb.next = tcb.next
    else:
        out.first = tcb.next
    if tcb.next != NULL:
        tcb.next.busy.previous_tcb = busy.previous_tcb
    else:
        out.last = busy.previous_tcb
    out.count -= 1
    busy.list = NULL
    busy.previous_tcb = tcb.next = NULL
