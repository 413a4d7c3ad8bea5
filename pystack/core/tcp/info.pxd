# TCP_INFO: what a connection is doing, as Linux tells it.
# Called by: stack's callers (engine).
# RFCs: none; tcp(7), Linux's include/uapi/linux/tcp.h.

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from pystack.core.tcp.congestion.bbr cimport BbrInfo
from pystack.core.tcp.layer cimport Tcb, TcpLayer

# Linux's struct tcp_info, member by member. Times in microseconds (rto, ato, rtt, busy_time ...) or
# milliseconds (last_*); windows and counts of the scoreboard in segments.
ctypedef struct TcpInfo:
    uint8_t state               # Linux's numbers
    uint8_t ca_state
    uint8_t retransmits
    uint8_t probes
    uint8_t backoff
    uint8_t options
    uint8_t scales              # snd_wscale, and rcv_wscale in the upper half
    uint8_t rate_flags
    uint32_t rto
    uint32_t ato
    uint32_t snd_mss
    uint32_t rcv_mss
    uint32_t unacked            # LISTEN: waiting to be accepted
    uint32_t sacked             # LISTEN: the backlog
    uint32_t lost
    uint32_t retrans
    uint32_t fackets
    uint32_t last_data_sent
    uint32_t last_ack_sent
    uint32_t last_data_recv
    uint32_t last_ack_recv
    uint32_t pmtu
    uint32_t rcv_ssthresh
    uint32_t rtt
    uint32_t rttvar
    uint32_t snd_ssthresh
    uint32_t snd_cwnd
    uint32_t advmss
    uint32_t reordering
    uint32_t rcv_rtt
    uint32_t rcv_space
    uint32_t total_retrans
    uint64_t pacing_rate
    uint64_t max_pacing_rate
    uint64_t bytes_acked
    uint64_t bytes_received
    uint32_t segs_out
    uint32_t segs_in
    uint32_t notsent_bytes
    uint32_t min_rtt
    uint32_t data_segs_in
    uint32_t data_segs_out
    uint64_t delivery_rate
    uint64_t busy_time
    uint64_t rwnd_limited
    uint64_t sndbuf_limited
    uint32_t delivered
    uint32_t delivered_ce
    uint64_t bytes_sent
    uint64_t bytes_retrans
    uint32_t dsack_dups
    uint32_t reord_seen
    uint32_t rcv_ooopack
    uint32_t snd_wnd
    uint32_t rcv_wnd
    uint32_t rehash
    uint16_t total_rto
    uint16_t total_rto_recoveries
    uint32_t total_rto_time

# TCP_CC_INFO: the bytes that were written, 0 if the algorithm tells nothing.
cdef uint32_t tcp_congestion_info(const Tcb* tcb, BbrInfo* info) noexcept nogil
cdef void tcp_info(TcpLayer* tcp, const Tcb* tcb, TcpInfo* info) noexcept nogil
