# TCP_INFO: what a connection is doing, as Linux tells it.
# Called by: stack's callers (engine).
# RFCs: none; tcp(7), Linux's include/uapi/linux/tcp.h.

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memset
from pystack.core.ip.path_mtu cimport ip_path_mtu
from pystack.core.tcp.chrono cimport CHRONO_BUSY, CHRONO_ROOM, CHRONO_WINDOW, chrono_time
from pystack.core.tcp.congestion.bbr cimport BbrInfo, bbr_info
from pystack.core.tcp.fast_open cimport is_early
from pystack.core.tcp.layer cimport (
    CA_LOSS, CONGESTION_BBR, ECN_OK, ECN_SEEN, FAST_OPEN_CHILD, FAST_OPEN_DATA_ACKED,
    STATE_CLOSE_WAIT, STATE_CLOSED, STATE_CLOSING, STATE_ESTABLISHED, STATE_FIN_WAIT_1,
    STATE_FIN_WAIT_2, STATE_LAST_ACK, STATE_LISTEN, STATE_SYN_RECEIVED, STATE_SYN_SENT,
    STATE_TIME_WAIT, Tcb, TcpLayer,
)
from pystack.core.tcp.mss cimport announced_mss, default_mss
from pystack.core.tcp.pacing cimport pacing_rate
from pystack.core.tcp.rate cimport rate_of
from pystack.core.tcp.rtt cimport rtt_min, rtt_timeout
from pystack.core.tcp.tcb cimport tcb_flight
from pystack.core.tcp.window cimport window_now

cdef enum:
    OPTION_TIMESTAMPS = 1
    OPTION_SACK = 2
    OPTION_WSCALE = 4
    OPTION_ECN = 8
    OPTION_ECN_SEEN = 16
    OPTION_SYN_DATA = 32
    OPTION_TFO_CHILD = 128
    FIRST_DEVIATION = 250_000   # us, before there is a sample
    FIRST_MSS = 536             # before there is a peer
    LEAST_SEGMENT = 88
    UNLIMITED = 0x7FFFFFFF      # ssthresh before the first loss
    NO_SAMPLE = 0xFFFFFFFF      # min_rtt before the first

cdef int64_t MICROSECOND = 1_000
cdef int64_t MILLISECOND = 1_000_000

cdef uint8_t[11] LINUX_STATE
LINUX_STATE[<int>STATE_ESTABLISHED] = 1
LINUX_STATE[<int>STATE_SYN_SENT] = 2
LINUX_STATE[<int>STATE_SYN_RECEIVED] = 3
LINUX_STATE[<int>STATE_FIN_WAIT_1] = 4
LINUX_STATE[<int>STATE_FIN_WAIT_2] = 5
LINUX_STATE[<int>STATE_TIME_WAIT] = 7   # as Linux, where no socket holds such a connection
LINUX_STATE[<int>STATE_CLOSED] = 7
LINUX_STATE[<int>STATE_CLOSE_WAIT] = 8
LINUX_STATE[<int>STATE_LAST_ACK] = 9
LINUX_STATE[<int>STATE_LISTEN] = 10
LINUX_STATE[<int>STATE_CLOSING] = 11


cdef inline uint32_t since(const TcpLayer* tcp, int64_t then) noexcept nogil:
    """Milliseconds."""
    return <uint32_t>((tcp.context.now - then) // MILLISECOND)


cdef inline uint32_t segments(uint32_t size, const Tcb* tcb) noexcept nogil:
    return size // max(tcb.smss, <uint32_t>1)


cdef uint8_t options_of(const Tcb* tcb) noexcept nogil:
    cdef uint8_t options = 0
    if tcb.timestamps_ok:
        options |= OPTION_TIMESTAMPS
    if tcb.sack_ok:
        options |= OPTION_SACK
    if tcb.rcv_scale_offered:
        options |= OPTION_WSCALE
    if tcb.ecn & ECN_OK:
        options |= OPTION_ECN
    if tcb.ecn & ECN_SEEN:
        options |= OPTION_ECN_SEEN
    if tcb.fast_open & FAST_OPEN_DATA_ACKED:
        options |= OPTION_SYN_DATA
    if tcb.fast_open & FAST_OPEN_CHILD:
        options |= OPTION_TFO_CHILD
    return options


cdef void tell_sending(TcpLayer* tcp, const Tcb* tcb, TcpInfo* info) noexcept nogil:
    # The back-off of probes is none of the RTO.
    info.rto = <uint32_t>(
        (tcb.rtt.rto if tcb.busy.probing else rtt_timeout(tcb)) // MICROSECOND)
    info.rtt = <uint32_t>(tcb.rtt.srtt // MICROSECOND)
    info.rttvar = tcb.rtt.mdev // 4 if tcb.rtt.mdev or tcb.rtt.srtt else <uint32_t>FIRST_DEVIATION
    info.min_rtt = <uint32_t>(rtt_min(&tcb.rtt) // MICROSECOND) if tcb.rtt.min_us else NO_SAMPLE
    info.snd_mss = tcb.smss
    info.unacked = tcb.busy.packets_out
    info.sacked = tcb.busy.sacked_out
    info.lost = tcb.busy.lost_out
    info.retrans = tcb.busy.retrans_out
    info.snd_cwnd = segments(tcb.congestion.cwnd, tcb)
    info.snd_ssthresh = UNLIMITED
    if 0 < tcb.congestion.ssthresh < 1 << 30:
        info.snd_ssthresh = segments(tcb.congestion.ssthresh, tcb)
    info.reordering = tcb.reordering
    info.reord_seen = tcb.rare.reordering_seen
    info.total_retrans = tcb.rare.total_retransmitted
    info.delivered = tcb.delivered - is_early(tcb)
    info.delivered_ce = tcb.rare.delivered_marked
    info.dsack_dups = tcb.rare.duplicates_reported
    info.pacing_rate = pacing_rate(tcp, tcb)
    info.delivery_rate = rate_of(tcb)
    info.rate_flags = tcb.rate_app_limited | tcb.fast_open_failure << 1
    info.max_pacing_rate = tcb.settings.max_pacing_rate
    info.notsent_bytes = tcb.busy.send_ring.length - min(tcb.busy.send_ring.length, tcb_flight(tcb))
    info.notsent_bytes += 1 if tcb.fin_queued and not tcb.fin_sent else 0   # as Linux
    info.snd_wnd = tcb.snd_wnd
    info.busy_time = <uint64_t>(chrono_time(tcp, tcb, CHRONO_BUSY) // MICROSECOND)
    info.rwnd_limited = <uint64_t>(chrono_time(tcp, tcb, CHRONO_WINDOW) // MICROSECOND)
    info.sndbuf_limited = <uint64_t>(chrono_time(tcp, tcb, CHRONO_ROOM) // MICROSECOND)
    info.busy_time += info.rwnd_limited + info.sndbuf_limited
    info.rehash = tcb.rare.path_changes


cdef void tell_receiving(TcpLayer* tcp, const Tcb* tcb, TcpInfo* info) noexcept nogil:
    info.ato = tcb.ato_us
    info.rcv_mss = tcb.ack_segment
    info.advmss = announced_mss(tcp, tcb) - (
        12 if tcb.timestamps_ok and tcb.congestion.cwnd else 0)
    info.rcv_ssthresh = tcb.rcv_ssthresh
    info.rcv_space = tcb.read_target
    info.rcv_rtt = <uint32_t>(tcb.rcv_rtt // MICROSECOND)
    info.rcv_wnd = window_now(tcb)
    info.rcv_ooopack = tcb.rare.out_of_order


cdef void tell_totals(TcpLayer* tcp, const Tcb* tcb, TcpInfo* info) noexcept nogil:
    info.bytes_acked = tcb.totals.bytes_acked
    info.bytes_received = tcb.totals.bytes_received
    info.bytes_sent = tcb.totals.bytes_sent
    info.bytes_retrans = tcb.rare.bytes_retransmitted
    info.segs_out = tcb.totals.segments_out
    info.segs_in = tcb.totals.segments_in
    info.data_segs_out = tcb.totals.data_segments_out
    info.data_segs_in = tcb.totals.data_segments_in
    info.total_rto = tcb.rare.timeouts
    info.total_rto_recoveries = tcb.rare.timeout_episodes
    info.last_data_sent = since(tcp, tcb.last_sent_at)
    info.last_data_recv = since(tcp, tcb.last_text_at)
    info.last_ack_recv = since(tcp, tcb.last_received_at)


cdef void tell_beginning(TcpLayer* tcp, const Tcb* tcb, TcpInfo* info) noexcept nogil:
    """What there is before there is a connection."""
    info.snd_cwnd = tcb.config.initial_window
    info.delivered = 0
    info.snd_mss = FIRST_MSS
    if tcb.endpoint.key.remote_port == 0:
        info.advmss = 0
        return
    info.snd_mss = default_mss(tcb) - (12 if tcb.timestamps_ok else 0)
    info.rcv_mss = LEAST_SEGMENT
    info.pmtu = ip_path_mtu(tcp.ip, &tcb.endpoint.key.local, &tcb.endpoint.key.remote)
    if tcb.state == STATE_SYN_SENT:
        info.unacked = 1
        if tcb.busy.retransmits:
            info.ca_state = CA_LOSS
            info.lost = info.retrans = info.snd_cwnd = 1


cdef void tcp_info(TcpLayer* tcp, const Tcb* tcb, TcpInfo* info) noexcept nogil:
    memset(info, 0, sizeof(TcpInfo))
    info.state = LINUX_STATE[tcb.state]
    if tcb.state == STATE_LISTEN:
        info.pacing_rate = info.max_pacing_rate = tcb.settings.max_pacing_rate
        info.reordering = tcb.config.reordering
        info.snd_cwnd = tcb.config.initial_window
        info.unacked = tcb.rare.backlog.accept.count
        info.sacked = tcb.rare.backlog.limit
        return
    info.ca_state = tcb.busy.ca_state
    info.retransmits = 0 if tcb.busy.probing else tcb.busy.retransmits
    info.probes = tcb.busy.retransmits if tcb.busy.probing else tcb.keepalive_probes
    info.backoff = tcb.backoff
    # As Linux, what was agreed on is told even when the connection has ended.
    if tcb.congestion.cwnd:
        info.options = options_of(tcb)
        info.scales = tcb.snd_scale | tcb.rcv_scale << 4
        info.pmtu = ip_path_mtu(tcp.ip, &tcb.endpoint.key.local, &tcb.endpoint.key.remote)
    tell_sending(tcp, tcb, info)
    tell_receiving(tcp, tcb, info)
    tell_totals(tcp, tcb, info)
    if tcb.congestion.cwnd == 0:
        tell_beginning(tcp, tcb, info)


cdef uint32_t tcp_congestion_info(const Tcb* tcb, BbrInfo* info) noexcept nogil:
    if tcb.settings.congestion != CONGESTION_BBR:
        return 0
    memset(info, 0, sizeof(BbrInfo))
    if tcb.rare.bbr != NULL:
        bbr_info(tcb, info)
    return sizeof(BbrInfo)
