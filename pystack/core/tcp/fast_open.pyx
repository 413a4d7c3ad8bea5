# TCP Fast Open: data in SYNs.
# Called by: listen and handshake (both sides), input, calls (opening), timers, tcb (endings).
# RFCs: 7413; where it leaves a choice, as Linux.

from libc.stddef cimport size_t
from libc.stdint cimport int64_t, uint8_t, uint32_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy, memset
from pystack.core.context cimport count, count_many, endpoint_ready
from pystack.core.counters cimport Counter
from pystack.core.endpoint cimport READY_READ, READY_WRITE
from pystack.core.ip.layer cimport IpView
from pystack.core.ip.path_mtu cimport ip_path_mtu
from pystack.core.memory.ring cimport ring_consume, ring_extend, ring_put, ring_reserve
from pystack.core.tcp.chrono cimport CHRONO_BUSY, chrono_start, chrono_stop
from pystack.core.tcp.fast_open_cookie cimport FastOpenCookie, cookie_check, cookie_new
from pystack.core.tcp.layer cimport (
    FAST_OPEN_ASKED, FAST_OPEN_CHILD, FAST_OPEN_DATA, FAST_OPEN_DATA_ACKED,
    FAST_OPEN_DATA_NOT_ACKED, FAST_OPEN_EARLY, FAST_OPEN_EXPERIMENTAL, FAST_OPEN_NO_COOKIE,
    FAST_OPEN_SYN_REPEATED, FAST_OPEN_WATCHED, SENT_PUSHED, Backlog, FastOpenQueue,
    FastOpenReset, Tcb, TcpLayer,
)
from pystack.core.tcp.listen cimport connection_start
from pystack.core.tcp.metrics cimport metrics_find, metrics_get
from pystack.core.tcp.metrics_cache cimport Metrics
from pystack.core.tcp.mss cimport announced_mss
from pystack.core.tcp.receive_queue cimport received_append
from pystack.core.tcp.recovery cimport recovery_fast_open
from pystack.core.tcp.scoreboard cimport sent_push
from pystack.core.tcp.segments cimport send_first_syn
from pystack.core.tcp.tcb cimport tcb_idle, tcb_list_push, tcb_list_remove
from pystack.core.wire.address cimport addr_is_v4
from pystack.core.wire.tcp cimport (
    TCP_MAX_HEADER_LENGTH, TCP_HEADER_LENGTH, TCP_OPT_FAST_OPEN, TcpOptions, TcpSegment,
)

# TcpConfig.fastopen
cdef enum:
    SERVER = 0x2
    CLIENT_WITHOUT_COOKIE = 0x4
    SERVER_WITHOUT_COOKIE = 0x200

cdef enum:
    OPTION_ROOM = TCP_MAX_HEADER_LENGTH - TCP_HEADER_LENGTH
    BLACK_HOLE_TIMEOUTS = 2     # and one more
    MOST_DOUBLINGS = 6          # of the pause after black holes

cdef int64_t RESET_COUNTS = <int64_t>60 * 1_000_000_000     # as Linux


# --- the server: RFC 7413 section 4.2.2

cdef bint has_room(TcpLayer* tcp, FastOpenQueue* queue) noexcept nogil:
    """PendingFastOpenRequests are bounded (section 5.1): who steals cookies can cost only so much.

    One that was reset counts for a minute, so that resets do not lift the bound.
    """
    cdef FastOpenReset* reset = queue.resets_first
    if queue.limit == 0:
        return False
    if queue.count < queue.limit:
        return True
    if reset == NULL or reset.until > tcp.context.now:
        count(tcp.context, Counter.TCP_FAST_OPEN_QUEUE_FULL)
        return False
    queue.resets_first = reset.next
    if reset.next == NULL:
        queue.resets_last = NULL
    free(reset)
    queue.count -= 1
    return True


cdef bint fast_open_input(
        TcpLayer* tcp, Tcb* listener, const IpView* view, const TcpSegment* seg,
        const TcpOptions* options, FastOpenCookie* answer) noexcept nogil:
    cdef bint asked = options.present & TCP_OPT_FAST_OPEN != 0
    cdef int found
    answer.present = False
    if not asked and seg.length == 0:
        return False
    if asked and options.fast_open_length == 0:
        count(tcp.context, Counter.TCP_FAST_OPEN_COOKIES_REQUESTED)
    if not tcp.config.fastopen & SERVER or not has_room(tcp, &listener.rare.backlog.fast_open):
        return False
    if tcp.config.fastopen & SERVER_WITHOUT_COOKIE or listener.settings.fast_open_no_cookie:
        count(tcp.context, Counter.TCP_FAST_OPEN_PASSIVE)
        return True
    if not asked:
        return False
    if options.fast_open_length == 0:
        cookie_new(tcp, listener.rare.backlog, &view.source, &view.destination, answer)
        answer.experimental = options.fast_open_experimental
        return False
    found = cookie_check(
        tcp, listener.rare.backlog, &view.source, &view.destination, options, answer)
    answer.experimental = options.fast_open_experimental
    if not found:
        # Section 4.2.2: a SYN-ACK for the SYN only, with the cookie that would have been good.
        count(tcp.context, Counter.TCP_FAST_OPEN_PASSIVE_FAILED)
        return False
    if found == 2:
        count(tcp.context, Counter.TCP_FAST_OPEN_OLD_KEY)
    answer.present = found == 2
    count(tcp.context, Counter.TCP_FAST_OPEN_PASSIVE)
    return True


cdef void take_text(TcpLayer* tcp, Tcb* child, const TcpSegment* seg) noexcept nogil:
    """The SYN-ACK will acknowledge it. As Linux, it does not use up the window.

    Without memory it is not taken, and the client sends it again.
    """
    cdef uint32_t length = min(seg.length, child.rcv_edge - child.rcv_nxt)
    child.totals.segments_in += 1
    if length == 0 or received_append(tcp, &child.busy.received, seg.payload, length) < 0:
        return
    child.rcv_nxt += length
    child.rcv_edge += length
    child.busy.last_ack_sent = child.rcv_nxt
    child.totals.bytes_received = length
    child.totals.data_segments_in += 1
    child.fast_open |= FAST_OPEN_DATA_ACKED
    count_many(tcp.context, Counter.TCP_BYTES_IN, length)


cdef void fast_open_child(
        TcpLayer* tcp, Tcb* listener, Tcb* child, const TcpSegment* seg) noexcept nogil:
    cdef FastOpenQueue* queue = &listener.rare.backlog.fast_open
    child.fast_open = FAST_OPEN_CHILD | FAST_OPEN_EARLY
    # Text may be sent before the SYN is acknowledged, which then is no longer counted.
    child.snd_una = child.snd_nxt
    queue.count += 1
    connection_start(tcp, child)
    take_text(tcp, child, seg)
    if child.endpoint.service:
        child.held = True
        tcb_list_push(&queue.accepted, child)
        endpoint_ready(tcp.context, &child.endpoint, READY_READ | READY_WRITE)
    else:
        tcb_list_push(&listener.rare.backlog.accept, child)
        endpoint_ready(tcp.context, &listener.endpoint, READY_READ)


cdef void fast_open_accepted(Tcb* listener, Tcb* child) noexcept nogil:
    tcb_list_push(&listener.rare.backlog.fast_open.accepted, child)


cdef void fast_open_leave(Tcb* tcb) noexcept nogil:
    tcb.fast_open &= ~FAST_OPEN_EARLY
    if tcb.busy.listener == NULL:
        return
    tcb.busy.listener.rare.backlog.fast_open.count -= 1
    if tcb.busy.list == &tcb.busy.listener.rare.backlog.fast_open.accepted:
        tcb_list_remove(tcb)
        tcb.busy.listener = NULL


cdef void fast_open_reset(TcpLayer* tcp, Tcb* tcb) noexcept nogil:
    """Section 5.1: who floods us with others' addresses makes them send these resets."""
    cdef FastOpenQueue* queue
    cdef FastOpenReset* reset
    if tcb.busy.listener == NULL:
        return
    queue = &tcb.busy.listener.rare.backlog.fast_open
    if tcb.busy.list != &queue.accepted:
        return
    reset = <FastOpenReset*>calloc(1, sizeof(FastOpenReset))
    if reset == NULL:
        count(tcp.context, Counter.OUT_OF_MEMORY)
        return
    reset.until = tcp.context.now + RESET_COUNTS
    if queue.resets_last != NULL:
        queue.resets_last.next = reset
    else:
        queue.resets_first = reset
    queue.resets_last = reset
    queue.count += 1


cdef void fast_open_release(Backlog* backlog) noexcept nogil:
    cdef FastOpenQueue* queue = &backlog.fast_open
    cdef FastOpenReset* reset
    cdef Tcb* child
    while queue.accepted.first != NULL:
        child = queue.accepted.first
        tcb_list_remove(child)
        child.busy.listener = NULL
    while queue.resets_first != NULL:
        reset = queue.resets_first
        queue.resets_first = reset.next
        free(reset)
    queue.resets_last = NULL
    queue.count = 0


# --- the client: RFC 7413 section 4.2.1

cdef bint is_paused(TcpLayer* tcp, Tcb* tcb) noexcept nogil:
    """Section 4.1.3.1: after a black hole not at all for a while, which doubles when it was too
    short.
    """
    cdef int64_t pause = tcp.config.fastopen_blackhole
    if pause == 0 or tcp.fast_open_pauses == 0:
        return False
    pause <<= min(tcp.fast_open_pauses - 1, <uint32_t>MOST_DOUBLINGS)
    if tcp.context.now < tcp.fast_open_paused_at + pause:
        return True
    tcb.fast_open |= FAST_OPEN_WATCHED
    return False


cdef void pause(TcpLayer* tcp) noexcept nogil:
    if tcp.config.fastopen_blackhole == 0:
        return
    tcp.fast_open_paused_at = tcp.context.now
    tcp.fast_open_pauses += 1
    count(tcp.context, Counter.TCP_FAST_OPEN_BLACK_HOLES)


cdef bint find_cookie(
        TcpLayer* tcp, Tcb* tcb, uint32_t* mss, FastOpenCookie* cookie) noexcept nogil:
    """Whether data may go with the SYN; *cookie: what the SYN carries; *mss: the peer's, if known.
    """
    cdef Metrics* known = metrics_find(tcp, tcb)
    memset(cookie, 0, sizeof(FastOpenCookie))
    if known != NULL:
        if known.mss:
            mss[0] = known.mss
        cookie.length = known.cookie_length
        memcpy(cookie.octets, known.cookie, known.cookie_length)
        # A server may know only the option from before the RFC.
        cookie.experimental = known.cookie_experimental if known.cookie_length else (
            known.try_experimental == 1)
    if is_paused(tcp, tcb):
        return False
    if tcp.config.fastopen & CLIENT_WITHOUT_COOKIE or tcb.settings.fast_open_no_cookie:
        return True
    cookie.present = True
    if cookie.length == 0:
        tcb.fast_open_failure = FAST_OPEN_NO_COOKIE
        return False
    return True


cdef bint fast_open_possible(TcpLayer* tcp, Tcb* tcb) noexcept nogil:
    cdef FastOpenCookie cookie
    cdef uint32_t mss = 0
    return find_cookie(tcp, tcb, &mss, &cookie)


cdef uint32_t room_in_syn(TcpLayer* tcp, const Tcb* tcb, uint32_t mss) noexcept nogil:
    """The peer's MSS, less all options that there can be: middleboxes may add some (as Linux)."""
    cdef bint v4 = addr_is_v4(&tcb.endpoint.key.remote)
    cdef uint32_t mtu = ip_path_mtu(tcp.ip, &tcb.endpoint.key.local, &tcb.endpoint.key.remote)
    mss = min(mss, mtu - (40 if v4 else 60))
    if tcb.settings.max_segment:
        mss = min(mss, <uint32_t>tcb.settings.max_segment)
    return mss - min(mss, <uint32_t>OPTION_ROOM)


cdef uint32_t fast_open_syn(
        TcpLayer* tcp, Tcb* tcb, const uint8_t* data, size_t length) noexcept nogil:
    cdef FastOpenCookie cookie
    cdef uint32_t mss = announced_mss(tcp, tcb)
    cdef uint32_t size = 0
    if find_cookie(tcp, tcb, &mss, &cookie):
        size = <uint32_t>min(length, <size_t>room_in_syn(tcp, tcb, mss))
        if size and ring_reserve(&tcb.busy.send_ring, &tcp.context.rings, size) < 0:
            size = 0
    if cookie.present:
        tcb.fast_open |= FAST_OPEN_ASKED
        if cookie.experimental:
            tcb.fast_open |= FAST_OPEN_EXPERIMENTAL
    if size:
        ring_put(&tcb.busy.send_ring, 0, data, size)
        ring_extend(&tcb.busy.send_ring, size)
        tcb.snd_nxt += size
        tcb.fast_open |= FAST_OPEN_DATA
        chrono_start(tcp, tcb, CHRONO_BUSY)
    send_first_syn(tcp, tcb, &cookie, size)
    return size


cdef void learn_cookie(
        TcpLayer* tcp, const Tcb* tcb, const TcpOptions* options, bint again) noexcept nogil:
    """Sections 4.1.3 and 4.2.1: the SYN-ACK's cookie and MSS are for the next time."""
    cdef Metrics* known = metrics_get(tcp, tcb)
    cdef uint8_t attempt = 0
    if known == NULL:
        return
    known.mss = tcb.peer_mss
    if tcb.fast_open & FAST_OPEN_ASKED and options.present & TCP_OPT_FAST_OPEN:
        if options.fast_open_length:
            known.cookie_length = options.fast_open_length
            known.cookie_experimental = options.fast_open_experimental
            memcpy(known.cookie, options.fast_open, options.fast_open_length)
        return
    if tcb.fast_open & FAST_OPEN_ASKED and not again and not tcb.fast_open & FAST_OPEN_DATA:
        # No answer: the experimental option next time, and afterwards the RFC's for good.
        attempt = 2 if tcb.fast_open & FAST_OPEN_EXPERIMENTAL else 1
    if attempt > known.try_experimental and known.cookie_length == 0:
        known.try_experimental = attempt


cdef void fast_open_answered(
        TcpLayer* tcp, Tcb* tcb, uint32_t ack, const TcpOptions* options,
        bint again) noexcept nogil:
    cdef uint32_t acked = ack - tcb.snd_una
    learn_cookie(tcp, tcb, options, again)
    if not tcb.fast_open & FAST_OPEN_DATA:
        return
    ring_consume(&tcb.busy.send_ring, acked)
    tcb.totals.bytes_acked += acked
    tcb.snd_una = ack
    if ack == tcb.snd_nxt:
        tcb.fast_open |= FAST_OPEN_DATA_ACKED
        count(tcp.context, Counter.TCP_FAST_OPEN_ACTIVE)
        chrono_stop(tcp, tcb, CHRONO_BUSY)
        tcb_idle(tcp, tcb)
        return
    # Section 4.2.1: what the SYN-ACK does not acknowledge goes again at once. No window is reduced:
    # the server was not able or not willing, nothing was lost.
    tcb.fast_open_failure = FAST_OPEN_SYN_REPEATED if again else FAST_OPEN_DATA_NOT_ACKED
    count(tcp.context, Counter.TCP_FAST_OPEN_ACTIVE_FAILED)
    if sent_push(tcb, ack, tcb.snd_nxt, tcb.smss, SENT_PUSHED, tcp.context.now) < 0:
        # Without memory for a record it is as if it had never been sent.
        count(tcp.context, Counter.OUT_OF_MEMORY)
        tcb.snd_nxt = ack
        return
    recovery_fast_open(tcp, tcb)


cdef void fast_open_timeout(TcpLayer* tcp, const Tcb* tcb, bint last) noexcept nogil:
    """As Linux: the third timeout in a row, or one that ends it before, smells of a middlebox that
    swallows such connections (section 4.1.3.1).
    """
    if not tcb.fast_open & (FAST_OPEN_ASKED | FAST_OPEN_DATA | FAST_OPEN_DATA_ACKED):
        return
    if tcb.busy.retransmits == BLACK_HOLE_TIMEOUTS or (
            tcb.busy.retransmits < BLACK_HOLE_TIMEOUTS and last):
        pause(tcp)
        count(tcp.context, Counter.TCP_FAST_OPEN_ACTIVE_FAILED)


cdef void fast_open_end(TcpLayer* tcp, const Tcb* tcb) noexcept nogil:
    """Also that: nothing came but a FIN beyond data that is missing."""
    if tcb.totals.data_segments_in == 0:
        if tcb.busy.fin_ahead and tcb.busy.out_of_order.count == 0:
            pause(tcp)
    elif tcb.fast_open & FAST_OPEN_WATCHED:
        tcp.fast_open_pauses = 0
