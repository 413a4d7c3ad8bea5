# Waking and resting: TcpBusy, made when a connection wakes, given back when it has been at rest for
# a while; TcpRare, made when it is first needed.
# Called by: input, calls, settings, errors, timers (tcb_wake), tcb (the life of a TCB), stack
#   (tcp_rest).
# RFCs: none.
#
# Not at once: what a round trip has measured (auto-tuning, RACK, the congestion window's use) shall
# be there for the next request. Not with a timer of each connection either: one of the stack looks
# at those that are awake, each once a second. It stops when there are none that time alone may
# bring to rest, so that nothing goes on for ever while data is unread or a peer silent.

from libc.stdint cimport int64_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcpy
from pystack.core.context cimport count
from pystack.core.counters cimport Counter
from pystack.core.memory.check cimport check
from pystack.core.memory.deadline cimport DEADLINE_NEVER, deadline_set
from pystack.core.memory.interval cimport interval_release
from pystack.core.memory.loan cimport loan_release
from pystack.core.memory.ring cimport ring_release
from pystack.core.tcp.layer cimport (
    CA_OPEN, STATE_CLOSED, STATE_CLOSE_WAIT, STATE_ESTABLISHED, STATE_FIN_WAIT_2, STATE_LISTEN,
    Tcb, TcpBusy, TcpLayer, TcpRare,
)
from pystack.core.tcp.pacing cimport pacing_by_window
from pystack.core.tcp.receive_queue cimport received_release
from pystack.core.tcp.scoreboard cimport sent_release

# What TCBs without memory of their own point to. Read-only: a write where somebody has forgotten to
# wake the connection faults, and spoils no other.
cdef extern from * nogil:
    """
    #include <stdint.h>
    static const int64_t pystack_at_rest[128] = {INT64_MAX, INT64_MAX, INT64_MAX};
    static const int64_t pystack_not_rare[16] = {0};
    """
    const int64_t[128] AT_REST "pystack_at_rest"        # retransmit_at, ack_at and pace_at are off
    const int64_t[16] NOT_RARE "pystack_not_rare"

cdef enum:
    # TCBs that are looked at in one go: a bound to how long it keeps others waiting.
    MOST_AT_ONCE = 256

cdef int64_t REST = 1_000_000_000       # without a segment, at least
cdef int64_t SOON = 1_000_000


cdef void busy_init(Tcb* tcb) noexcept nogil:
    check(sizeof(TcpBusy) <= sizeof(AT_REST))
    check(sizeof(TcpRare) <= sizeof(NOT_RARE))
    tcb.busy = <TcpBusy*>&AT_REST[0]
    tcb.rare = <TcpRare*>&NOT_RARE[0]


cdef void awake_push(TcpLayer* tcp, TcpBusy* busy) noexcept nogil:
    """It is looked at last of all."""
    busy.watched = True
    busy.look_at = tcp.context.now + REST
    busy.next = NULL
    busy.previous = tcp.awake_last
    if tcp.awake_last != NULL:
        tcp.awake_last.next = busy
    else:
        tcp.awake_first = busy
        deadline_set(&tcp.context.deadlines, &tcp.rest, busy.look_at)
    tcp.awake_last = busy


cdef void awake_remove(TcpLayer* tcp, TcpBusy* busy) noexcept nogil:
    busy.watched = False
    if busy.previous != NULL:
        busy.previous.next = busy.next
    else:
        tcp.awake_first = busy.next
    if busy.next != NULL:
        busy.next.previous = busy.previous
    else:
        tcp.awake_last = busy.previous
    if tcp.awake_first == NULL:
        deadline_set(&tcp.context.deadlines, &tcp.rest, DEADLINE_NEVER)


cdef bint busy_new(TcpLayer* tcp, Tcb* tcb) noexcept nogil:
    """Wake: what is measured per round trip begins anew, all else is as after the last one."""
    cdef TcpBusy* busy = <TcpBusy*>malloc(sizeof(TcpBusy))
    if busy == NULL:
        count(tcp.context, Counter.OUT_OF_MEMORY)
        return False
    memcpy(busy, AT_REST, sizeof(TcpBusy))
    busy.tcb = tcb
    busy.last_ack_sent = tcb.rcv_nxt
    busy.snd_small = tcb.snd_una
    busy.round_end = busy.usage_end = tcb.snd_nxt
    busy.mdev_max = <unsigned int>(tcb.config.rto_min // 1000)
    busy.min_us[0] = busy.min_us[1] = tcb.rtt.min_us
    busy.min_at_ms[0] = busy.min_at_ms[1] = tcb.rtt.min_at_ms
    busy.read_seq = tcb.rcv_nxt
    busy.read_at = tcp.context.now
    busy.last_challenge_at = tcp.context.now - tcb.config.challenge_period
    busy.pacing_rate = pacing_by_window(tcb)
    tcb.busy = busy
    return True


cdef bint busy_watch(TcpLayer* tcp, Tcb* tcb) noexcept nogil:
    if not tcb_is_awake(tcb) and not busy_new(tcp, tcb):
        return False
    awake_push(tcp, tcb.busy)
    return True


cdef void tcb_put_to_rest(TcpLayer* tcp, Tcb* tcb) noexcept nogil:
    cdef TcpBusy* busy = tcb.busy
    if not tcb_is_awake(tcb):
        return
    if busy.watched:
        awake_remove(tcp, busy)
    ring_release(&busy.send_ring, &tcp.context.rings)
    loan_release(&busy.loans)
    received_release(tcp, &busy.received)
    sent_release(&busy.sent)
    interval_release(&busy.out_of_order)
    tcb.busy = <TcpBusy*>&AT_REST[0]
    if busy.output_pending:
        busy.tcb = NULL             # tcb_output_pop frees it
    else:
        free(busy)


cdef bint is_in_motion(const Tcb* tcb) noexcept nogil:
    """Something is outstanding, owed, unread, or timed; or the TCB is on a list."""
    cdef const TcpBusy* busy = tcb.busy
    return (busy.packets_out != 0 or tcb.snd_una != tcb.snd_nxt and tcb.state > STATE_LISTEN
            or busy.send_ring.length != 0 or busy.received.length != 0
            or busy.unwanted != 0 or busy.dropped != 0
            or busy.sent.count != 0 or busy.out_of_order.count != 0
            or busy.retransmit_at != DEADLINE_NEVER or busy.ack_at != DEADLINE_NEVER
            or busy.pace_at != DEADLINE_NEVER
            or busy.ack_now or busy.unacked_bytes != 0 or busy.duplicate_pending
            or busy.user_timeout_owed or busy.ca_state != CA_OPEN
            or busy.urgent_out or busy.list != NULL or busy.listener != NULL or tcb.buried)


cdef bint may_come_to_rest(const Tcb* tcb) noexcept nogil:
    """By time alone, or with the output that is due now."""
    return tcb.busy.output_pending or (not is_in_motion(tcb) and tcb.state in (
        STATE_CLOSED, STATE_LISTEN, STATE_ESTABLISHED, STATE_FIN_WAIT_2, STATE_CLOSE_WAIT))


cdef bint is_at_rest(const TcpLayer* tcp, const Tcb* tcb) noexcept nogil:
    """For long enough that nobody will still ask what has happened last: an RTO after which no
    D-SACK undoes anything, and the time that challenge ACKs are counted for.
    """
    cdef int64_t last = max(tcb.last_received_at, tcb.last_sent_at)
    if tcb.busy.output_pending:
        return False
    if tcb.state <= STATE_LISTEN:
        return True
    return (tcp.context.now - last >= max(REST, tcb.rtt.rto)
            and tcp.context.now >= tcb.busy.paced_until
            and tcp.context.now - tcb.busy.last_challenge_at >= tcb.config.challenge_period)


cdef void tcp_rest(TcpLayer* tcp) noexcept nogil:
    """Look at those whose turn it is: to rest, to the end of the queue, or out of it."""
    cdef TcpBusy* busy = tcp.awake_first
    cdef int looks = 0
    while busy != NULL and busy.look_at <= tcp.context.now and looks < MOST_AT_ONCE:
        looks += 1
        awake_remove(tcp, busy)
        if may_come_to_rest(busy.tcb):
            if is_at_rest(tcp, busy.tcb):
                tcb_put_to_rest(tcp, busy.tcb)
            else:
                awake_push(tcp, busy)
        busy = tcp.awake_first
    if busy != NULL:
        deadline_set(&tcp.context.deadlines, &tcp.rest, max(busy.look_at, tcp.context.now + SOON))


cdef TcpRare* tcb_rare(Tcb* tcb) noexcept nogil:
    cdef TcpRare* rare
    if tcb.rare == <TcpRare*>&NOT_RARE[0]:
        rare = <TcpRare*>calloc(1, sizeof(TcpRare))
        if rare == NULL:
            return NULL
        tcb.rare = rare
    return tcb.rare


cdef void rare_release(Tcb* tcb) noexcept nogil:
    """With all that it points to and that is not a listener's."""
    if tcb.rare == <TcpRare*>&NOT_RARE[0]:
        return
    free(tcb.rare.saved_syn)
    free(tcb.rare.search)
    free(tcb.rare.bbr)
    free(tcb.rare.backlog)
    free(tcb.rare)
    tcb.rare = <TcpRare*>&NOT_RARE[0]
