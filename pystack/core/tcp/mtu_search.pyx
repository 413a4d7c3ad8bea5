# Packetization layer path MTU discovery: which size of packet the path takes, found by sending.
# Called by: listen (start), timers (a black hole?), output (probes), ack and recovery (their fate),
# errors.
# RFCs: 4821, 8899; Linux's tcp_mtu_probing.

from libc.stdint cimport int32_t, uint32_t
from libc.stdlib cimport calloc
from pystack.core.context cimport count
from pystack.core.counters cimport Counter
from pystack.core.tcp.congestion.window cimport current_ssthresh, segments
from pystack.core.tcp.busy cimport tcb_rare
from pystack.core.tcp.layer cimport CA_CWR, CA_OPEN, MtuSearch, Tcb, TcpLayer, TcpRare
from pystack.core.tcp.mss cimport largest_mtu, mss_of, mtu_of, sync_mss
from pystack.core.tcp.scoreboard cimport sent_in_flight
from pystack.core.tcp.tcb cimport tcb_unsent
from pystack.core.wire.tcp cimport seq_le

cdef enum:
    # As Linux: below it so much of the window would be one packet that its loss could not be told
    # from congestion (RFC 4821 section 7.4).
    LEAST_CWND = 11


cdef bint search_new(TcpLayer* tcp, Tcb* tcb) noexcept nogil:
    """RFC 4821 section 7.2: from what nearly every path takes up to what the peer takes."""
    cdef TcpRare* rare = tcb_rare(tcb)
    cdef MtuSearch* search = NULL
    if rare != NULL:
        search = <MtuSearch*>calloc(1, sizeof(MtuSearch))
    if search == NULL:
        return False            # the path MTU is then what IP says
    search.low = mtu_of(tcb, tcb.config.base_mss)
    search.high = largest_mtu(tcb)
    search.since = tcp.context.now
    rare.search = search
    return True


cdef void mtu_search_start(TcpLayer* tcp, Tcb* tcb) noexcept nogil:
    if tcb.config.mtu_probing < 2 or not search_new(tcp, tcb):
        return
    # As Linux, who was connected to goes on with the size that the MTU allows, until a probe has
    # arrived or the path turns out narrower.
    tcb.rare.search.path = tcp.context.mtu
    tcb.rare.search.in_force = not tcb.passive


cdef void mtu_search_black_hole(TcpLayer* tcp, Tcb* tcb) noexcept nogil:
    """RFC 4821 section 7.7: full-stop timeouts."""
    cdef uint32_t mss
    if tcb.config.mtu_probing == 0:
        return
    if tcb.rare.search == NULL:
        if not search_new(tcp, tcb):
            return
    else:
        mss = min(mss_of(tcp, tcb, tcb.rare.search.low) // 2, tcb.config.base_mss)
        mss = max(mss, max(tcb.config.mtu_probe_floor, tcb.config.min_snd_mss))
        tcb.rare.search.low = mtu_of(tcb, mss)
    count(tcp.context, Counter.TCP_BLACK_HOLES)
    tcb.rare.search.in_force = True
    tcb.rare.search.size = 0
    sync_mss(tcp, tcb)


cdef void search_again(TcpLayer* tcp, Tcb* tcb) noexcept nogil:
    """The search has ended; after a while the path may have become wider (RFC 4821 section 7.3)."""
    cdef MtuSearch* search = tcb.rare.search
    if tcp.context.now - search.since < tcb.config.probe_interval:
        return
    search.low = mtu_of(tcb, tcb.smss)
    search.high = largest_mtu(tcb)
    search.size = 0
    search.since = tcp.context.now


cdef int32_t mtu_search_next(TcpLayer* tcp, Tcb* tcb) noexcept nogil:
    """Linux's tcp_mtu_probe(): only in good times, and with enough text behind the probe to notice
    its loss at once (RFC 4821 sections 7.4 and 7.5).
    """
    cdef MtuSearch* search = tcb.rare.search
    cdef uint32_t in_flight, needed, size
    if (search.size or tcb.busy.ca_state != CA_OPEN or segments(tcb) < LEAST_CWND
            or tcb.busy.urgent_out):
        return 0
    size = mss_of(tcp, tcb, (search.low + search.high) // 2)
    if (size > mss_of(tcp, tcb, search.high)
            or search.high < search.low + tcb.config.probe_threshold):
        search_again(tcp, tcb)
        return 0
    # Not tcb.reordering, as Linux: the parts of a lost probe are acknowledged one by one, which may
    # look like reordering and would end the search; and RACK needs no such number of arrivals.
    needed = size + (tcb.config.reordering + 1) * tcb.smss
    if tcb_unsent(tcb) < needed or tcb.snd_wnd < needed:
        return 0
    if tcb.snd_wnd - min(tcb.snd_wnd, tcb.snd_nxt - tcb.snd_una) < needed:
        return -1
    in_flight = sent_in_flight(tcb)
    if in_flight + 2 > segments(tcb):
        return -1 if in_flight else 0
    return <int32_t>size


cdef void mtu_search_sent(TcpLayer* tcp, Tcb* tcb, uint32_t start, uint32_t size) noexcept nogil:
    """As Linux, a probe takes the place of two segments in cwnd."""
    count(tcp.context, Counter.TCP_MTU_PROBES)
    tcb.rare.search.size = mtu_of(tcb, size)
    tcb.rare.search.probe_start = start
    tcb.rare.search.probe_end = start + size
    tcb.congestion.cwnd -= tcb.smss


cdef void mtu_search_acked(TcpLayer* tcp, Tcb* tcb) noexcept nogil:
    """RFC 4821 section 7.6.1: larger segments from now on, in a window of as many bytes."""
    cdef MtuSearch* search = tcb.rare.search
    cdef uint32_t window
    if search.size == 0 or not seq_le(search.probe_end, tcb.snd_una):
        return
    window = segments(tcb) * mtu_of(tcb, tcb.smss) // search.size
    search.low = search.size
    search.size = 0
    search.in_force = True
    sync_mss(tcp, tcb)
    tcb.congestion.cwnd = max(window, <uint32_t>1) * tcb.smss
    tcb.congestion.acked = 0
    tcb.congestion.ssthresh = current_ssthresh(tcb)


cdef void give_up(TcpLayer* tcp, Tcb* tcb) noexcept nogil:
    count(tcp.context, Counter.TCP_MTU_PROBES_FAILED)
    tcb.rare.search.high = tcb.rare.search.size - 1
    tcb.rare.search.size = 0
    tcb.congestion.cwnd += tcb.smss     # as before the probe


cdef bint mtu_search_lost(TcpLayer* tcp, Tcb* tcb) noexcept nogil:
    """RFC 4821 section 7.6.2: its loss is no sign of congestion."""
    if (tcb.rare.search == NULL or tcb.rare.search.size == 0 or tcb.busy.ca_state >= CA_CWR
            or tcb.snd_una != tcb.rare.search.probe_start):
        return False
    give_up(tcp, tcb)
    return True


cdef bint mtu_search_too_big(TcpLayer* tcp, Tcb* tcb, uint32_t mtu) noexcept nogil:
    if tcb.rare.search == NULL or tcb.rare.search.size <= mtu:
        return False
    give_up(tcp, tcb)
    return True
