# When to acknowledge: at once, with the second full segment, or after a while.
# Called by: receive and text, handshake, transfer (reads), segments and output (what was sent),
# timers, settings.
# RFCs: 9293 section 3.8.6.3, 5681 section 4.2; where they leave a choice, as Linux.
#
# The delay (`ato`) follows the distance of segments. A connection begins with quick ACKs, so that
# the sender's slow start is not slowed, and has some more whenever something goes wrong.

from libc.stdint cimport int64_t, uint32_t
from pystack.core.context cimport count
from pystack.core.counters cimport Counter
from pystack.core.memory.deadline cimport DEADLINE_NEVER
from pystack.core.tcp.layer cimport Tcb, TcpLayer
from pystack.core.tcp.mss cimport announced_mss
from pystack.core.tcp.tcb cimport tcb_output_later, tcb_rearm
from pystack.core.tcp.window cimport window_choose, window_grow, window_now
from pystack.core.wire.tcp cimport TCP_PSH, TcpSegment

cdef enum:
    QUICK_ACKS = 16             # as Linux's TCP_MAX_QUICKACKS
    LEAST_QUICK_ACKS = 2
    LEAST_SEGMENT = 88          # as Linux's TCP_MIN_MSS
    DEFAULT_SEGMENT = 536       # RFC 9293 section 3.7.1
    PUSHED = 1                  # a segment below the usual size waits for its ACK
    PUSHED_AGAIN = 2

cdef int64_t MICROSECOND = 1000
cdef int64_t MOST_DELAY = 500_000_000   # RFC 9293 section 3.8.6.3 (MUST-40)


cdef void acknowledge_start(Tcb* tcb, uint32_t mss) noexcept nogil:
    tcb.ack_segment = min(min(mss, window_now(tcb) // 2), <uint32_t>DEFAULT_SEGMENT)
    tcb.ack_segment = max(tcb.ack_segment, <uint32_t>LEAST_SEGMENT)
    tcb.ato_us = 0


cdef void more_quick_acks(Tcb* tcb) noexcept nogil:
    """As many as it takes to fill the window with every second segment acknowledged."""
    cdef uint32_t quick = (tcb.rcv_edge - tcb.busy.last_ack_sent) // (2 * tcb.ack_segment)
    quick = min(max(quick, <uint32_t>LEAST_QUICK_ACKS), <uint32_t>QUICK_ACKS)
    tcb.quick_acks = max(tcb.quick_acks, <unsigned char>quick)


cdef void acknowledge_quickly(TcpLayer* tcp, Tcb* tcb) noexcept nogil:
    more_quick_acks(tcb)
    tcb.pingpong = 0
    tcb.ato_us = <uint32_t>(tcb.config.delayed_ack // MICROSECOND)


cdef void acknowledge_measure(TcpLayer* tcp, Tcb* tcb, const TcpSegment* seg) noexcept nogil:
    """What a full segment of the peer is: the largest, or a smaller one that comes twice in a row.
    """
    cdef uint32_t length = seg.gso_size if seg.gso_size else seg.length
    cdef uint32_t last = tcb.busy.last_segment
    tcb.busy.last_segment = 0
    if length >= tcb.ack_segment:
        if length > tcb.ack_segment:
            # Not SMSS: the peer's segments may be larger than ours, up to what we have announced.
            tcb.ack_segment = min(length, max(announced_mss(tcp, tcb), tcb.ack_segment))
        if seg.flags & TCP_PSH and length >= seg.length:
            tcb.busy.pushed |= PUSHED
        return
    if length >= DEFAULT_SEGMENT or (length >= LEAST_SEGMENT and not seg.flags & TCP_PSH):
        tcb.busy.last_segment = length
        if length == last:
            tcb.ack_segment = length
            return
    tcb.busy.pushed |= PUSHED_AGAIN if tcb.busy.pushed & PUSHED else PUSHED


cdef void adapt_delay(TcpLayer* tcp, Tcb* tcb) noexcept nogil:
    """ato follows the time between segments."""
    cdef int64_t least = tcb.config.delayed_ack
    cdef int64_t ato = tcb.ato_us * MICROSECOND
    cdef int64_t gap = tcp.context.now - tcb.last_text_at
    if ato == 0:
        more_quick_acks(tcb)
        ato = max(least, MICROSECOND)
    elif gap <= least // 2:
        ato = ato // 2 + least // 2
    elif gap < ato:
        ato = min(ato // 2 + gap, tcb.rtt.rto)
    elif gap > tcb.rtt.rto:
        more_quick_acks(tcb)    # the sender starts slowly after such a pause, or should
    tcb.ato_us = <uint32_t>(ato // MICROSECOND)
    tcb.last_text_at = tcp.context.now


cdef void acknowledge_text(TcpLayer* tcp, Tcb* tcb, const TcpSegment* seg) noexcept nogil:
    acknowledge_measure(tcp, tcb, seg)
    adapt_delay(tcp, tcb)
    window_grow(tcb, seg.length)
    acknowledge_owe(tcp, tcb)


cdef int64_t delay(const TcpLayer* tcp, const Tcb* tcb) noexcept nogil:
    """ato, within what the round trip and the mode allow."""
    cdef int64_t ato = tcb.ato_us * MICROSECOND
    cdef int64_t most = MOST_DELAY
    if ato > tcb.config.delayed_ack:
        if is_interactive(tcp, tcb) or tcb.busy.pushed:
            most = tcb.config.delayed_ack_max
        if tcb.rtt.srtt:
            most = min(most, max(tcb.rtt.srtt, tcb.config.delayed_ack))
    return min(min(ato, most), tcb.config.delayed_ack_max)


cdef void acknowledge_owe(TcpLayer* tcp, Tcb* tcb) noexcept nogil:
    cdef int64_t wait, at
    if tcb.busy.ack_now:
        return
    # More than one full segment, unless a read is to open the window first and will send the ACK.
    if tcb.busy.unacked_bytes > tcb.ack_segment and (
            window_choose(tcb) >= tcb.rcv_edge - tcb.busy.last_ack_sent
            or tcb.busy.received.length < tcb.settings.receive_low):
        tcb.busy.ack_now = True
        return
    if tcb.quick_acks and not is_interactive(tcp, tcb):
        tcb.busy.ack_now = True
        return
    wait = delay(tcp, tcb)
    at = tcp.context.now + wait
    if tcb.busy.ack_at == DEADLINE_NEVER:
        tcb.busy.ack_at = at
        tcb_rearm(tcp, tcb)
    elif tcb.busy.ack_at <= tcp.context.now + wait // 4:
        tcb.busy.ack_now = True      # it is almost due
    elif at < tcb.busy.ack_at:
        tcb.busy.ack_at = at
        tcb_rearm(tcp, tcb)


cdef inline bint is_owed(const Tcb* tcb) noexcept nogil:
    return tcb.busy.ack_at != DEADLINE_NEVER or tcb.busy.unacked_bytes != 0


cdef bint read_settles(const TcpLayer* tcp, const Tcb* tcb) noexcept nogil:
    """Does a read that left this behind send the ACK that is owed?"""
    if tcb.busy.unacked_bytes > tcb.ack_segment:
        return True
    # The reader has everything and the sender seems to have paused.
    return tcb.busy.received.length == 0 and (
        tcb.busy.pushed & PUSHED_AGAIN != 0
        or (tcb.busy.pushed & PUSHED != 0 and not is_interactive(tcp, tcb)))


cdef void acknowledge_read(TcpLayer* tcp, Tcb* tcb) noexcept nogil:
    """The ACK that is owed; or a window update, once the window can be twice what the peer sees.

    A lost update cannot stall the peer: it probes (RFC 9293 section 3.8.6.1) and is answered with
    the new window.
    """
    cdef uint32_t now, window
    if tcb.busy.ack_now or tcb.fin_received:
        return
    if is_owed(tcb) and read_settles(tcp, tcb):
        tcb.busy.ack_now = True
        tcb_output_later(tcp, tcb)
        return
    now = window_now(tcb)
    if 2 * now > tcb.window_clamp:
        return
    window = window_choose(tcb)
    if window and window >= 2 * now:
        tcb.busy.ack_now = True
        tcb_output_later(tcp, tcb)


cdef void acknowledge_sent(TcpLayer* tcp, Tcb* tcb) noexcept nogil:
    """Whatever carried our ACK settles what was owed."""
    if tcb.quick_acks and (tcb.busy.ack_now or is_owed(tcb)):
        tcb.quick_acks -= 1
        if tcb.quick_acks == 0:
            tcb.ato_us = <uint32_t>(tcb.config.delayed_ack // MICROSECOND)
    tcb.busy.last_ack_sent = tcb.rcv_nxt
    tcb.busy.unacked_bytes = 0
    tcb.busy.ack_now = False
    tcb.busy.ack_at = DEADLINE_NEVER
    tcb.busy.duplicate_pending = False
    tcb.busy.pushed = 0


cdef void acknowledge_by_text(TcpLayer* tcp, Tcb* tcb) noexcept nogil:
    """Text within the delay of the peer's text: an answer."""
    if tcp.context.now - tcb.last_text_at < tcb.ato_us * MICROSECOND and tcb.pingpong < 255:
        tcb.pingpong += 1


cdef void acknowledge_timer(TcpLayer* tcp, Tcb* tcb) noexcept nogil:
    """No answer came in time: wait longer, or, where one was expected, do not count on it again."""
    cdef int64_t ato
    tcb.busy.ack_at = DEADLINE_NEVER
    if is_interactive(tcp, tcb):
        tcb.pingpong = 0
        ato = tcb.config.delayed_ack
    else:
        ato = min(2 * tcb.ato_us * MICROSECOND, tcb.rtt.rto)
    tcb.ato_us = <uint32_t>(ato // MICROSECOND)
    tcb.busy.ack_now = True
    count(tcp.context, Counter.TCP_DELAYED_ACKS)
    tcb_output_later(tcp, tcb)


cdef void acknowledge_with_text(TcpLayer* tcp, Tcb* tcb) noexcept nogil:
    """The ACK of a SYN-ACK, where the application speaks first and soon: it may carry that."""
    tcb.ato_us = <uint32_t>(tcb.config.delayed_ack // MICROSECOND)
    tcb.quick_acks = QUICK_ACKS
    tcb.busy.ack_at = tcp.context.now + tcb.config.delayed_ack_max
    tcb_rearm(tcp, tcb)


cdef void acknowledge_set_quick(TcpLayer* tcp, Tcb* tcb, bint quick) noexcept nogil:
    if not quick:
        tcb.pingpong = <unsigned char>min(tcb.config.pingpong_threshold, <uint32_t>255)
        return
    tcb.pingpong = 0
    if is_owed(tcb):
        tcb.busy.pushed |= PUSHED
        acknowledge_read(tcp, tcb)
