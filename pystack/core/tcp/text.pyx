# What an acceptable segment carries: urgent pointer, text and FIN.
# Called by: input, handshake.
# RFCs: 9293 section 3.10.7.4, sixth to eighth step.

from libc.errno cimport ECONNRESET
from libc.stdint cimport uint32_t
from pystack.core.context cimport count, endpoint_ready
from pystack.core.counters cimport Counter
from pystack.core.endpoint cimport READY_HANGUP, READY_READ
from pystack.core.ip.layer cimport IpView
from pystack.core.tcp.acknowledge cimport acknowledge_owe, acknowledge_set_quick
from pystack.core.tcp.ecn cimport ecn_text_input
from pystack.core.tcp.layer cimport (
    STATE_CLOSED, STATE_CLOSE_WAIT, STATE_CLOSING, STATE_ESTABLISHED, STATE_FIN_WAIT_1,
    STATE_FIN_WAIT_2, STATE_TIME_WAIT, Tcb, TcpLayer,
)
from pystack.core.tcp.receive cimport (
    duplicate_seen, nothing_follows, out_of_order_count, text_input,
)
from pystack.core.tcp.segments cimport send_ack, send_reset_for
from pystack.core.tcp.tcb cimport tcb_finish, tcb_output_later, tcb_set_state
from pystack.core.tcp.timers cimport enter_time_wait
from pystack.core.tcp.urgent cimport urgent_input
from pystack.core.wire.tcp cimport TCP_FIN, TCP_URG, TcpSegment, seq_gt, seq_lt, seq_max


cdef void text_trim(TcpLayer* tcp, Tcb* tcb, TcpSegment* seg) noexcept nogil:
    """Cut the segment to the window, so that later steps can trust it (RFC 9293: "tailored")."""
    cdef uint32_t old = tcb.rcv_nxt - seg.seq
    cdef uint32_t edge = seq_max(tcb.rcv_edge, tcb.rcv_nxt)
    if seq_lt(seg.seq, tcb.rcv_nxt):
        if seg.length and old:
            duplicate_seen(tcp, tcb, seg.seq, seg.seq + min(old, seg.length))
            tcb.busy.ack_now = True
            tcb_output_later(tcp, tcb)
        if old > seg.length:
            seg.flags &= ~TCP_FIN       # it lies before rcv_nxt too
            old = seg.length
        seg.payload += old
        seg.length -= old
        seg.seq = tcb.rcv_nxt
    if seq_gt(seg.seq + seg.length, edge):
        seg.length = edge - seg.seq
        seg.flags &= ~TCP_FIN
        tcb.busy.ack_now = True
        tcb_output_later(tcp, tcb)


cdef void text_steps(
        TcpLayer* tcp, Tcb* tcb, const IpView* view, TcpSegment* seg) noexcept nogil:
    if seg.flags & TCP_URG:
        urgent_input(tcp, tcb, seg)
    if seg.flags & TCP_FIN and not tcb.fin_received:
        tcb.busy.fin_ahead = True
        tcb.busy.fin_at = seg.seq + seg.length
    if seg.length:
        if seg.flags & TCP_FIN and seg.seq == tcb.rcv_nxt and tcb.state == STATE_ESTABLISHED:
            # For the text as for the FIN: see fin_reached.
            acknowledge_set_quick(tcp, tcb, False)
        text_step(tcp, tcb, view, seg)
    if seg.flags & TCP_FIN and tcb.state != STATE_CLOSED:
        fin_step(tcp, tcb, seg)


cdef void text_step(
        TcpLayer* tcp, Tcb* tcb, const IpView* view, const TcpSegment* seg) noexcept nogil:
    """Seventh, process the segment text; what nobody will ever read resets (RFC 9293 section 3.6.1,
    MUST-13), after a close as after a shutdown of both directions.
    """
    if tcb.fin_received or tcb.state not in (STATE_ESTABLISHED, STATE_FIN_WAIT_1, STATE_FIN_WAIT_2):
        return
    if tcb.state != STATE_ESTABLISHED and (tcb.shut_read or not tcb.held):
        count(tcp.context, Counter.TCP_DROP_DATA_AFTER_CLOSE)
        send_reset_for(tcp, view, seg)
        tcb_finish(tcp, tcb, ECONNRESET)
        return
    if tcb.ecn:
        ecn_text_input(tcp, tcb, seg)
    if text_input(tcp, tcb, seg):
        if tcb.busy.unwanted:
            tcb_output_later(tcp, tcb)      # which drops it, after the ACK
        if tcb.busy.fin_ahead and tcb.busy.fin_at == tcb.rcv_nxt:
            fin_reached(tcp, tcb)
    elif tcb.busy.ack_now:
        # RFC 5681 section 4.2: each segment beyond a hole draws a duplicate ACK of its own; a peer
        # without SACK counts them. All other ACKs wait for the end of the batch.
        send_ack(tcp, tcb)


cdef void fin_step(TcpLayer* tcp, Tcb* tcb, const TcpSegment* seg) noexcept nogil:
    """Eighth, check the FIN bit; one beyond a hole is remembered until the hole is filled."""
    if tcb.fin_received:
        return
    if tcb.busy.fin_at == tcb.rcv_nxt:
        fin_reached(tcp, tcb)
    elif seg.length == 0:         # otherwise its text has been counted, and has drawn an ACK
        out_of_order_count(tcp, tcb)
        tcb.busy.ack_now = True
        tcb_output_later(tcp, tcb)


cdef void fin_reached(TcpLayer* tcp, Tcb* tcb) noexcept nogil:
    """The peer's FIN is next: the stream ends here."""
    tcb.fin_received = True
    tcb.busy.fin_ahead = False
    tcb.rcv_nxt += 1
    tcb.totals.bytes_received += 1
    nothing_follows(tcb)
    tcb_output_later(tcp, tcb)
    endpoint_ready(tcp.context, &tcb.endpoint, READY_READ)
    if tcb.state == STATE_ESTABLISHED:
        tcb_set_state(tcp, tcb, STATE_CLOSE_WAIT)
        if tcb.rcv_nxt != tcb.irs + 2:
            # As Linux, delayed, but for a stream without text: our own text or FIN may follow at
            # once and carry the ACK.
            acknowledge_set_quick(tcp, tcb, False)
            tcb.busy.unacked_bytes += 1
            acknowledge_owe(tcp, tcb)
            return
    tcb.busy.ack_now = True
    if tcb.state == STATE_FIN_WAIT_1:
        tcb_set_state(tcp, tcb, STATE_CLOSING)
        endpoint_ready(tcp.context, &tcb.endpoint, READY_HANGUP)
    elif tcb.state == STATE_FIN_WAIT_2:
        tcb_set_state(tcp, tcb, STATE_TIME_WAIT)
        enter_time_wait(tcp, tcb)
        endpoint_ready(tcp.context, &tcb.endpoint, READY_HANGUP)
