# Explicit congestion notification: agreed on in the handshake; marks received are echoed until the
# peer says that it has slowed down, marks echoed to us slow us down once in a window.
# Called by: input, handshake, text, listen, cookie, segments.
# RFCs: 3168 section 6.1, 8511 by way of congestion/.

from libc.stdint cimport uint8_t
from pystack.core.context cimport count
from pystack.core.counters cimport Counter
from pystack.core.tcp.config cimport TcpConfig
from pystack.core.tcp.layer cimport (
    ECN_OK, ECN_OWE_CWR, ECN_OWE_ECE, ECN_SEEN, STATE_SYN_SENT, Tcb, TcpLayer,
)
from pystack.core.tcp.tcb cimport tcb_output_later
from pystack.core.wire.tcp cimport (
    TCP_ACK, TCP_CWR, TCP_ECE, TCP_SYN, TcpSegment, seq_gt, seq_lt,
)

cdef enum:
    # Of TcpConfig.ecn, as Linux's tcp_ecn; 0: never, 2: agree to it.
    ASK = 1
    QUICK_ACKS = 2      # as Linux: the peer's window may be very small soon


cdef uint8_t ecn_syn_flags(TcpLayer* tcp, Tcb* tcb) noexcept nogil:
    """RFC 3168 section 6.1.1; section 6.1.1.1: a SYN that was lost may have been lost for it."""
    if tcb.state != STATE_SYN_SENT:
        return TCP_ECE if tcb.ecn & ECN_OK else 0
    if tcb.busy.retransmits == 0:
        tcb.ecn = ECN_OK if tcb.config.ecn == ASK else 0
    elif tcb.config.ecn_fallback:
        return 0
    return TCP_ECE | TCP_CWR if tcb.ecn & ECN_OK else 0


cdef bint ecn_is_agreed(const TcpConfig* config, const TcpSegment* syn) noexcept nogil:
    """RFC 3168 section 6.1.1; a SYN that is itself marked comes from something broken."""
    return (config.ecn != 0 and syn.flags & (TCP_ECE | TCP_CWR) == TCP_ECE | TCP_CWR
            and syn.ecn == ECN_NOT_ECT)


cdef void ecn_handshake(Tcb* tcb, const TcpSegment* seg) noexcept nogil:
    """An ECN-setup SYN-ACK has ECE alone; one with both reflects what it does not understand."""
    cdef uint8_t agreement = TCP_ECE if seg.flags & TCP_ACK else TCP_ECE | TCP_CWR
    if seg.flags & (TCP_ECE | TCP_CWR) != agreement:
        tcb.ecn = 0


cdef bint ecn_is_echoed(const Tcb* tcb, const TcpSegment* seg) noexcept nogil:
    """ECE of a segment that is no handshake (RFC 3168 section 6.1.2)."""
    return tcb.ecn & ECN_OK and seg.flags & (TCP_ECE | TCP_SYN) == TCP_ECE


cdef void ecn_input(TcpLayer* tcp, Tcb* tcb, const TcpSegment* seg) noexcept nogil:
    if not seg.flags & TCP_ACK or seq_lt(seg.ack, tcb.snd_una) or seq_gt(seg.ack, tcb.snd_nxt):
        return
    if ecn_is_echoed(tcb, seg):
        count(tcp.context, Counter.TCP_ECN_ECHOES_IN)
    if seg.flags & TCP_CWR:
        # As Linux, also without text: RFC 3168 wants CWR on data, but not every stack does so.
        tcb.ecn &= ~ECN_OWE_ECE
        if seg.length:
            tcb.busy.ack_now = True
            tcb_output_later(tcp, tcb)


cdef void ecn_text_input(TcpLayer* tcp, Tcb* tcb, const TcpSegment* seg) noexcept nogil:
    """CE: say so with every ACK until CWR comes (RFC 3168 section 6.1.3)."""
    if seg.ecn == ECN_NOT_ECT:
        # A peer that marks its text does not mark what it retransmits: it may be short of ACKs.
        if tcb.ecn & ECN_SEEN:
            tcb.quick_acks = max(tcb.quick_acks, <uint8_t>QUICK_ACKS)
        return
    tcb.ecn |= ECN_SEEN
    if seg.ecn != ECN_CE:
        return
    count(tcp.context, Counter.TCP_ECN_MARKS_IN)
    if not tcb.ecn & ECN_OWE_ECE:
        tcb.ecn |= ECN_OWE_ECE
        tcb.quick_acks = max(tcb.quick_acks, <uint8_t>QUICK_ACKS)
        tcb.pingpong = 0


cdef void ecn_output(Tcb* tcb, TcpSegment* seg, bint fresh) noexcept nogil:
    """ECT(0) on new text only: no ACKs (6.1.4), retransmissions (6.1.5), probes (6.1.6).
    """
    if not tcb.ecn & ECN_OK:
        return
    if fresh:
        seg.ecn = ECN_ECT_0
        if tcb.ecn & ECN_OWE_CWR:
            tcb.ecn &= ~ECN_OWE_CWR
            seg.flags |= TCP_CWR
    if tcb.ecn & ECN_OWE_ECE:
        seg.flags |= TCP_ECE
