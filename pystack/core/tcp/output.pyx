# Segments out: data as trains, acknowledgments, SYNs, resets, probes.
# Called by: input, handshake, text, timers, calls, listen; stack (tcp_output, once per batch).
# RFCs: 9293 sections 3.7.4, 3.8.6 and 3.10, 1122 section 4.2.3.4, 6691, 7323, 2018, 3042.

from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t
from libc.string cimport memcpy, memset
from pystack.core.context cimport count, count_many
from pystack.core.counters cimport Counter
from pystack.core.endpoint cimport Endpoint
from pystack.core.ip.layer cimport PROTOCOL_TCP, IpSend, IpView
from pystack.core.ip.output cimport ip_output, ip_packet_new
from pystack.core.memory.deadline cimport DEADLINE_NEVER
from pystack.core.memory.loan cimport SPANS, Spans, loan_spans
from pystack.core.memory.packet cimport (
    CSUM_PARTIAL, GSO_TCP4, GSO_TCP6, Packet,
)
from pystack.core.tcp.acknowledge cimport acknowledge_by_text, acknowledge_sent
from pystack.core.tcp.busy cimport tcb_rare
from pystack.core.tcp.chunks cimport (
    chunks_first, chunks_grow, chunks_pushed, chunks_sent,
)
from pystack.core.tcp.chrono cimport CHRONO_ROOM, CHRONO_WINDOW, chrono_start, chrono_stop
from pystack.core.tcp.clock cimport timestamp_now
from pystack.core.tcp.congestion.interface cimport congestion_idle, congestion_sent
from pystack.core.tcp.ecn cimport ECN_MASK, ecn_output, ecn_syn_flags
from pystack.core.tcp.fast_open_cookie cimport FastOpenCookie
from pystack.core.tcp.layer cimport (
    CA_RECOVERY, FAST_OPEN_EARLY, RETRANSMIT_AFTER_NEW, RETRANSMIT_NONE, SENT_FIN, SENT_PUSHED,
    STATE_ESTABLISHED, STATE_SYN_RECEIVED, STATE_TIME_WAIT, Sent, Tcb, TcpLayer,
    TcpRare,
)
from pystack.core.tcp.mss cimport announced_mss, sync_mss
from pystack.core.tcp.mtu_search cimport mtu_search_next, mtu_search_sent
from pystack.core.tcp.pacing cimport pacing_holds, pacing_is_on, pacing_sent, pacing_train
from pystack.core.tcp.receive cimport sack_blocks
from pystack.core.tcp.prr cimport prr_sent
from pystack.core.tcp.recovery cimport recovery_next, recovery_sent_again
from pystack.core.tcp.retransmission cimport retransmit_timer_sent
from pystack.core.tcp.rtt cimport rtt_timeout
from pystack.core.tcp.scoreboard cimport (
    sent_again, sent_first, sent_last, sent_pipe, sent_push,
)
from pystack.core.tcp.send_buffer cimport send_buffer_moved
from pystack.core.tcp.tcb cimport tcb_flight, tcb_rearm, tcb_unsent
from pystack.core.tcp.tlp cimport tail_probe_sent
from pystack.core.tcp.user_timeout cimport user_timeout_offer
from pystack.core.tcp.window cimport window_field
from pystack.core.wire.address cimport Addr, addr_is_v4
from pystack.core.wire.bytes cimport store16
from pystack.core.wire.checksum cimport csum_fold, csum_pseudo
from pystack.core.wire.tcp cimport (
    TCP_ACK, TCP_FIN, TCP_HEADER_LENGTH, TCP_MAX_HEADER_LENGTH, TCP_OPT_FAST_OPEN, TCP_OPT_MSS,
    TCP_OPT_SACK, TCP_OPT_SACK_PERMITTED, TCP_OPT_TIMESTAMP, TCP_OPT_WINDOW_SCALE, TCP_PSH,
    TCP_RST, TCP_SYN, TCP_URG, TcpOptions, TcpSegment, seq_ge, seq_le, seq_lt, tcp_build_header,
    tcp_build_options,
)

cdef enum:
    FEW_SEGMENTS = 3
    CHECKSUM_OFFSET = 16
    USER_TIMEOUT_LENGTH = 4
    LITTLE = 256            # bytes of text: to copy them costs less than a call with two stretches

cdef int64_t MILLISECOND = 1_000_000


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


cdef void send_bare(TcpLayer* tcp, Tcb* tcb, uint32_t seq, uint8_t flags) noexcept nogil:
    """A segment without text of a synchronized connection."""
    cdef TcpSegment seg
    cdef TcpOptions options
    memset(&seg, 0, sizeof(seg))
    data_options(tcp, tcb, &options)
    tcb.busy.user_timeout_owed = False
    seg.seq = seq
    seg.ack = tcb.rcv_nxt
    seg.flags = flags
    seg.window = window_field(tcb)
    if tcb.ecn:
        ecn_output(tcb, &seg, False)
    tcb.totals.segments_out += 1
    segment_send(tcp, &tcb.endpoint, &seg, &options, NULL)


cdef uint32_t acceptable_seq(const Tcb* tcb) noexcept nogil:
    """SND.NXT, but not beyond the window of a peer that has shrunk it, who would drop the ACK.

    As Linux: as long as it is not only the scale that hides the difference.
    """
    cdef uint32_t edge = tcb.snd_una + tcb.snd_wnd
    if seq_ge(edge, tcb.snd_nxt) or (
            tcb.rcv_scale_offered and tcb.snd_nxt - edge < <uint32_t>1 << tcb.rcv_scale):
        return tcb.snd_nxt
    return edge


cdef void send_ack(TcpLayer* tcp, Tcb* tcb) noexcept nogil:
    send_bare(tcp, tcb, acceptable_seq(tcb), TCP_ACK)
    acknowledge_sent(tcp, tcb)


cdef void send_probe(TcpLayer* tcp, Tcb* tcb) noexcept nogil:
    send_bare(tcp, tcb, tcb.snd_una - 1, TCP_ACK)


cdef void send_reset(TcpLayer* tcp, Tcb* tcb) noexcept nogil:
    """<SEQ=SND.NXT><CTL=RST,ACK> (RFC 9293 section 3.10.5)."""
    count(tcp.context, Counter.TCP_RESETS_OUT)
    send_bare(tcp, tcb, acceptable_seq(tcb), TCP_RST | TCP_ACK)


cdef inline void count_out(Tcb* tcb, uint32_t length, uint32_t mss) noexcept nogil:
    cdef uint32_t segments = (length + mss - 1) // mss
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


cdef bint ends_a_write(const Tcb* tcb, uint32_t seq, uint32_t length) noexcept nogil:
    """PSH (RFC 9293 section 3.9.1.2): the end of what was written; as Linux, also what the peer's
    window has no room for twice.
    """
    cdef int pushed
    if length == 0:
        return False
    pushed = chunks_pushed(tcb, seq + length)
    if pushed >= 0:
        return pushed
    return (seq - tcb.snd_una + length == tcb.busy.send_ring.length and not tcb.busy.more) or (
        length > tcb.max_snd_wnd // 2)


cdef int send_data(
        TcpLayer* tcp, Tcb* tcb, uint32_t seq, uint32_t length, uint8_t sent, bint fresh,
        uint32_t mss) noexcept nogil:
    """[seq, seq + length) of what is to be sent as one segment or train, lent to the packet.

    sent: SENT_FIN and SENT_PUSHED of its record.
    """
    cdef TcpSegment seg
    cdef TcpOptions options
    cdef Spans text
    memset(&seg, 0, sizeof(seg))
    data_options(tcp, tcb, &options)
    tcb.busy.user_timeout_owed = False
    seg.seq = seq
    seg.ack = tcb.rcv_nxt
    seg.flags = TCP_ACK
    seg.window = window_field(tcb)
    seg.length = length
    seg.gso_size = <uint16_t>mss
    if length:
        loan_spans(&tcb.busy.loans, &tcb.busy.send_ring, tcb.snd_una, seq, length, &text)
    # As Linux, the end of each train is pushed too, but not if it is sent again alone.
    if sent & SENT_PUSHED or length > mss:
        seg.flags |= TCP_PSH
    if sent & SENT_FIN:
        seg.flags |= TCP_FIN
    if tcb.busy.urgent_out and seq_lt(seq, tcb.busy.snd_up) and tcb.busy.snd_up - seq <= 0xFFFF:
        seg.flags |= TCP_URG
        seg.urgent = <uint16_t>(tcb.busy.snd_up - seq)
    count_out(tcb, length, mss)
    if tcb.ecn:
        ecn_output(tcb, &seg, length != 0 and fresh)
    count_many(tcp.context, Counter.TCP_BYTES_OUT, length)
    acknowledge_sent(tcp, tcb)
    tcb.last_sent_at = tcp.context.now
    if pacing_is_on(tcb):
        pacing_sent(tcp, tcb, seq, length)
    return segment_send(tcp, &tcb.endpoint, &seg, &options, &text)


cdef void retransmit(TcpLayer* tcp, Tcb* tcb, Sent* sent, uint32_t mss) noexcept nogil:
    cdef bint fin = tcb.fin_sent and sent.end == tcb.snd_nxt
    cdef uint32_t length = sent.end - sent.seq - (1 if fin else 0)
    cdef TcpRare* rare = tcb_rare(tcb)
    if rare != NULL:
        rare.bytes_retransmitted += length
    if tcb.rare.search != NULL:
        tcb.rare.search.size = 0     # whatever is acknowledged now says nothing of the probe
    send_data(tcp, tcb, sent.seq, length, sent.flags, False, mss)


cdef bint small_segment_may_go(const Tcb* tcb) noexcept nogil:
    """Nagle (RFC 1122 section 4.2.3.4) as Minshall and Linux read it: hold back only behind another
    small one.
    """
    if tcb.fin_queued or tcb.busy.urgent_out:
        return True
    if tcb.settings.cork or tcb.busy.more:
        return False
    return tcb.settings.no_delay or seq_le(tcb.busy.snd_small, tcb.snd_una)


cdef uint32_t usable_window(const Tcb* tcb) noexcept nogil:
    cdef int32_t usable = <int32_t>(tcb.snd_una + tcb.snd_wnd - tcb.snd_nxt)
    return <uint32_t>usable if usable > 0 else 0


cdef uint32_t whole_segments(uint32_t size, uint32_t mss) noexcept nogil:
    return size - size % mss


cdef uint32_t sendable(Tcb* tcb, uint32_t mss, uint32_t train, bint forced) noexcept nogil:
    """How much new data goes out now as one train (RFC 9293 section 3.8.6.2.1, Nagle, cwnd); 0:
    none.
    """
    cdef uint32_t waiting = tcb_unsent(tcb)
    cdef uint32_t window = usable_window(tcb)
    cdef uint32_t pipe = sent_pipe(tcb)
    cdef uint32_t room = tcb.congestion.cwnd - min(pipe, tcb.congestion.cwnd)
    cdef uint32_t size = min(min(waiting, window), train)
    if room < size:
        size = room if pipe == 0 and room < mss else room // tcb.smss * mss
    if size == 0:
        return 0
    if size < waiting:
        if size >= mss:
            # As Linux, behind whole segments the rest of a window may be used by a small one.
            if size == window and small_segment_may_go(tcb):
                return size
            return whole_segments(size, mss)
        # The window, not the data, is small: wait for half of the largest one, or for the override
        # timer.
        return size if forced or size >= tcb.max_snd_wnd // 2 else 0
    if size % mss == 0 or forced or small_segment_may_go(tcb):
        return size
    return whole_segments(size, mss)


cdef uint32_t room_in_window(const Tcb* tcb, uint32_t mss) noexcept nogil:
    """What cwnd allows, in whole segments."""
    cdef uint32_t pipe = sent_pipe(tcb)
    return (tcb.congestion.cwnd - min(pipe, tcb.congestion.cwnd)) // tcb.smss * mss


cdef uint32_t longest_wait(const Tcb* tcb, uint32_t mss) noexcept nogil:
    """A train as long as that does not wait for more."""
    cdef uint32_t divisor = tcb.config.tso_win_divisor
    if divisor == 0:
        return FEW_SEGMENTS * mss + 1
    return min(tcb.snd_wnd, tcb.congestion.cwnd) // divisor


cdef bint train_waits(
        TcpLayer* tcp, Tcb* tcb, uint32_t mss, uint32_t train, bint* full) noexcept nogil:
    """Linux's tcp_tso_should_defer(): rather a longer train with the next ACK than one now.

    Only within a millisecond of the last one, with less than a third of the window to go, and if
    the next ACK is due. full: it is cwnd that does not let more out.
    """
    cdef uint32_t waiting = tcb_unsent(tcb)
    cdef uint32_t window = usable_window(tcb)
    cdef uint32_t room = room_in_window(tcb, mss)
    cdef uint32_t limit = min(window, room)
    cdef const Sent* first = sent_first(tcb)
    cdef uint32_t end, size
    cdef bint last
    if (first == NULL or waiting <= mss or tcb.busy.ca_state >= CA_RECOVERY
            or tcp.context.now - tcb.last_sent_at > MILLISECOND):
        return False
    if limit >= train:
        return False
    if chunks_first(tcb, &end, &last):
        # A buffer of one segment has nothing to wait for, nor has one that is full.
        size = end - tcb.snd_nxt
        if size <= mss or (not last and limit >= size):
            return False
    if limit >= longest_wait(tcb, mss):
        return False
    if first.sent_at + tcb.rtt.srtt - tcp.context.now > min(tcb.rtt.srtt // 2, MILLISECOND):
        return False
    if min(room, window) <= waiting:
        full[0] = full[0] or room < window
        return True
    return not tcb.fin_queued


cdef bint fin_may_go(const Tcb* tcb, uint32_t length) noexcept nogil:
    """All data goes with or before it, and the window has room for its sequence number."""
    return (tcb.fin_queued and not tcb.fin_sent and tcb_unsent(tcb) == length
            and usable_window(tcb) > length)


cdef bint send_new(
        TcpLayer* tcp, Tcb* tcb, uint32_t mss, uint32_t train, bint forced,
        bint* full) noexcept nogil:
    """One train of new data, with the FIN if it is time; True if something went out."""
    cdef uint32_t length
    cdef bint fin
    if tcb_unsent(tcb) == 0 and not tcb.fin_queued:
        return False
    if tcb.busy.sent.count >= tcb.config.max_sent:
        return False
    # As Linux, half of the window at most: what is acknowledged lets the other half out.
    length = max(tcb.congestion.cwnd // (2 * tcb.smss), <uint32_t>1) * mss
    if tcb.busy.chunks.count > 1:
        chunks_grow(tcb, min(min(train, length), room_in_window(tcb, mss)))
    length = sendable(tcb, mss, mss if tcb.busy.urgent_out else min(train, length), forced)
    fin = fin_may_go(tcb, length)
    if length == 0 and not fin:
        return False
    if length and not forced and train_waits(tcp, tcb, mss, train, full):
        return False
    return send_fresh(tcp, tcb, length, fin, mss)


cdef bint send_fresh(
        TcpLayer* tcp, Tcb* tcb, uint32_t length, bint fin, uint32_t mss) noexcept nogil:
    cdef uint32_t end = tcb.snd_nxt + length + (1 if fin else 0)
    cdef uint32_t before = tcb.busy.packets_out
    cdef uint8_t flags = SENT_FIN if fin else 0
    # As Linux, what a probe of the window makes go is pushed too.
    if length and (tcb.busy.output_forced or ends_a_write(tcb, tcb.snd_nxt, length)):
        flags |= SENT_PUSHED
    if sent_push(tcb, tcb.snd_nxt, end, mss, flags, tcp.context.now) < 0:
        count(tcp.context, Counter.OUT_OF_MEMORY)
        return False
    tcb.fin_sent = fin
    if length % mss:
        tcb.busy.snd_small = end
    if length:
        acknowledge_by_text(tcp, tcb)
    send_data(tcp, tcb, tcb.snd_nxt, length, flags, True, mss)
    tcb.snd_nxt = end
    if tcb.busy.chunks.count:
        chunks_sent(tcb)
    prr_sent(tcb, tcb.busy.packets_out - before)
    retransmit_timer_sent(tcp, tcb, before == 0)
    return True


cdef void send_tail_probe(TcpLayer* tcp, Tcb* tcb, uint32_t mss) noexcept nogil:
    """TLP_send_probe() (RFC 8985 section 7.3): a segment of new data whatever cwnd says, or else
    the last one again.
    """
    cdef uint32_t length = min(tcb_unsent(tcb), mss)
    cdef Sent* sent
    tcb.busy.tail_probe_due = False
    if tcb.busy.packets_out == 0 or tcb.busy.tail_probing:
        return
    if length and usable_window(tcb) >= length:
        if send_fresh(tcp, tcb, length, fin_may_go(tcb, length), mss):
            tail_probe_sent(tcp, tcb, False)
        return
    sent = sent_last(tcb, mss)
    if sent != NULL:
        sent_again(tcb, sent, tcp.context.now)
        count(tcp.context, Counter.TCP_RETRANSMITTED_SEGMENTS)
        retransmit(tcp, tcb, sent, mss)
        tail_probe_sent(tcp, tcb, True)


cdef bint send_mtu_probe(TcpLayer* tcp, Tcb* tcb) noexcept nogil:
    """New data in a segment that may be too large (RFC 4821 section 7.5); False: nothing else goes
    before there is room for one.
    """
    cdef uint32_t start = tcb.snd_nxt
    cdef int32_t size = mtu_search_next(tcp, tcb)
    if size > 0 and send_fresh(tcp, tcb, size, False, size):
        mtu_search_sent(tcp, tcb, start, size)
    return size >= 0


cdef void wait_for_window(TcpLayer* tcp, Tcb* tcb) noexcept nogil:
    """Data waits and nothing is outstanding that would bring an ACK: probe (RFC 9293 section
    3.8.6.1).
    """
    if tcb.busy.probing or tcb_flight(tcb) or tcb.fast_open & FAST_OPEN_EARLY or not (
            tcb_unsent(tcb) or (tcb.fin_queued and not tcb.fin_sent)):
        return
    tcb.busy.probing = True
    tcb.busy.first_unacked_at = 0       # as Linux, the user timeout begins with the first probe
    tcb.busy.retransmit_at = tcp.context.now + max(rtt_timeout(tcb), tcb.config.cork)
    tcb_rearm(tcp, tcb)


cdef uint32_t train_limit(const TcpLayer* tcp, uint32_t mss) noexcept nogil:
    """Payload of the largest train: the device's limit less the largest headers, in whole segments.
    """
    cdef uint32_t limit = tcp.context.max_train
    if limit < mss + 60 + TCP_MAX_HEADER_LENGTH:
        return mss
    return whole_segments(limit - 60 - TCP_MAX_HEADER_LENGTH, mss)


cdef void note_limits(TcpLayer* tcp, Tcb* tcb) noexcept nogil:
    """Why there is not more to be sent, for TCP_INFO."""
    if tcb_unsent(tcb) and usable_window(tcb) < min(tcb_unsent(tcb), tcb.smss):
        chrono_start(tcp, tcb, CHRONO_WINDOW)
        return
    chrono_stop(tcp, tcb, CHRONO_WINDOW)
    if tcb.write_blocked and tcb_unsent(tcb) == 0:
        chrono_start(tcp, tcb, CHRONO_ROOM)
    else:
        chrono_stop(tcp, tcb, CHRONO_ROOM)


cdef void output(TcpLayer* tcp, Tcb* tcb, bint forced) noexcept nogil:
    cdef TcpOptions options
    cdef Sent* lost
    cdef uint32_t mss, train
    cdef uint32_t before = tcb.snd_nxt
    cdef bint more = True
    cdef bint full = False
    sync_mss(tcp, tcb)
    if tcb_flight(tcb) == 0 and tcb.busy.send_ring.length and usable_window(tcb):
        congestion_idle(tcp, tcb)
    options.present = 0
    add_blocks(tcb, &options)
    mss = tcb.smss
    if options.sack_count:
        mss -= min(4 + 8 * options.sack_count, mss - 1)
    if tcb.busy.user_timeout_owed:
        mss -= min(<uint32_t>USER_TIMEOUT_LENGTH, mss - 1)
    train = pacing_train(tcp, tcb, mss, train_limit(tcp, mss))
    if tcb.busy.tail_probe_due:
        send_tail_probe(tcp, tcb, mss)
    # Not with options that differ from segment to segment.
    if tcb.rare.search != NULL and mss == tcb.smss and not (
            pacing_is_on(tcb) and pacing_holds(tcp, tcb)):
        more = send_mtu_probe(tcp, tcb)
    while more:
        if pacing_is_on(tcb) and pacing_holds(tcp, tcb):
            break
        lost = NULL
        if tcb.busy.retransmit != RETRANSMIT_NONE and tcb_flight(tcb):
            # RFC 5682 section 3.1 step 2.b: new data goes at once.
            forced = forced or tcb.busy.retransmit == RETRANSMIT_AFTER_NEW
            lost = recovery_next(tcp, tcb, train, mss, tcb_unsent(tcb) and usable_window(tcb))
        if lost != NULL:
            recovery_sent_again(tcp, tcb, lost)
            retransmit(tcp, tcb, lost, mss)
        else:
            more = send_new(tcp, tcb, mss, train, forced, &full)
            forced = False
    note_limits(tcp, tcb)
    if tcb.snd_nxt != before or tcb_unsent(tcb):
        full = full or sent_pipe(tcb) + tcb.smss > tcb.congestion.cwnd
        congestion_sent(tcp, tcb, tcb.snd_nxt != before, full)
    if tcb.busy.pace_at == DEADLINE_NEVER:
        wait_for_window(tcp, tcb)
    send_buffer_moved(tcp, tcb)


cdef void tcp_output(TcpLayer* tcp, Tcb* tcb) noexcept nogil:
    if (tcb.state >= STATE_ESTABLISHED and tcb.state != STATE_TIME_WAIT) or (
            tcb.fast_open & FAST_OPEN_EARLY):
        output(tcp, tcb, tcb.busy.output_forced)
        tcb.busy.output_forced = False
    if tcb.busy.ack_now and tcb.state >= STATE_ESTABLISHED:
        send_ack(tcp, tcb)
