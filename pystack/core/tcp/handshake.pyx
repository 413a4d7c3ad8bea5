# The end of a handshake: the answer to our SYN, the ACK of our SYN-ACK.
# Called by: input.
# RFCs: 9293 sections 3.10.7.3 and 3.10.7.4 (SYN-RECEIVED), 7413 section 4.2.2.

from libc.errno cimport ECONNREFUSED
from libc.stdint cimport int32_t, int64_t, uint32_t
from pystack.core.context cimport count, endpoint_ready
from pystack.core.counters cimport Counter
from pystack.core.endpoint cimport READY_WRITE
from pystack.core.ip.layer cimport IpView
from pystack.core.memory.deadline cimport DEADLINE_NEVER
from pystack.core.tcp.acknowledge cimport acknowledge_start, acknowledge_with_text, is_interactive
from pystack.core.tcp.ack cimport segment_window
from pystack.core.tcp.clock cimport timestamp_at, timestamp_now
from pystack.core.tcp.ecn cimport ecn_handshake
from pystack.core.tcp.fast_open cimport fast_open_answered, fast_open_leave
from pystack.core.tcp.layer cimport (
    STATE_ESTABLISHED, STATE_FIN_WAIT_1, STATE_SYN_RECEIVED, Tcb, TcpLayer,
)
from pystack.core.tcp.listen cimport (
    connection_start, handshake_was_slow, listen_defers, listen_established, take_syn_options,
)
from pystack.core.tcp.retransmission cimport retransmit_timer_rearm
from pystack.core.tcp.rtt cimport rtt_min_sample, rtt_sample, rtt_timeout
from pystack.core.tcp.segments cimport send_reset_for, send_syn
from pystack.core.tcp.tcb cimport (
    tcb_finish, tcb_list_push, tcb_output_later, tcb_rearm, tcb_set_state,
)
from pystack.core.tcp.text cimport text_steps, text_trim
from pystack.core.tcp.timers cimport keepalive_restart
from pystack.core.wire.tcp cimport (
    TCP_ACK, TCP_FIN, TCP_OPT_TIMESTAMP, TCP_RST, TCP_SYN, TcpOptions, TcpSegment, seq_gt, seq_le,
    seq_lt, tcp_parse_options,
)

cdef int64_t MILLISECOND = 1_000_000    # a tick of the timestamp clock


cdef bint echo_is_ours(
        const TcpLayer* tcp, const Tcb* tcb, const TcpOptions* options) noexcept nogil:
    """As Linux, 0 is nothing that one said."""
    cdef uint32_t age = timestamp_now(tcp, tcb) - options.ts_ecr
    if not options.present & TCP_OPT_TIMESTAMP or not options.ts_ecr:
        return True
    return age <= <uint32_t>(
        tcp.context.now // MILLISECOND - tcb.busy.first_unacked_at // MILLISECOND)


cdef void syn_sent_input(
        TcpLayer* tcp, Tcb* tcb, IpView* view, const TcpSegment* seg) noexcept nogil:
    cdef TcpOptions options
    cdef bint acked = seg.flags & TCP_ACK != 0
    tcp_parse_options(seg, &options)
    # First: the ACK bit.
    if acked and (seq_le(seg.ack, tcb.iss) or seq_gt(seg.ack, tcb.snd_nxt)):
        count(tcp.context, Counter.TCP_DROP_BAD_ACK)
        send_reset_for(tcp, view, seg)
        return
    # RFC 7323 section 3.2: an echo of something that we did not send makes the ACK unacceptable.
    if acked and tcb.timestamps_ok and not echo_is_ours(tcp, tcb, &options):
        count(tcp.context, Counter.TCP_DROP_BAD_ACK)
        send_reset_for(tcp, view, seg)
        return
    # Second: the RST bit.
    if seg.flags & TCP_RST:
        if not acked:
            count(tcp.context, Counter.TCP_DROP_RESET_OUT_OF_WINDOW)
            return
        count(tcp.context, Counter.TCP_RESETS_IN)
        count(tcp.context, Counter.TCP_CONNECTIONS_REFUSED)
        tcb_finish(tcp, tcb, ECONNREFUSED)
        return
    # Fourth: the SYN bit.
    if not seg.flags & TCP_SYN:
        count(tcp.context, Counter.TCP_DROP_BAD_FLAGS)
        return
    tcb.irs = seg.seq
    tcb.rcv_edge += seg.seq + 1
    tcb.rcv_nxt = tcb.busy.last_ack_sent = seg.seq + 1
    take_syn_options(tcp, tcb, &options)
    ecn_handshake(tcb, seg)
    tcb.snd_wnd = tcb.max_snd_wnd = seg.window
    tcb.snd_wl1 = seg.seq
    tcb.snd_wl2 = seg.ack
    if not acked:
        simultaneous_open(tcp, tcb)
        return
    syn_acknowledged(tcp, tcb, view, seg, &options)


cdef void handshake_sample(TcpLayer* tcp, Tcb* tcb) noexcept nogil:
    """The round trip of our SYN or SYN-ACK, which was sent once."""
    rtt_sample(tcp, tcb, tcp.context.now - tcb.busy.first_unacked_at)
    rtt_min_sample(tcp, tcb, tcp.context.now - tcb.busy.first_unacked_at)


cdef void handshake_echo(TcpLayer* tcp, Tcb* tcb, const TcpOptions* options) noexcept nogil:
    """It was sent more than once, but the timestamp tells which one was answered (RFC 7323 section
    4.1).
    """
    cdef int64_t sample
    if not tcb.timestamps_ok or not options.present & TCP_OPT_TIMESTAMP or options.ts_ecr == 0:
        return
    sample = <int64_t><int32_t>(timestamp_now(tcp, tcb) - options.ts_ecr) * MILLISECOND
    if sample >= 0:
        rtt_sample(tcp, tcb, max(sample, MILLISECOND))
        rtt_min_sample(tcp, tcb, max(sample, MILLISECOND))


cdef bint was_repeated_in_vain(const Tcb* tcb, const TcpOptions* options) noexcept nogil:
    """The first one was answered, only late: nothing was lost (RFC 3522)."""
    return (tcb.timestamps_ok and options.present & TCP_OPT_TIMESTAMP != 0
            and options.ts_ecr == timestamp_at(tcb, tcb.busy.first_unacked_at))


cdef void handshake_repeated(TcpLayer* tcp, Tcb* tcb, const TcpOptions* options) noexcept nogil:
    handshake_echo(tcp, tcb, options)
    if was_repeated_in_vain(tcb, options):
        tcb.busy.retransmits = 0


cdef void syn_acknowledged(
        TcpLayer* tcp, Tcb* tcb, const IpView* view, const TcpSegment* seg,
        const TcpOptions* options) noexcept nogil:
    """Our SYN is acknowledged: ESTABLISHED; text or FIN in the SYN-ACK are processed as in that
    state.
    """
    cdef TcpSegment rest = seg[0]
    cdef bint again = tcb.busy.retransmits != 0
    if again:
        handshake_repeated(tcp, tcb, options)
    else:
        handshake_sample(tcp, tcb)
    tcb.backoff = 0
    tcb.snd_una = tcb.iss + 1
    tcb.totals.bytes_acked += 1
    tcb.busy.retransmit_at = DEADLINE_NEVER
    tcb_set_state(tcp, tcb, STATE_ESTABLISHED)
    connection_start(tcp, tcb)
    if tcb.fast_open:
        fast_open_answered(tcp, tcb, seg.ack, options, again)
    keepalive_restart(tcp, tcb)
    if tcb.settings.defer_accept or is_interactive(tcp, tcb):
        acknowledge_with_text(tcp, tcb)
    else:
        tcb.busy.ack_now = True
        tcb_output_later(tcp, tcb)
    endpoint_ready(tcp.context, &tcb.endpoint, READY_WRITE)
    if rest.length or rest.flags & TCP_FIN:
        rest.seq += 1
        rest.flags &= ~TCP_SYN
        text_trim(tcp, tcb, &rest)
        text_steps(tcp, tcb, view, &rest)


cdef void simultaneous_open(TcpLayer* tcp, Tcb* tcb) noexcept nogil:
    """SYN meets SYN: answer with SYN-ACK (RFC 9293 figure 8)."""
    tcb_set_state(tcp, tcb, STATE_SYN_RECEIVED)
    tcb.busy.retransmit_at = tcp.context.now + rtt_timeout(tcb)
    tcb_rearm(tcp, tcb)
    send_syn(tcp, tcb)


cdef void take_first_window(Tcb* tcb, const TcpSegment* seg) noexcept nogil:
    tcb.snd_wnd = segment_window(tcb, seg)
    # As Linux, that of an ordinary SYN was no more than a guess of the peer's.
    if tcb.passive and not tcb.fast_open:
        tcb.max_snd_wnd = tcb.snd_wnd
    tcb.max_snd_wnd = max(tcb.max_snd_wnd, tcb.snd_wnd)
    tcb.snd_wl1 = seg.seq
    tcb.snd_wl2 = seg.ack


cdef bint early_established(
        TcpLayer* tcp, Tcb* tcb, const IpView* view, const TcpSegment* seg) noexcept nogil:
    """RFC 7413 section 4.2.2: the SYN-ACK is acknowledged, of a connection that is in use already.
    """
    if seq_lt(seg.ack, tcb.snd_una) or seq_gt(seg.ack, tcb.snd_nxt):
        count(tcp.context, Counter.TCP_DROP_BAD_ACK)
        send_reset_for(tcp, view, seg)
        return False
    fast_open_leave(tcb)
    if not tcb.held and tcb.busy.list == NULL:
        tcb_list_push(&tcp.orphans, tcb)
    tcb.busy.last_challenge_at = tcp.context.now - tcb.config.challenge_period
    if tcb.busy.retransmits:
        handshake_was_slow(tcb)
    elif seg.ack == tcb.iss + 1:        # otherwise the text that follows tells it
        handshake_sample(tcp, tcb)
    tcb.backoff = tcb.busy.retransmits = 0
    tcb.busy.retransmit_at = DEADLINE_NEVER
    take_first_window(tcb, seg)
    if tcb.state == STATE_SYN_RECEIVED:
        tcb_set_state(tcp, tcb, STATE_ESTABLISHED)
    acknowledge_start(tcb, tcb.smss)
    keepalive_restart(tcp, tcb)
    retransmit_timer_rearm(tcp, tcb)
    tcb_output_later(tcp, tcb)
    return True


cdef bint become_established(
        TcpLayer* tcp, Tcb* tcb, const IpView* view, const TcpSegment* seg,
        const TcpOptions* options) noexcept nogil:
    """SYN-RECEIVED, fifth step: the handshake is complete, if the ACK is for our SYN."""
    if seq_le(seg.ack, tcb.snd_una) or seq_gt(seg.ack, tcb.snd_nxt):
        count(tcp.context, Counter.TCP_DROP_BAD_ACK)
        send_reset_for(tcp, view, seg)
        return False
    cdef bint again = tcb.busy.retransmits != 0
    if listen_defers(tcb, seg):
        return False
    if not listen_established(tcp, tcb):
        if tcb.config.abort_on_overflow:
            send_reset_for(tcp, view, seg)
            tcb_finish(tcp, tcb, 0)
        return False
    # As Linux: what strangers have used up of the handshake's limit is not the connection's.
    tcb.busy.last_challenge_at = tcp.context.now - tcb.config.challenge_period
    if again:
        handshake_repeated(tcp, tcb, options)
    elif tcb.busy.retransmit_at != DEADLINE_NEVER:
        handshake_sample(tcp, tcb)
    tcb.backoff = 0
    tcb.busy.retransmit_at = DEADLINE_NEVER
    tcb.snd_una = tcb.iss + 1
    take_first_window(tcb, seg)
    tcb_set_state(tcp, tcb, STATE_ESTABLISHED)
    connection_start(tcp, tcb)
    if tcb.fast_open:           # our SYN crossed another
        fast_open_answered(tcp, tcb, seg.ack, options, again)
    keepalive_restart(tcp, tcb)
    if not tcb.passive or tcb.held:
        endpoint_ready(tcp.context, &tcb.endpoint, READY_WRITE)
    if tcb.fin_queued:
        # CLOSE was called in SYN-RECEIVED (RFC 9293 section 3.10.4).
        tcb_set_state(tcp, tcb, STATE_FIN_WAIT_1)
    if tcb.busy.send_ring.length or tcb.fin_queued:
        tcb_output_later(tcp, tcb)
    return True
