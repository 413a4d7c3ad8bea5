# Segments out: how each kind is made: text as trains, acknowledgments, SYNs, resets, probes.
# Called by: output (text), input, handshake, text, timers, calls, listen, cookie and others.
# RFCs: 9293 sections 3.1, 3.5 and 3.10, 7323, 2018, 7413.

from libc.stdint cimport uint8_t, uint16_t, uint32_t
from libc.string cimport memcpy, memset
from pystack.core.context cimport count, count_many
from pystack.core.counters cimport Counter
from pystack.core.endpoint cimport Endpoint
from pystack.core.ip.layer cimport PROTOCOL_TCP, IpSend, IpView
from pystack.core.ip.output cimport ip_output, ip_packet_new
from pystack.core.memory.loan cimport SPANS, Spans, loan_spans
from pystack.core.memory.packet cimport CSUM_PARTIAL, GSO_TCP4, GSO_TCP6, Packet
from pystack.core.tcp.acknowledge cimport acknowledge_sent
from pystack.core.tcp.clock cimport timestamp_now
from pystack.core.tcp.ecn cimport ECN_MASK, ecn_output, ecn_syn_flags
from pystack.core.tcp.fast_open_cookie cimport FastOpenCookie
from pystack.core.tcp.layer cimport (
    FAST_OPEN_EARLY, SENT_FIN, SENT_PUSHED, STATE_SYN_RECEIVED, Tcb, TcpLayer,
)
from pystack.core.tcp.mss cimport announced_mss
from pystack.core.tcp.pacing cimport pacing_is_on, pacing_sent
from pystack.core.tcp.receive cimport sack_blocks
from pystack.core.tcp.user_timeout cimport user_timeout_offer
from pystack.core.tcp.window cimport window_field
from pystack.core.wire.address cimport Addr, addr_is_v4
from pystack.core.wire.bytes cimport store16
from pystack.core.wire.checksum cimport csum_fold, csum_pseudo
from pystack.core.wire.tcp cimport (
    TCP_ACK, TCP_FIN, TCP_HEADER_LENGTH, TCP_MAX_HEADER_LENGTH, TCP_OPT_FAST_OPEN, TCP_OPT_MSS,
    TCP_OPT_SACK, TCP_OPT_SACK_PERMITTED, TCP_OPT_TIMESTAMP, TCP_OPT_WINDOW_SCALE, TCP_PSH,
    TCP_RST, TCP_SYN, TCP_URG, TcpOptions, TcpSegment, seq_ge, seq_lt, tcp_build_header,
    tcp_build_options,
)

cdef enum:
    CHECKSUM_OFFSET = 16
    USER_TIMEOUT_LENGTH = 4
    LITTLE = 256            # bytes of text: to copy them costs less than a call with two stretches


cdef inline bint is_copied(const TcpSegment* seg, const Spans* text) noexcept nogil:
    """That of a SYN: the ring that it lies in may be gone before the packet is. And what is in
    more pieces than a packet borrows.
    """
    return seg.flags & TCP_SYN or seg.length <= LITTLE or (
        text.length[1] != 0 and text.length[2] != 0)


cdef inline void copy_text(uint8_t* target, const Spans* text) noexcept nogil:
    cdef int i = 0
    while i < SPANS and text.length[i]:
        memcpy(target, text.at[i], text.length[i])
        target += text.length[i]
        i += 1


cdef int segment_send(
        TcpLayer* tcp, const Endpoint* endpoint, TcpSegment* seg, const TcpOptions* options,
        const Spans* text) noexcept nogil:
    """Wrap a segment (or a train, with seg.gso_size) and hand it to IP; 0 or a negative errno."""
    cdef uint32_t copied = seg.length if is_copied(seg, text) else 0
    cdef Packet* packet = ip_packet_new(tcp.ip, TCP_MAX_HEADER_LENGTH + copied)
    cdef const Addr* local = &endpoint.key.local
    cdef const Addr* remote = &endpoint.key.remote
    cdef IpSend send
    cdef int options_length
    if packet == NULL:
        return -1
    seg.source_port = endpoint.key.local_port
    seg.destination_port = endpoint.key.remote_port
    options_length = tcp_build_options(packet.data + TCP_HEADER_LENGTH, options)
    tcp_build_header(packet.data, seg, options_length)
    packet.length = TCP_HEADER_LENGTH + options_length
    if copied:
        copy_text(packet.data + packet.length, text)
    elif seg.length:
        packet.borrowed[0] = text.at[0]
        packet.borrowed[1] = text.at[1]
        packet.borrowed_length[0] = text.length[0]
        packet.borrowed_length[1] = text.length[1]
    store16(packet.data + CHECKSUM_OFFSET,
            csum_fold(csum_pseudo(local, remote, PROTOCOL_TCP, packet.length + seg.length)))
    packet.length += copied
    packet.csum = CSUM_PARTIAL
    packet.csum_start = 0
    packet.csum_offset = CHECKSUM_OFFSET
    if seg.gso_size and seg.length > seg.gso_size:
        packet.gso = GSO_TCP4 if addr_is_v4(remote) else GSO_TCP6
        packet.gso_size = seg.gso_size
    send.source = local[0]
    send.destination = remote[0]
    send.protocol = PROTOCOL_TCP
    send.multicast = 0
    send.marking = endpoint.marking
    send.marking.tos = (endpoint.marking.tos & ~ECN_MASK) | seg.ecn
    count(tcp.context, Counter.TCP_SEGMENTS_OUT)
    return ip_output(tcp.ip, packet, &send)


cdef void add_timestamp(TcpLayer* tcp, const Tcb* tcb, TcpOptions* options) noexcept nogil:
    options.present |= TCP_OPT_TIMESTAMP
    options.ts_val = timestamp_now(tcp, tcb)
    options.ts_ecr = tcb.ts_recent


cdef inline void add_blocks(const Tcb* tcb, TcpOptions* options) noexcept nogil:
    """SACK, if there is something to report."""
    options.sack_count = 0
    if tcb.sack_ok and (tcb.busy.duplicate_pending or tcb.busy.out_of_order.count):
        options.sack_count = <uint8_t>sack_blocks(tcb, options.sack, 3 if tcb.timestamps_ok else 4)
        if options.sack_count:
            options.present |= TCP_OPT_SACK


cdef void data_options(TcpLayer* tcp, const Tcb* tcb, TcpOptions* options) noexcept nogil:
    """Options of a segment of a synchronized connection: timestamps, and SACK blocks."""
    options.present = 0
    if tcb.timestamps_ok:
        add_timestamp(tcp, tcb, options)
    if tcb.busy.user_timeout_owed:
        user_timeout_offer(tcp, tcb, options)
    add_blocks(tcb, options)


cdef uint32_t text_room(const Tcb* tcb) noexcept nogil:
    """Text that fits into a segment beside the options that it has to carry now."""
    cdef TcpOptions options
    cdef uint32_t mss = tcb.smss
    options.present = 0
    add_blocks(tcb, &options)
    if options.sack_count:
        mss -= min(4 + 8 * options.sack_count, mss - 1)
    if tcb.busy.user_timeout_owed:
        mss -= min(<uint32_t>USER_TIMEOUT_LENGTH, mss - 1)
    return mss


cdef void segment_begin(
        TcpLayer* tcp, Tcb* tcb, uint32_t seq, uint8_t flags, TcpSegment* seg,
        TcpOptions* options) noexcept nogil:
    """What all segments of a synchronized connection tell."""
    memset(seg, 0, sizeof(TcpSegment))
    data_options(tcp, tcb, options)
    tcb.busy.user_timeout_owed = False
    seg.seq = seq
    seg.ack = tcb.rcv_nxt
    seg.flags = flags
    seg.window = window_field(tcb)
    if tcb.busy.urgent_out and seq_lt(seq, tcb.busy.snd_up) and tcb.busy.snd_up - seq <= 0xFFFF:
        seg.flags |= TCP_URG
        seg.urgent = <uint16_t>(tcb.busy.snd_up - seq)


cdef void send_bare(TcpLayer* tcp, Tcb* tcb, uint32_t seq, uint8_t flags) noexcept nogil:
    """A segment without text of a synchronized connection."""
    cdef TcpSegment seg
    cdef TcpOptions options
    segment_begin(tcp, tcb, seq, flags, &seg, &options)
    if tcb.ecn:
        ecn_output(tcb, &seg, False)
    tcb.totals.segments_out += 1
    segment_send(tcp, &tcb.endpoint, &seg, &options, NULL)


cdef uint32_t acceptable_seq(const Tcb* tcb) noexcept nogil:
    """SND.NXT, but not beyond the window of a peer that has shrunk it, who would drop the ACK.

    As Linux: as long as it is not only the scale that hides the difference. Our SYN takes no room.
    """
    cdef uint32_t edge = tcb.snd_una + tcb.snd_wnd
    if tcb.state == STATE_SYN_RECEIVED or seq_ge(edge, tcb.snd_nxt) or (
            tcb.rcv_scale_offered and tcb.snd_nxt - edge < <uint32_t>1 << tcb.rcv_scale):
        return tcb.snd_nxt
    return edge


cdef void send_ack(TcpLayer* tcp, Tcb* tcb) noexcept nogil:
    send_bare(tcp, tcb, acceptable_seq(tcb), TCP_ACK)
    acknowledge_sent(tcp, tcb)


cdef void send_probe(TcpLayer* tcp, Tcb* tcb) noexcept nogil:
    """From before SND.UNA, so that it is answered; what is urgent, from where the peer hears it."""
    if tcb.busy.urgent_out and tcb.busy.snd_up - tcb.snd_una <= 0xFFFF:
        send_bare(tcp, tcb, tcb.snd_una, TCP_ACK)
    send_bare(tcp, tcb, tcb.snd_una - 1, TCP_ACK)


cdef void send_reset(TcpLayer* tcp, Tcb* tcb) noexcept nogil:
    """<SEQ=SND.NXT><CTL=RST,ACK> (RFC 9293 section 3.10.5)."""
    count(tcp.context, Counter.TCP_RESETS_OUT)
    send_bare(tcp, tcb, acceptable_seq(tcb), TCP_RST | TCP_ACK)


cdef inline void count_out(Tcb* tcb, uint32_t length, uint32_t mss) noexcept nogil:
    cdef uint32_t segments = min(length, <uint32_t>1)
    if length > mss:
        segments = (length + mss - 1) // mss
    tcb.totals.segments_out += max(segments, <uint32_t>1)
    tcb.totals.data_segments_out += segments
    tcb.totals.bytes_sent += length


cdef void send_syn(TcpLayer* tcp, Tcb* tcb) noexcept nogil:
    """Also again: without what is only tried once (RFC 7413 section 4.1.3.1)."""
    cdef FastOpenCookie none
    none.present = False
    send_first_syn(tcp, tcb, &none, 0)


cdef void send_first_syn(
        TcpLayer* tcp, Tcb* tcb, const FastOpenCookie* cookie, uint32_t size) noexcept nogil:
    """SYN, or SYN-ACK once the peer's SYN is there; offers what the peer (if known) has offered
    too.
    """
    cdef TcpSegment seg
    cdef TcpOptions options
    cdef Spans text
    cdef bint answer = tcb.state == STATE_SYN_RECEIVED or tcb.fast_open & FAST_OPEN_EARLY
    memset(&seg, 0, sizeof(seg))
    memset(&options, 0, sizeof(options))
    seg.seq = tcb.iss
    seg.flags = TCP_SYN | TCP_ACK if answer else TCP_SYN
    seg.flags |= ecn_syn_flags(tcp, tcb)
    seg.ack = tcb.rcv_nxt if answer else 0
    options.present = TCP_OPT_MSS
    options.mss = <uint16_t>announced_mss(tcp, tcb)
    # RFC 7323 section 2.2: the window of a SYN is never scaled; open_window keeps it below 64 KiB.
    seg.window = <uint16_t>(tcb.rcv_edge - tcb.rcv_nxt)
    if tcb.rcv_scale_offered:
        options.present |= TCP_OPT_WINDOW_SCALE
        options.window_scale = tcb.rcv_scale
    if tcb.sack_ok:
        options.present |= TCP_OPT_SACK_PERMITTED
    if tcb.timestamps_ok:
        add_timestamp(tcp, tcb, &options)
    if tcb.config.user_timeout_option:
        user_timeout_offer(tcp, tcb, &options)
    if cookie.present:
        options.present |= TCP_OPT_FAST_OPEN
        options.fast_open = &cookie.octets[0]
        options.fast_open_length = cookie.length
        options.fast_open_experimental = cookie.experimental
    if size:
        loan_spans(&tcb.busy.loans, &tcb.busy.send_ring, 0, 0, size, &text)
        seg.length = size
        count_out(tcb, size, size)
        count_many(tcp.context, Counter.TCP_BYTES_OUT, size)
    elif not tcb.passive:       # as Linux counts
        tcb.totals.segments_out += 1
    segment_send(tcp, &tcb.endpoint, &seg, &options, &text)
    if answer:
        tcb.busy.last_ack_sent = tcb.rcv_nxt


cdef void send_reset_for(TcpLayer* tcp, const IpView* view, const TcpSegment* seg) noexcept nogil:
    """RFC 9293 section 3.10.7.1; never in answer to a RST."""
    cdef Endpoint endpoint
    cdef TcpSegment reset
    cdef TcpOptions options
    if seg.flags & TCP_RST:
        return
    memset(&endpoint, 0, sizeof(endpoint))
    memset(&reset, 0, sizeof(reset))
    options.present = 0
    endpoint.key.local = view.destination
    endpoint.key.remote = view.source
    endpoint.key.local_port = seg.destination_port
    endpoint.key.remote_port = seg.source_port
    if seg.flags & TCP_ACK:
        reset.seq = seg.ack
        reset.flags = TCP_RST
    else:
        reset.ack = seg.seq + seg.length + (seg.flags & TCP_SYN != 0) + (seg.flags & TCP_FIN != 0)
        reset.flags = TCP_RST | TCP_ACK
    count(tcp.context, Counter.TCP_RESETS_OUT)
    segment_send(tcp, &endpoint, &reset, &options, NULL)


cdef int send_data(
        TcpLayer* tcp, Tcb* tcb, uint32_t seq, uint32_t length, uint8_t sent, bint fresh,
        uint32_t mss) noexcept nogil:
    """[seq, seq + length) of what is to be sent as one segment or train, lent to the packet.

    sent: SENT_FIN and SENT_PUSHED of its record.
    """
    cdef TcpSegment seg
    cdef TcpOptions options
    cdef Spans text
    segment_begin(tcp, tcb, seq, TCP_ACK, &seg, &options)
    seg.length = length
    seg.gso_size = <uint16_t>mss
    if length:
        loan_spans(&tcb.busy.loans, &tcb.busy.send_ring, tcb.snd_una, seq, length, &text)
    # As Linux, the end of each train is pushed too, but not if it is sent again alone.
    if sent & SENT_PUSHED or length > mss:
        seg.flags |= TCP_PSH
    if sent & SENT_FIN:
        seg.flags |= TCP_FIN
    count_out(tcb, length, mss)
    if tcb.ecn:
        ecn_output(tcb, &seg, length != 0 and fresh)
    count_many(tcp.context, Counter.TCP_BYTES_OUT, length)
    acknowledge_sent(tcp, tcb)
    tcb.last_sent_at = tcp.context.now
    if pacing_is_on(tcb):
        pacing_sent(tcp, tcb, seq, length)
    return segment_send(tcp, &tcb.endpoint, &seg, &options, &text)
