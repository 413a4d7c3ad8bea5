# What an ACK says has arrived: in order, selectively, twice.
# Called by: ack.
# RFCs: 9293 section 3.10.7.4, 2018 section 5, 2883 section 5, 8985 section 6.2 steps 1 to 3.

from libc.stdint cimport uint32_t
from pystack.core.context cimport count
from pystack.core.counters cimport Counter
from pystack.core.tcp.busy cimport tcb_rare
from pystack.core.tcp.layer cimport (
    CA_LOSS, SENT_EVER_RETRANSMITTED, SENT_LOST, SENT_RETRANSMITTED, SENT_SACKED, Sent, SentQueue,
    Tcb, TcpLayer, TcpRare,
)
from pystack.core.tcp.news cimport (
    NEWS_ACKED, NEWS_DUPLICATE, NEWS_DUPLICATE_PROBE, NEWS_ORIGINAL_ARRIVED, NEWS_RENEGED,
    NEWS_RETRANSMITTED_ACKED, NEWS_SACKED, AckNews,
)
from pystack.core.tcp.rack cimport rack_advance
from pystack.core.tcp.reordering cimport reordering_note
from pystack.core.tcp.scoreboard cimport (
    sent_discount, sent_first, sent_highest_sacked, sent_segments, sent_split,
)
from pystack.core.tcp.sent_order cimport (
    NO_RECORD, order_has, order_remove, sent_find, sent_find_near,
)
from pystack.core.tcp.undo cimport echo_is_before, undo_duplicates
from pystack.core.wire.tcp cimport (
    TCP_MAX_SACK_BLOCKS, SackBlock, TcpOptions, seq_ge, seq_gt, seq_le, seq_lt, seq_max,
)

cdef enum:
    SENT_AGAIN = SENT_RETRANSMITTED | SENT_EVER_RETRANSMITTED


cdef void note_latest(AckNews* news, const Sent* sent) noexcept nogil:
    """What was sent last of all that has arrived: the round trip that this ACK ends."""
    if sent.sent_at >= news.latest_sent_at:
        news.latest_sent_at = sent.sent_at
        news.sent_delivered = sent.delivered
        news.sent_first_at = sent.first_sent_at
        news.sent_delivered_at = sent.delivered_at
        news.sent_flags = sent.flags


# --- twice

cdef uint32_t duplicate_input(
        TcpLayer* tcp, Tcb* tcb, const SackBlock* block, AckNews* news) noexcept nogil:
    """Segments that a D-SACK reports; 0: it is not to be believed (RFC 8985 section 6.2 step 4,
    RFC 2883).
    """
    cdef uint32_t length = block.end - block.start
    cdef uint32_t segments = 1
    if not seq_lt(block.start, block.end) or length > tcb.max_snd_wnd:
        return 0
    if length > tcb.smss:
        segments = (length + tcb.smss - 1) // tcb.smss
    elif tcb.busy.tail_probing and tcb.busy.tail_probe_end == block.end:
        news.flags |= NEWS_DUPLICATE_PROBE
    cdef TcpRare* rare = tcb_rare(tcb)
    if rare != NULL:
        rare.duplicates_reported += segments
    # More than we ever sent twice: the network has duplicated them, or the peer lies.
    if tcb.rare.duplicates_reported > tcb.rare.total_retransmitted:
        return 0
    if tcb.rare.reordering_seen and not news.flags & NEWS_DUPLICATE_PROBE:
        tcb.busy.rack.duplicate_seen = True
    news.flags |= NEWS_DUPLICATE
    tcb.delivered += segments
    return segments


cdef bint is_duplicate(
        TcpLayer* tcp, Tcb* tcb, uint32_t ack, const TcpOptions* options,
        AckNews* news) noexcept nogil:
    """The first block is a D-SACK: below the ACK, or within the second (RFC 2883 section 4)."""
    cdef const SackBlock* first = &options.sack[0]
    cdef const SackBlock* second = &options.sack[1]
    cdef uint32_t segments
    if not seq_lt(first.start, ack) and (
            options.sack_count < 2
            or seq_gt(first.end, second.end) or seq_lt(first.start, second.start)):
        return False
    count(tcp.context, Counter.TCP_DUPLICATE_REPORTS_IN)
    segments = duplicate_input(tcp, tcb, first, news)
    if segments == 0:
        return False
    # About data that is forgotten already: simply count.
    if seq_le(first.end, news.prior_una) and seq_gt(first.end, tcb.busy.undo_marker):
        undo_duplicates(tcb, segments)
    return True


# --- selectively

cdef bint block_is_valid(const Tcb* tcb, const SackBlock* block, bint duplicate) noexcept nogil:
    """Within what is outstanding; a D-SACK also within the episode that may be undone."""
    if seq_gt(block.end, tcb.snd_nxt) or not seq_lt(block.start, block.end) or (
            not seq_lt(block.start, tcb.snd_nxt)):
        return False
    if seq_gt(block.start, tcb.snd_una):
        return True
    if not duplicate or not tcb.busy.undo or seq_gt(block.end, tcb.snd_una):
        return False
    if seq_ge(block.start, tcb.busy.undo_marker):
        return True
    return seq_gt(block.end, tcb.busy.undo_marker) and (
        seq_ge(block.start, block.end - tcb.max_snd_wnd))


cdef void tag(
        TcpLayer* tcp, Tcb* tcb, uint32_t at, bint duplicate, AckNews* news) noexcept nogil:
    """The peer says that it has all of this record."""
    cdef Sent* sent = tcb.busy.sent.items + tcb.busy.sent.first + at
    cdef uint32_t highest = sent_highest_sacked(tcb)
    cdef uint32_t segments = sent_segments(sent)
    if duplicate and sent.flags & SENT_AGAIN:
        if seq_gt(sent.end, tcb.busy.undo_marker):
            undo_duplicates(tcb, segments)
        if sent.flags & SENT_SACKED and seq_lt(sent.seq, news.reordered):
            news.reordered = sent.seq
    if seq_le(sent.end, tcb.snd_una):
        return                  # acknowledged by the same segment, and about to leave
    if not sent.flags & SENT_SACKED:
        rack_advance(tcp, tcb, sent.flags, sent.end, sent.sent_at)
        if not sent.flags & SENT_AGAIN:
            if seq_lt(sent.seq, highest) and seq_lt(sent.seq, news.reordered):
                news.reordered = sent.seq
            if seq_le(sent.end, tcb.busy.recover):
                news.flags |= NEWS_ORIGINAL_ARRIVED
            if news.first_sacked_at == 0:
                news.first_sacked_at = sent.sent_at
            news.last_sacked_at = sent.sent_at
        if sent.flags & SENT_LOST:
            if sent.flags & SENT_RETRANSMITTED:
                tcb.busy.retrans_out -= segments
            else:
                tcb.busy.to_repeat -= segments
            tcb.busy.lost_out -= segments
            sent.flags &= ~(SENT_LOST | SENT_RETRANSMITTED)
        # Else a retransmission may still be under way, of what was not believed lost.
        note_latest(news, sent)
        if order_has(sent):
            order_remove(&tcb.busy.sent, at)
        sent.flags |= SENT_SACKED
        sent.newer = sent.end
        tcb.busy.highest_sacked = seq_max(highest, sent.end)
        news.flags |= NEWS_SACKED
        tcb.busy.sacked_out += segments
        tcb.delivered += segments
    if duplicate and sent.flags & SENT_RETRANSMITTED:
        sent.flags &= ~SENT_RETRANSMITTED
        tcb.busy.retrans_out -= segments


cdef uint32_t boundary(const Sent* sent, uint32_t seq, bint after) noexcept nogil:
    """The boundary between segments of a record next to `seq`, before or after it."""
    cdef uint32_t whole = (seq - sent.seq) // sent.mss * sent.mss
    if after and whole != seq - sent.seq:
        whole += sent.mss
    return sent.seq + whole


cdef bint cut_start(Tcb* tcb, const SackBlock* block, uint32_t at) noexcept nogil:
    """Cut a record that begins before the block where the first segment in the block begins, if one
    does. False: out of memory.
    """
    cdef const Sent* sent = tcb.busy.sent.items + tcb.busy.sent.first + at
    cdef uint32_t edge = boundary(sent, block.start, True)
    if not seq_lt(edge, sent.end) or sent_segments(sent) == 1:
        return True
    return sent_split(tcb, at, edge) != NULL


cdef bint cut_end(Tcb* tcb, const SackBlock* block, uint32_t at) noexcept nogil:
    """Cut a record that ends beyond the block where the last segment in the block ends. False: none
    does, or out of memory.
    """
    cdef const Sent* sent = tcb.busy.sent.items + tcb.busy.sent.first + at
    cdef uint32_t edge
    if seq_le(sent.end, block.end):
        return True
    edge = boundary(sent, block.end, False)
    return edge != sent.seq and sent_segments(sent) > 1 and sent_split(tcb, at, edge) != NULL


cdef uint32_t beyond_run(const SentQueue* queue, uint32_t at) noexcept nogil:
    """Number of the first record after this one, which has arrived, that is not known to have.

    Each record on the way is told what the next one knows: the way is shorter the next time.
    """
    cdef Sent* sent = queue.items + queue.first + at
    cdef const Sent* next
    at = sent_find_near(queue, at, sent.newer)
    while at < queue.count:
        next = queue.items + queue.first + at
        if not next.flags & SENT_SACKED:
            break
        sent.newer = next.newer
        sent = queue.items + queue.first + at
        at = sent_find_near(queue, at, sent.newer)
    return at


cdef void walk(
        TcpLayer* tcp, Tcb* tcb, const SackBlock* block, bint duplicate,
        AckNews* news) noexcept nogil:
    """Tag the segments that lie in the block as a whole (RFC 2018 section 5); trains are split.

    What has arrived already is jumped over: only a D-SACK says something new of it.
    """
    cdef SentQueue* queue = &tcb.busy.sent
    cdef uint32_t at = sent_find(queue, block.start)
    cdef uint32_t run = NO_RECORD       # its first record
    cdef const Sent* sent
    while at < queue.count:
        sent = queue.items + queue.first + at
        if seq_ge(sent.seq, block.end):
            break
        if sent.flags & SENT_SACKED and not duplicate:
            run = min(run, at)
            at = beyond_run(queue, at)
            continue
        if seq_lt(sent.seq, block.start):
            if not cut_start(tcb, block, at):
                break
        elif cut_end(tcb, block, at):
            tag(tcp, tcb, at, duplicate, news)
            # Where a record is not tagged, `newer` has another meaning.
            if seq_gt(queue.items[queue.first + at].end, tcb.snd_una):
                run = min(run, at)
        else:
            break
        at += 1
    if run != NO_RECORD:
        queue.items[queue.first + run].newer = queue.items[queue.first + at - 1].end


cdef void insert_sorted(SackBlock* blocks, int filled, const SackBlock* block) noexcept nogil:
    while filled and seq_gt(blocks[filled - 1].start, block.start):
        blocks[filled] = blocks[filled - 1]
        filled -= 1
    blocks[filled] = block[0]


cdef void arrival_sacked(
        TcpLayer* tcp, Tcb* tcb, uint32_t ack, const TcpOptions* options,
        AckNews* news) noexcept nogil:
    cdef SackBlock[TCP_MAX_SACK_BLOCKS] blocks
    cdef const SackBlock* block
    cdef bint duplicate = is_duplicate(tcp, tcb, ack, options, news)
    cdef uint32_t reported = options.sack[0].start
    cdef int used = 0
    cdef int i
    if seq_lt(ack, news.prior_una - tcb.max_snd_wnd) or tcb.busy.packets_out == 0:
        return
    for i in range(options.sack_count):
        block = &options.sack[i]
        if block_is_valid(tcb, block, duplicate and i == 0) and (
                seq_gt(block.end, news.prior_una)):
            insert_sorted(blocks, used, block)
            used += 1
    # Blocks in order of their numbers, so that one ACK is no evidence of reordering.
    for i in range(used):
        walk(tcp, tcb, &blocks[i], duplicate and blocks[i].start == reported
             and blocks[i].end == options.sack[0].end, news)
    if seq_lt(news.reordered, tcb.snd_nxt) and (tcb.busy.ca_state != CA_LOSS or tcb.busy.undo):
        reordering_note(tcp, tcb, news.reordered)


# --- in order

cdef uint32_t acked_of(const Tcb* tcb, Sent* sent) noexcept nogil:
    """Whole segments of a record that lie before SND.UNA."""
    cdef uint32_t segments = sent_segments(sent)
    cdef uint32_t seq = sent.seq
    cdef uint32_t left
    if seq_le(sent.end, tcb.snd_una):
        return segments
    if seq_ge(seq, tcb.snd_una):
        return 0
    sent.seq = tcb.snd_una
    left = sent_segments(sent)
    sent.seq = seq
    return segments - left


cdef void record_acked(
        TcpLayer* tcp, Tcb* tcb, const Sent* sent, uint32_t segments, uint32_t* lowest,
        AckNews* news) noexcept nogil:
    if sent.flags & SENT_AGAIN:
        news.flags |= NEWS_RETRANSMITTED_ACKED
    elif not sent.flags & SENT_SACKED:
        news.last_acked_at = sent.sent_at
        if news.first_acked_at == 0:
            news.first_acked_at = sent.sent_at
        if seq_lt(sent.seq, lowest[0]):
            lowest[0] = sent.seq
        if seq_le(sent.end, tcb.busy.recover):
            news.flags |= NEWS_ORIGINAL_ARRIVED
    if not sent.flags & SENT_SACKED:
        note_latest(news, sent)
        if tcb.sack_ok:
            tcb.delivered += segments
            # What the echo shows to be an ACK of the original says nothing of the later one.
            if not (sent.flags & SENT_AGAIN and echo_is_before(tcb, news, sent.sent_at)):
                rack_advance(tcp, tcb, sent.flags, sent.end, sent.sent_at)
    news.flags |= NEWS_ACKED
    news.acked_segments += segments
    sent_discount(tcb, sent, segments)


cdef void arrival_acked(TcpLayer* tcp, Tcb* tcb, AckNews* news) noexcept nogil:
    cdef SentQueue* queue
    cdef Sent* sent
    cdef uint32_t segments
    cdef uint32_t lowest = news.prior_highest
    queue = &tcb.busy.sent
    while queue.count:
        sent = queue.items + queue.first
        segments = acked_of(tcb, sent)
        if segments:
            record_acked(tcp, tcb, sent, segments, &lowest, news)
        if seq_gt(sent.end, tcb.snd_una):
            sent.seq = seq_max(sent.seq, tcb.snd_una)
            break
        if order_has(sent):
            order_remove(queue, 0)
        queue.first += 1
        queue.count -= 1
    if queue.count == 0:
        queue.first = 0
    # It stays within reach of comparison.
    tcb.busy.repeat_from = seq_max(tcb.busy.repeat_from, tcb.snd_una)
    sent = sent_first(tcb)
    if sent != NULL and sent.flags & SENT_SACKED:
        news.flags |= NEWS_RENEGED
    # What had never been sent again fills a hole: it was only late (RFC 8985 section 6.2 step 3).
    if news.flags & NEWS_ACKED and tcb.sack_ok and seq_lt(lowest, news.prior_highest):
        reordering_note(tcp, tcb, lowest)
