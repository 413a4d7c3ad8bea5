# The window that we offer, and how large the receive buffer becomes.
# Called by: listen and calls (opening), receive (text), transfer (reads), segments (their window),
#   settings.
# RFCs: 9293 sections 3.8.6 and 3.8.6.2.2, 7323 section 2; where they leave a choice, as Linux.
#
# Three bounds, from the outside in: receive_buffer, which auto-tuning moves up; window_clamp, its
# part that may be offered; rcv_ssthresh, which grows up to the clamp with each segment, so that a
# sender cannot fill a large buffer before we have seen how it sends.

from libc.errno cimport EINVAL
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from pystack.core.tcp.layer cimport STATE_CLOSED, Tcb, TcpLayer
from pystack.core.tcp.shared_settings cimport settings_of
from pystack.core.tcp.tcb cimport tcb_is_synchronized

cdef enum:
    MAX_SCALE = 14              # RFC 7323 section 2.3
    MAX_FIELD = 0xFFFF
    FIRST_SEGMENTS = 10         # of the sender's initial window (RFC 6928)
    LEAST_CLAMP = 1152          # half of Linux's SOCK_MIN_RCVBUF
    RTT_SHIFT = 3               # rcv_rtt is smoothed in eighths


cdef inline uint32_t align_up(uint32_t size, uint8_t scale) noexcept nogil:
    return (size + (1 << scale) - 1) >> scale << scale


cdef inline uint32_t free_space(const Tcb* tcb) noexcept nogil:
    return tcb.receive_buffer - min(
        tcb.busy.received.length, tcb.receive_buffer)


cdef inline uint32_t window_limit(const Tcb* tcb) noexcept nogil:
    """TCP_WINDOW_CLAMP, or what the widest scale can say."""
    if tcb.settings.window_clamp:
        return tcb.settings.window_clamp
    return <uint32_t>MAX_FIELD << MAX_SCALE


cdef uint8_t window_scale_for(const TcpLayer* tcp, const Tcb* tcb) noexcept nogil:
    """Enough for what auto-tuning may reach; with SO_RCVBUF or a clamp, for these."""
    cdef uint8_t scale = 0
    cdef uint32_t most = window_limit(tcb)
    if not tcb.config.window_scaling:
        return 0
    if tcb.settings.receive_locked:
        most = min(most, tcb.receive_buffer)
    elif not tcb.settings.window_clamp:
        return tcb.config.window_scale
    while scale < MAX_SCALE and most >> scale > MAX_FIELD:
        scale += 1
    return min(scale, tcb.config.window_scale) if not tcb.settings.receive_locked else scale


cdef uint32_t window_at_first(const TcpLayer* tcp, const Tcb* tcb, uint32_t mss) noexcept nogil:
    cdef uint32_t space = min(tcb.receive_buffer, window_limit(tcb))
    return space - space % mss if space > mss else space


cdef void window_start(TcpLayer* tcp, Tcb* tcb, uint32_t mss) noexcept nogil:
    """mss: of the peer's segments, without options. As Linux, one of them is kept in reserve."""
    cdef uint32_t space = tcb.receive_buffer
    tcb.window_clamp = min(window_limit(tcb), <uint32_t>MAX_FIELD << tcb.rcv_scale)
    tcb.window_clamp = min(tcb.window_clamp, space)
    if tcb.window_clamp > 2 * mss and tcb.window_clamp + mss > space:
        tcb.window_clamp = max(2 * mss, space - mss)
    tcb.rcv_ssthresh = min(tcb.rcv_ssthresh, tcb.window_clamp)
    tcb.read_target = min(tcb.rcv_ssthresh, FIRST_SEGMENTS * mss)
    tcb.busy.read_seq = tcb.rcv_nxt
    tcb.busy.read_at = tcp.context.now


cdef uint32_t window_choose(const Tcb* tcb) noexcept nogil:
    """Receiver's silly window avoidance as Linux has it (RFC 9293 section 3.8.6.2.2).

    Nothing at all rather than less than a segment or a sixteenth of the buffer; without a scale,
    whole segments.
    """
    cdef uint32_t allowed = tcb.receive_buffer
    cdef uint32_t full = min(tcb.window_clamp, allowed)
    cdef uint32_t mss = min(tcb.ack_segment, full)
    cdef uint32_t space = free_space(tcb)
    cdef uint32_t window
    if mss == 0:
        return 0
    if space < full >> 1:
        # It may become the window: rounding it up must not make it more than there is.
        space = space >> tcb.rcv_scale << tcb.rcv_scale
        if space < allowed >> 4 or space < mss:
            return 0
    space = min(space, tcb.rcv_ssthresh)
    if tcb.rcv_scale:
        return align_up(space, tcb.rcv_scale)
    # What was offered last stays while it is within a segment of what is free.
    window = tcb.rcv_edge - tcb.busy.last_ack_sent
    if window > space or window + mss <= space:
        return space - space % mss
    if mss == full and space > window + (full >> 1):
        return space
    return window


cdef uint16_t window_field(Tcb* tcb) noexcept nogil:
    cdef uint32_t now = window_now(tcb)
    cdef uint32_t window = window_choose(tcb)
    cdef uint32_t field
    if free_space(tcb) < min(tcb.window_clamp, tcb.receive_buffer) >> 1:
        tcb.quick_acks = 0      # the reader is slow: no need to hurry the sender
    if window < now:
        # RFC 9293 section 3.8.6 (SHLD-14): it never shrinks. Rounded up, where the scale cannot say
        # the old edge exactly.
        window = align_up(now, tcb.rcv_scale)
    field = min(window >> tcb.rcv_scale, <uint32_t>MAX_FIELD)
    if field << tcb.rcv_scale > now:
        tcb.rcv_edge = tcb.rcv_nxt + (field << tcb.rcv_scale)
    return <uint16_t>field


cdef void window_grow(Tcb* tcb, uint32_t length) noexcept nogil:
    """Two segments more for each that comes, or twice the text of a train."""
    cdef uint32_t most = min(tcb.window_clamp, free_space(tcb))
    if most <= tcb.rcv_ssthresh or length < 128:
        return
    tcb.rcv_ssthresh += min(most - tcb.rcv_ssthresh, 2 * max(tcb.smss, length))
    tcb.quick_acks |= 1         # the sender shall see it at once


cdef void window_round_trip(Tcb* tcb, int64_t sample) noexcept nogil:
    """Smoothed, unless it is less than ever; not while text waits to be read: it may be old."""
    if sample <= 0:
        sample = 1_000_000      # below the tick of the timestamp clock
    if tcb.rcv_rtt == 0 or sample < tcb.rcv_rtt:
        tcb.rcv_rtt = sample
    elif tcb.busy.received.length == 0:
        tcb.rcv_rtt += (sample - tcb.rcv_rtt) >> RTT_SHIFT


cdef void window_round_trip_of_window(TcpLayer* tcp, Tcb* tcb) noexcept nogil:
    """Without timestamps: a window's worth takes a round trip at least; the least counts."""
    cdef int64_t took
    if tcb.busy.rcv_rtt_from:
        if <int>(tcb.rcv_nxt - tcb.busy.rcv_rtt_seq) < 0:
            return
        took = max(tcp.context.now - tcb.busy.rcv_rtt_from, <int64_t>1000)
        if tcb.rcv_rtt == 0 or took < tcb.rcv_rtt:
            tcb.rcv_rtt = took
    tcb.busy.rcv_rtt_seq = tcb.rcv_edge
    tcb.busy.rcv_rtt_from = tcp.context.now


cdef void buffer_grow(TcpLayer* tcp, Tcb* tcb, uint32_t copied) noexcept nogil:
    """Twice what was read in a round trip, and more while that grows: we are always one late."""
    cdef uint64_t window = <uint64_t>copied * 2
    window += 2 * (window * (copied - tcb.read_target) // tcb.read_target)
    tcb.read_target = copied
    if tcb.settings.receive_locked or not tcb.config.auto_receive_buffer:
        return
    if tcb.busy.out_of_order.count:
        window += tcb.busy.out_of_order.items[tcb.busy.out_of_order.count - 1].end - tcb.rcv_nxt
    window = min(window, <uint64_t>tcb.config.receive_buffer_max)
    if window > tcb.receive_buffer:
        tcb.receive_buffer = <uint32_t>window
        tcb.window_clamp = min(
            <uint32_t>window, min(window_limit(tcb), <uint32_t>MAX_FIELD << tcb.rcv_scale))


cdef void window_read(TcpLayer* tcp, Tcb* tcb) noexcept nogil:
    """Dynamic right-sizing: once in a round trip, compare what was read with the time before."""
    cdef uint32_t at, copied
    if tcb.rcv_rtt == 0 or tcp.context.now - tcb.busy.read_at < tcb.rcv_rtt:
        return
    at = tcb.rcv_nxt - tcb.busy.received.length
    copied = at - tcb.busy.read_seq
    # What waits to be read has not been wanted.
    copied -= min(copied, tcb.busy.received.length)
    if copied > tcb.read_target and tcb.read_target:
        buffer_grow(tcp, tcb, copied)
    tcb.busy.read_seq = at
    tcb.busy.read_at = tcp.context.now


cdef void window_widen(Tcb* tcb, uint32_t size) noexcept nogil:
    tcb.receive_buffer = size
    tcb.window_clamp = min(size, min(window_limit(tcb), <uint32_t>MAX_FIELD << tcb.rcv_scale))


cdef void window_resize(Tcb* tcb, uint32_t size) noexcept nogil:
    """An edge that has been offered stays: a smaller buffer takes effect as data is read."""
    window_widen(tcb, size)
    settings_of(tcb).receive_locked = True
    tcb.rcv_ssthresh = min(max(tcb.rcv_ssthresh, tcb.window_clamp), tcb.window_clamp)


cdef int window_set_clamp(Tcb* tcb, uint32_t clamp) noexcept nogil:
    cdef uint32_t before = tcb.window_clamp
    if clamp == 0:
        if tcb.state != STATE_CLOSED:
            return -EINVAL
        settings_of(tcb).window_clamp = 0
        return 0
    settings_of(tcb).window_clamp = max(clamp, <uint32_t>LEAST_CLAMP)
    if not tcb_is_synchronized(tcb):
        return 0
    tcb.window_clamp = min(
        tcb.settings.window_clamp, <uint32_t>MAX_FIELD << tcb.rcv_scale)
    if tcb.window_clamp < before:
        tcb.rcv_ssthresh = min(tcb.rcv_ssthresh, tcb.window_clamp)
    else:
        tcb.rcv_ssthresh = max(
            tcb.rcv_ssthresh, min(tcb.rcv_edge - tcb.busy.last_ack_sent, tcb.window_clamp))
    return 0
