# Output: what is owed to a connection's peer, and when it may go.
# Called by: stack, once per batch.
# RFCs: 9293 sections 3.7.4 and 3.8.6, 1122 section 4.2.3.4, 3042, 4821, 8985.

from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t
from pystack.core.context cimport count
from pystack.core.counters cimport Counter
from pystack.core.memory.deadline cimport DEADLINE_NEVER
from pystack.core.tcp.acknowledge cimport acknowledge_by_text
from pystack.core.tcp.busy cimport tcb_rare
from pystack.core.tcp.chrono cimport CHRONO_ROOM, CHRONO_WINDOW, chrono_start, chrono_stop
from pystack.core.tcp.chunks cimport chunks_first, chunks_grow, chunks_pushed, chunks_sent
from pystack.core.tcp.congestion.interface cimport congestion_idle, congestion_sent
from pystack.core.tcp.layer cimport (
    CA_RECOVERY, FAST_OPEN_EARLY, RETRANSMIT_AFTER_NEW, RETRANSMIT_NONE, SENT_FIN, SENT_PUSHED,
    STATE_ESTABLISHED, STATE_TIME_WAIT, Sent, Tcb, TcpLayer, TcpRare,
)
from pystack.core.tcp.mss cimport sync_mss
from pystack.core.tcp.mtu_search cimport mtu_search_next, mtu_search_sent
from pystack.core.tcp.pacing cimport pacing_holds, pacing_is_on, pacing_train
from pystack.core.tcp.prr cimport prr_sent
from pystack.core.tcp.recovery cimport (
    recovery_next, recovery_sent_again, recovery_within_window,
)
from pystack.core.tcp.retransmission cimport retransmit_timer_rearm, retransmit_timer_sent
from pystack.core.tcp.rtt cimport rtt_timeout
from pystack.core.tcp.scoreboard cimport sent_again, sent_first, sent_last, sent_pipe, sent_push
from pystack.core.tcp.segments cimport send_ack, send_data, text_room
from pystack.core.tcp.send_buffer cimport send_buffer_moved
from pystack.core.tcp.tcb cimport tcb_flight, tcb_rearm, tcb_unsent
from pystack.core.tcp.tlp cimport tail_probe_sent
from pystack.core.tcp.transfer cimport tcp_drop
from pystack.core.wire.tcp cimport TCP_MAX_HEADER_LENGTH, seq_le

cdef enum:
    FEW_SEGMENTS = 3

cdef int64_t MILLISECOND = 1_000_000


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
    cdef uint32_t most = train
    cdef uint32_t length
    cdef bint fin
    if tcb_unsent(tcb) == 0 and not tcb.fin_queued:
        return False
    if tcb.busy.sent.count >= tcb.config.max_sent:
        return False
    if train > mss:
        # As Linux, half of the window: what is acknowledged lets the other half out.
        most = min(train, max(tcb.congestion.cwnd // (2 * tcb.smss), <uint32_t>1) * mss)
    if tcb.busy.chunks.count > 1:
        chunks_grow(tcb, min(most, room_in_window(tcb, mss)))
    length = sendable(tcb, mss, mss if tcb.busy.urgent_out else most, forced)
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
    else:
        sent = recovery_within_window(tcb, sent_last(tcb, mss), mss)
        if sent != NULL:
            sent_again(tcb, sent, tcp.context.now)
            count(tcp.context, Counter.TCP_RETRANSMITTED_SEGMENTS)
            retransmit(tcp, tcb, sent, mss)
            tail_probe_sent(tcp, tcb, True)
            return
    retransmit_timer_rearm(tcp, tcb)    # no window for it, or no memory: the RTO's


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


cdef bint only_receives(const Tcb* tcb) noexcept nogil:
    """Nothing is outstanding and nothing to be sent, but perhaps an acknowledgment."""
    return (tcb_flight(tcb) == 0 and tcb.busy.send_ring.length == 0
            and (tcb.fin_sent or not tcb.fin_queued))


cdef void output(TcpLayer* tcp, Tcb* tcb, bint forced) noexcept nogil:
    cdef Sent* lost
    cdef uint32_t mss, train
    cdef uint32_t before = tcb.snd_nxt
    cdef bint more = True
    cdef bint full = False
    if only_receives(tcb):
        return                  # to find that out below would be a twelfth of a train's cost
    sync_mss(tcp, tcb)
    if tcb_flight(tcb) == 0 and tcb.busy.send_ring.length and usable_window(tcb):
        congestion_idle(tcp, tcb)
    mss = text_room(tcb)
    train = mss
    if tcb_unsent(tcb) > mss or tcb.busy.retransmit != RETRANSMIT_NONE:
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
    if tcb.busy.unwanted:
        tcp_drop(tcp, tcb)
