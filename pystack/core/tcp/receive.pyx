# Segment text, step seven of SEGMENT ARRIVES: into the receive queue, in order or not.
# Called by: text; input (duplicates); segments (SACK blocks).
# RFCs: 9293 sections 3.10.7.4 and 3.8.6.2.2, 2018, 2883, 5681 section 4.2.

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from pystack.core.context cimport count, count_many, endpoint_ready
from pystack.core.counters cimport Counter
from pystack.core.endpoint cimport READY_LITTLE, READY_READ, SERVICE_DISCARD, SERVICE_NONE
from pystack.core.memory.interval cimport (
    Interval, IntervalSet, interval_add, interval_find, interval_remove_below,
)
from pystack.core.tcp.acknowledge cimport (
    acknowledge_measure, acknowledge_quickly, acknowledge_text,
)
from pystack.core.tcp.busy cimport tcb_rare
from pystack.core.tcp.layer cimport Tcb, TcpBusy, TcpLayer, TcpRare
from pystack.core.tcp.receive_queue cimport (
    received_append, received_extend, received_keep, received_put, received_reserve,
)
from pystack.core.tcp.tcb cimport tcb_output_later
from pystack.core.tcp.window cimport window_round_trip_of_window
from pystack.core.wire.tcp cimport (
    SackBlock, TcpSegment, seq_ge, seq_gt, seq_lt, seq_max, seq_min,
)

cdef enum:
    RECENT = 4
    LONG_TEXT = 8192        # what is shorter costs less to copy than to keep


cdef bint holes_exist(const Tcb* tcb) noexcept nogil:
    return tcb.busy.out_of_order.count != 0


cdef inline bint text_is_kept(const Tcb* tcb) noexcept nogil:
    """Not after SHUT_RD; and a discard service (RFC 863) counts its text in the ring, whose bytes
    nobody will look at.
    """
    return not tcb.shut_read and tcb.endpoint.service != SERVICE_DISCARD


cdef inline bint is_unwanted(const Tcb* tcb, uint32_t length) noexcept nogil:
    """Text that only counts, as a call waits for it that wants no bytes."""
    return (tcb.busy.unwanted >= <uint64_t>tcb.busy.received.length + length
            and not tcb.urgent_in)


cdef inline bint is_news(const Tcb* tcb) noexcept nogil:
    """Not to a call that waits for more, all of which is dropped."""
    return tcb.busy.unwanted <= tcb.busy.received.length or tcb.urgent_in


cdef inline bint stays_in_packet(
        const TcpLayer* tcp, const Tcb* tcb, const TcpSegment* seg) noexcept nogil:
    """A long train, of which at least half of the buffer is text. A service has its text in a ring.
    """
    return (seg.length >= LONG_TEXT and seg.length >= tcp.arriving.capacity // 2
            and not holes_exist(tcb) and tcb.endpoint.service == SERVICE_NONE)


cdef void duplicate_seen(TcpLayer* tcp, Tcb* tcb, uint32_t start, uint32_t end) noexcept nogil:
    """[start, end) arrived once more: acknowledge at once and say so (RFC 2883 section 4)."""
    count(tcp.context, Counter.TCP_DUPLICATE_DATA_IN)
    tcb.busy.duplicate_start = start
    tcb.busy.duplicate_end = end
    tcb.busy.duplicate_pending = tcb.sack_ok and tcb.config.dsack
    acknowledge_quickly(tcp, tcb)


cdef void duplicate_beyond_hole(
        TcpLayer* tcp, Tcb* tcb, uint32_t start, uint32_t end) noexcept nogil:
    """Report the first stretch of [start, end) that is held already (RFC 2883 section 4.2.2)."""
    cdef const IntervalSet* held = &tcb.busy.out_of_order
    cdef const Interval* interval
    cdef uint32_t i
    for i in range(held.count):
        interval = held.items + i
        if seq_gt(interval.end, start) and seq_lt(interval.start, end):
            duplicate_seen(tcp, tcb, seq_max(interval.start, start), seq_min(interval.end, end))
            return


cdef void remember_recent(TcpBusy* busy, uint32_t start) noexcept nogil:
    """The newest arrival is reported first, and each block once (RFC 2018 section 4)."""
    cdef const Interval* interval = interval_find(&busy.out_of_order, start)
    cdef uint32_t kept[RECENT]
    cdef int others = 0
    cdef int i
    for i in range(busy.recent_count):
        if others < RECENT - 1 and (
                seq_lt(busy.recent[i], interval.start) or seq_ge(busy.recent[i], interval.end)):
            kept[others] = busy.recent[i]
            others += 1
    busy.recent[0] = start
    for i in range(others):
        busy.recent[i + 1] = kept[i]
    busy.recent_count = <uint8_t>(others + 1)


cdef void out_of_order_count(TcpLayer* tcp, Tcb* tcb) noexcept nogil:
    cdef TcpRare* rare = tcb_rare(tcb)
    if rare != NULL:
        rare.out_of_order += 1
    count(tcp.context, Counter.TCP_OUT_OF_ORDER_IN)


cdef bint out_of_order_input(TcpLayer* tcp, Tcb* tcb, const TcpSegment* seg) noexcept nogil:
    """Store beyond a hole. Always acknowledged at once: the duplicate ACK that the sender waits
    for.
    """
    cdef uint32_t offset = tcb.busy.received.length + (seg.seq - tcb.rcv_nxt)
    cdef TcpBusy* busy = tcb.busy
    busy.ack_now = True
    acknowledge_measure(tcp, tcb, seg)
    if text_is_kept(tcb) and received_reserve(tcp, &busy.received, offset + seg.length) < 0:
        count(tcp.context, Counter.TCP_DROP_NO_MEMORY)
        return False
    duplicate_beyond_hole(tcp, tcb, seg.seq, seg.seq + seg.length)
    if interval_add(&busy.out_of_order, seg.seq, seg.seq + seg.length,
                    <uint16_t>tcb.config.max_out_of_order) < 0:
        count(tcp.context, Counter.TCP_DROP_OUT_OF_ORDER_FULL)
        return False
    if text_is_kept(tcb):
        received_put(&busy.received, offset, seg.payload, seg.length)
    remember_recent(busy, seg.seq)
    out_of_order_count(tcp, tcb)
    return False


cdef void absorb(TcpLayer* tcp, Tcb* tcb) noexcept nogil:
    """The hole at rcv_nxt is filled: what lies behind it is in order now, up to the peer's FIN."""
    cdef const Interval* interval = tcb.busy.out_of_order.items
    cdef uint32_t end
    # RFC 2883 section 4.2: part of it was here already. As Linux, the first duplicate is reported.
    if seq_lt(interval.start, tcb.rcv_nxt) and not tcb.busy.duplicate_pending:
        duplicate_seen(tcp, tcb, interval.start, seq_min(interval.end, tcb.rcv_nxt))
    interval = interval_find(&tcb.busy.out_of_order, tcb.rcv_nxt)
    if interval != NULL:
        end = interval.end
        if tcb.busy.fin_ahead and seq_ge(tcb.busy.fin_at, tcb.rcv_nxt):
            end = seq_min(end, tcb.busy.fin_at)
        if not tcb.shut_read:
            received_extend(&tcb.busy.received, end - tcb.rcv_nxt)
        count_many(tcp.context, Counter.TCP_BYTES_IN, end - tcb.rcv_nxt)
        tcb.totals.bytes_received += end - tcb.rcv_nxt
        tcb.rcv_nxt = end
    interval_remove_below(&tcb.busy.out_of_order, tcb.rcv_nxt)
    if tcb.busy.out_of_order.count == 0:
        tcb.busy.recent_count = 0
    # RFC 5681 section 4.2: a segment that fills a gap is acknowledged at once.
    tcb.busy.ack_now = True


cdef void nothing_follows(Tcb* tcb) noexcept nogil:
    if holes_exist(tcb):
        tcb.busy.out_of_order.count = 0
        tcb.busy.recent_count = 0


cdef bint text_input(TcpLayer* tcp, Tcb* tcb, const TcpSegment* seg) noexcept nogil:
    """Take the text of a segment that has been trimmed to the window; True if rcv_nxt moved."""
    if seg.seq != tcb.rcv_nxt:
        return out_of_order_input(tcp, tcb, seg)
    if not text_is_kept(tcb) or is_unwanted(tcb, seg.length):
        if not tcb.shut_read:
            received_extend(&tcb.busy.received, seg.length)
    elif stays_in_packet(tcp, tcb, seg):
        received_keep(&tcb.busy.received, tcp.arriving, <uint8_t*>seg.payload, seg.length)
        tcp.arriving = NULL
    elif received_append(tcp, &tcb.busy.received, seg.payload, seg.length) < 0:
        count(tcp.context, Counter.TCP_DROP_NO_MEMORY)
        return False
    tcb.rcv_nxt += seg.length
    tcb.totals.bytes_received += seg.length
    tcb.busy.unacked_bytes += seg.length
    count_many(tcp.context, Counter.TCP_BYTES_IN, seg.length)
    if holes_exist(tcb):
        absorb(tcp, tcb)
    if not tcb.timestamps_ok:
        window_round_trip_of_window(tcp, tcb)
    acknowledge_text(tcp, tcb, seg)
    if tcb.busy.ack_now:
        tcb_output_later(tcp, tcb)
    if is_news(tcb):
        endpoint_ready(
            tcp.context, &tcb.endpoint,
            READY_READ if text_is_ready(tcb) or tcb.shut_read else READY_LITTLE)
    return True


cdef int sack_blocks(const Tcb* tcb, SackBlock* blocks, int room) noexcept nogil:
    """Blocks to report: a D-SACK, then the most recent arrivals, none twice (RFC 2018 section 4,
    RFC 2883).
    """
    cdef const Interval* interval
    cdef int written = 0
    cdef int i, j
    if tcb.busy.duplicate_pending and room:
        blocks[0].start = tcb.busy.duplicate_start
        blocks[0].end = tcb.busy.duplicate_end
        written = 1
    if not holes_exist(tcb):
        return written
    for i in range(tcb.busy.recent_count):
        if written == room:
            break
        interval = interval_find(&tcb.busy.out_of_order, tcb.busy.recent[i])
        if interval == NULL:
            continue
        for j in range(1 if tcb.busy.duplicate_pending else 0, written):
            if blocks[j].start == interval.start:
                interval = NULL
                break
        if interval != NULL:
            blocks[written].start = interval.start
            blocks[written].end = interval.end
            written += 1
    return written
