# The one timer of what is outstanding: retransmission timeout, tail loss probe or reordering.
# Called by: ack, recovery, rack, output, timers.
# RFCs: 6298 section 5, 8985 sections 6.2 and 7.2.

from libc.stdint cimport int64_t, uint8_t
from pystack.core.memory.deadline cimport DEADLINE_NEVER
from pystack.core.tcp.layer cimport (
    CA_CWR, CA_OPEN, FAST_OPEN_EARLY, TIMER_RTO, TIMER_TAIL_PROBE, RetransmitTimer, Sent, Tcb,
    TcpLayer,
)
from pystack.core.tcp.rtt cimport rtt_timeout
from pystack.core.tcp.scoreboard cimport sent_first
from pystack.core.tcp.tcb cimport tcb_rearm

cdef int64_t MILLISECOND = 1_000_000


cdef void retransmit_timer_set(
        TcpLayer* tcp, Tcb* tcb, RetransmitTimer what, int64_t ns) noexcept nogil:
    tcb.busy.probing = False
    tcb.busy.retransmit_timer = <uint8_t>what
    tcb.busy.retransmit_at = tcp.context.now + min(ns, tcb.config.rto_max)
    tcb_rearm(tcp, tcb)


cdef int64_t rto_left(TcpLayer* tcp, const Tcb* tcb) noexcept nogil:
    """ns until the RTO of the oldest data, counted from when it was last sent."""
    cdef const Sent* sent = sent_first(tcb)
    cdef int64_t rto = rtt_timeout(tcb)
    return rto if sent == NULL else sent.sent_at + rto - tcp.context.now


cdef void retransmit_timer_rearm(TcpLayer* tcp, Tcb* tcb) noexcept nogil:
    """RFC 6298 sections 5.2 and 5.3; RFC 8985 section 7.3: the probe has not postponed the RTO."""
    cdef int64_t rto
    if tcb.fast_open & FAST_OPEN_EARLY:
        return                  # it is the SYN-ACK's
    if tcb.busy.packets_out == 0:
        tcb.busy.retransmit_timer = TIMER_RTO
        tcb.busy.retransmit_at = DEADLINE_NEVER
        return
    rto = rtt_timeout(tcb)
    if tcb.busy.retransmit_timer != TIMER_RTO:
        rto = max(rto_left(tcp, tcb), 1)
    retransmit_timer_set(tcp, tcb, TIMER_RTO, rto)


cdef bint tail_probe_schedule(TcpLayer* tcp, Tcb* tcb, bint from_now) noexcept nogil:
    """TLP_calc_PTO() (RFC 8985 section 7.2); False if there is no probe to wait for.

    from_now: the RTO, which the probe must not be later than, would count from now.
    """
    cdef int64_t wait = tcb.config.rto_initial
    cdef int64_t left
    if ((tcb.config.early_retrans != 3 and tcb.config.early_retrans != 4)
            or tcb.busy.packets_out == 0 or not tcb.sack_ok or tcb.fast_open & FAST_OPEN_EARLY
            or (tcb.busy.ca_state != CA_OPEN and tcb.busy.ca_state != CA_CWR)):
        return False
    if tcb.rtt.srtt:
        # A single segment may wait for a delayed ACK (WCDelAckT); Linux assumes its least RTO.
        wait = 2 * tcb.rtt.srtt + (
            tcb.config.rto_min if tcb.busy.packets_out == 1 else TIMER_LEAST)
    left = rtt_timeout(tcb) if from_now else rto_left(tcp, tcb)
    if left > 0:
        wait = min(wait, left)
    retransmit_timer_set(tcp, tcb, TIMER_TAIL_PROBE, wait)
    return True


cdef void retransmit_timer_restart(TcpLayer* tcp, Tcb* tcb) noexcept nogil:
    if not tail_probe_schedule(tcp, tcb, True):
        retransmit_timer_rearm(tcp, tcb)


cdef void retransmit_timer_sent(TcpLayer* tcp, Tcb* tcb, bint first) noexcept nogil:
    """RFC 6298 section 5.1, RFC 8985 section 7.2 (a probe is scheduled after each new data)."""
    if tcb.fast_open & FAST_OPEN_EARLY:
        return
    if first:
        tcb.busy.first_unacked_at = tcp.context.now
    if tcb.busy.probing:
        tcb.busy.retransmit_timer = TIMER_RTO
        tcb.backoff = 0             # it was the probes'
        first = True
    # Mostly it is the probe's, so the RTO is only asked for where there is none.
    if tail_probe_schedule(tcp, tcb, False):
        return
    if first or tcb.busy.retransmit_timer == TIMER_TAIL_PROBE or (
            tcb.busy.retransmit_at == DEADLINE_NEVER):
        retransmit_timer_rearm(tcp, tcb)


cdef void retransmit_timer_backed_off(TcpLayer* tcp, Tcb* tcb) noexcept nogil:
    cdef int64_t limit
    tcb.busy.retransmit_timer = TIMER_RTO
    tcb.busy.retransmit_at = tcp.context.now + rtt_timeout(tcb)
    if tcb.settings.user_timeout_ms:
        limit = tcb.busy.first_unacked_at + tcb.settings.user_timeout_ms * MILLISECOND
        if limit > tcp.context.now:
            tcb.busy.retransmit_at = min(tcb.busy.retransmit_at, limit)
    tcb_rearm(tcp, tcb)
