# How much text a segment carries: the MSS that we announce, and the one that we send by.
# Called by: output, segments, listen, acknowledge, info, errors, mtu_search.
# RFCs: 6691, 9293 section 3.7.1.

from libc.stdint cimport uint16_t, uint32_t, uint64_t
from pystack.core.ip.path_mtu cimport ip_path_mtu
from pystack.core.memory.packet cimport PACKET_MAX
from pystack.core.tcp.busy cimport tcb_is_awake
from pystack.core.tcp.congestion.window cimport INFINITE_SSTHRESH, MAX_CWND
from pystack.core.tcp.layer cimport Congestion, MtuSearch, Tcb, TcpBusy, TcpLayer
from pystack.core.wire.address cimport Addr, addr_is_v4

cdef enum:
    TIMESTAMP_LENGTH = 12       # with its padding
    DEFAULT_MSS_V4 = 536        # RFC 9293 section 3.7.1
    DEFAULT_MSS_V6 = 1220
    LEAST_MSS = 36              # IPv4's smallest MTU, 68, less headers and timestamps, rounded up


cdef inline uint32_t fixed_headers(const Tcb* tcb) noexcept nogil:
    return 40 if addr_is_v4(&tcb.endpoint.key.remote) else 60


cdef inline uint32_t fixed_options(const Tcb* tcb) noexcept nogil:
    return TIMESTAMP_LENGTH if tcb.timestamps_ok else 0


cdef uint16_t default_mss(const Tcb* tcb) noexcept nogil:
    return DEFAULT_MSS_V4 if addr_is_v4(&tcb.endpoint.key.remote) else DEFAULT_MSS_V6


cdef uint32_t announced_mss(TcpLayer* tcp, const Tcb* tcb) noexcept nogil:
    return announced_mss_to(tcp, tcb, &tcb.endpoint.key.remote)


cdef uint32_t announced_mss_to(TcpLayer* tcp, const Tcb* tcb, const Addr* remote) noexcept nogil:
    cdef uint32_t mss = tcp.context.mtu - (40 if addr_is_v4(remote) else 60)
    mss = min(mss, PACKET_MAX - 60)
    if tcb.config.advertised_mss:
        mss = min(mss, tcb.config.advertised_mss)
    if tcb.settings.max_segment:
        mss = min(mss, tcb.settings.max_segment)
    return mss


cdef inline uint32_t peers_limit(const Tcb* tcb) noexcept nogil:
    """Its MSS option and TCP_MAXSEG; both count options as text (RFC 6691 section 2)."""
    if tcb.settings.max_segment:
        return min(tcb.peer_mss, tcb.settings.max_segment)
    return tcb.peer_mss


cdef uint32_t mss_of(const TcpLayer* tcp, const Tcb* tcb, uint32_t mtu) noexcept nogil:
    """Without the fixed headers and without the options of every segment (RFC 6691 section 3.2);
    as Linux, room for all options and a little text is always left (tcp_min_snd_mss).
    """
    cdef uint32_t mss = min(mtu - min(mtu, fixed_headers(tcb)), peers_limit(tcb))
    return max(mss, tcb.config.min_snd_mss) - fixed_options(tcb)


cdef uint32_t mtu_of(const Tcb* tcb, uint32_t mss) noexcept nogil:
    return mss + fixed_options(tcb) + fixed_headers(tcb)


cdef uint32_t largest_mtu(const Tcb* tcb) noexcept nogil:
    return peers_limit(tcb) + fixed_headers(tcb)


cdef uint32_t searched(MtuSearch* search, uint32_t mtu) noexcept nogil:
    """What the search for a larger packet says to a path MTU that comes from IP."""
    search.high = min(search.high, mtu)
    # As Linux, the first size is not used before something has moved; see mtu_search_start.
    search.in_force = search.in_force or mtu != search.path
    search.path = mtu
    return min(mtu, search.low) if search.in_force else mtu


cdef uint32_t within_half_window(const Tcb* tcb, uint32_t mss) noexcept nogil:
    """As Linux, half of the largest window at most, or one segment would fill it."""
    cdef uint32_t window = tcb.max_snd_wnd
    if window == 0:
        return mss
    return min(mss, max(window // 2 if window > DEFAULT_MSS_V4 else window, <uint32_t>LEAST_MSS))


cdef inline uint32_t in_segments_of(uint32_t window, uint32_t before, uint32_t now) noexcept nogil:
    return <uint32_t>min(<uint64_t>window // before * now, <uint64_t>MAX_CWND)


cdef void recount(Tcb* tcb, uint32_t before, uint32_t now) noexcept nogil:
    """As Linux, which counts segments, windows stay as many of them."""
    cdef Congestion* congestion = &tcb.congestion
    cdef TcpBusy* busy = tcb.busy
    congestion.cwnd = max(in_segments_of(congestion.cwnd, before, now), now)
    congestion.acked = in_segments_of(congestion.acked, before, now)
    congestion.used = in_segments_of(congestion.used, before, now)
    if congestion.ssthresh < INFINITE_SSTHRESH:
        congestion.ssthresh = in_segments_of(congestion.ssthresh, before, now)
    if not tcb_is_awake(tcb):
        return
    busy.max_flight = in_segments_of(busy.max_flight, before, now)
    busy.prior_cwnd = in_segments_of(busy.prior_cwnd, before, now)
    if busy.prior_ssthresh < INFINITE_SSTHRESH:
        busy.prior_ssthresh = in_segments_of(busy.prior_ssthresh, before, now)


cdef void sync_mss(TcpLayer* tcp, Tcb* tcb) noexcept nogil:
    cdef uint32_t mtu = ip_path_mtu(tcp.ip, &tcb.endpoint.key.local, &tcb.endpoint.key.remote)
    if tcb.rare.search != NULL:
        mtu = searched(tcb.rare.search, mtu)
    mtu = within_half_window(tcb, mss_of(tcp, tcb, mtu))
    if tcb.smss != mtu and tcb.congestion.cwnd:
        recount(tcb, tcb.smss, mtu)
    tcb.smss = mtu
