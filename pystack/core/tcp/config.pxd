# What can be chosen of TCP: by a stack (TcpConfig), and by each of its sockets (TcpSettings).
# Called by: every file of tcp/, engine. Whoever writes them is named at each struct.
# RFCs: 9293, 1122, 5482, 5681, 5961, 6298, 7413, 9406, 9438.

from libc.stdint cimport int16_t, int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t

# What Linux keeps in sysctls; pystack.TcpConfig describes the fields, by the same names but for
# `retries`. Times in nanoseconds, sizes in bytes. Set once per stack, then read only.
ctypedef struct TcpConfig:
    # retransmission and timeouts
    int64_t rto_initial         # 1 s (RFC 6298 section 2.1)
    int64_t rto_min             # 200 ms, as Linux
    int64_t rto_max             # 120 s
    uint32_t syn_retries        # 6
    uint32_t syn_linear_timeouts        # 4: SYNs repeated before back-off begins
    uint32_t synack_retries     # 5
    uint32_t retries1           # 3: R1, the path is doubted
    uint32_t retries2           # 15: R2 of RFC 1122 section 4.2.3.5
    uint32_t orphan_retries     # 8
    # acknowledgments
    int64_t delayed_ack         # 40 ms, as Linux (RFC 9293 section 3.8.6.3: below 500 ms)
    int64_t delayed_ack_max     # 200 ms
    # 200 ms: how long TCP_CORK, MSG_MORE or a silly window hold data back, if no RTO is longer
    int64_t cork
    uint32_t pingpong_threshold  # 1
    # loss recovery
    int64_t min_rtt_window      # 300 s
    uint32_t recovery           # bits: 1 RACK, 2 static reordering window, 4 no duplicate threshold
    uint32_t early_retrans      # 3 and 4: tail loss probes
    uint32_t frto               # 0: none
    uint32_t reordering         # 3 segments: DupThresh
    uint32_t max_reordering     # 300 segments
    uint8_t thin_linear_timeouts
    # options
    uint8_t timestamps          # 2: without a random offset
    uint8_t sack
    uint8_t dsack
    uint8_t window_scaling
    uint8_t window_scale        # shift that we offer, 0..14
    # congestion
    uint32_t initial_window     # 10 segments (RFC 6928)
    uint32_t advertised_mss     # at most; 0: what the MTU allows
    uint32_t pacing_ss_ratio    # percent
    uint32_t pacing_ca_ratio
    uint32_t min_tso_segs       # a train is at least so long, if there is that much to send
    uint32_t tso_rtt_log        # and longer where the round trip is less than 2^it us
    uint32_t tso_win_divisor    # a train waits for more than such a part of the window
    uint8_t congestion          # CongestionAlgorithm of new sockets
    uint8_t slow_start_after_idle       # RFC 5681 section 4.1
    uint8_t ecn                 # 0 never, 1 asked for, 2 agreed to
    uint8_t ecn_fallback        # a SYN sent again does not ask (RFC 3168 section 6.1.1.1)
    uint8_t abe                 # milder reductions for marks than for losses (RFC 8511)
    uint8_t hystart             # HyStart++ (RFC 9406)
    uint8_t hystart_classic     # Linux's HyStart instead
    uint8_t cubic_reno_pace     # alpha = 1 once W_est has reached cwnd_prior (RFC 9438 section 4.3)
    # buffers: bytes of stream, without Linux's overhead
    uint32_t receive_buffer     # at the beginning
    uint32_t receive_buffer_max  # limit of auto-tuning
    uint32_t receive_buffer_limit       # of SO_RCVBUF, before it is doubled
    uint32_t send_buffer
    uint32_t send_buffer_max
    uint32_t send_buffer_limit
    uint32_t notsent_lowat
    int32_t window_share        # tcp_adv_win_scale
    uint8_t auto_receive_buffer
    # segments and path MTU
    int64_t probe_interval
    uint32_t base_mss
    uint32_t mtu_probe_floor
    uint32_t probe_threshold
    uint32_t min_snd_mss
    uint8_t mtu_probing         # 0 by ICMP only, 1 after a black hole, 2 always
    # fast open
    int64_t fastopen_blackhole
    uint32_t fastopen           # bits of Linux's tcp_fastopen
    uint32_t fastopen_keys      # 0: of the stack's secret
    uint64_t fastopen_key_0     # the key, in little-endian words as SipHash takes them
    uint64_t fastopen_key_1
    uint64_t fastopen_key_2     # the one before
    uint64_t fastopen_key_3
    # listeners
    uint32_t max_syn_backlog    # half-open connections per listener; beyond it SYN cookies
    uint32_t max_backlog        # of listen()
    uint8_t syn_cookies         # 1 when the queue is full, 2 always
    uint8_t abort_on_overflow
    # keepalive and endings
    int64_t keepalive_time      # 7200 s (RFC 1122 section 4.2.3.6)
    int64_t keepalive_interval  # 75 s
    int64_t fin_timeout         # 60 s for orphans
    int64_t time_wait           # 60 s: 2 MSL
    int64_t time_wait_reuse_delay
    uint32_t keepalive_probes   # 9
    uint32_t max_time_wait      # per stack; beyond it the oldest goes
    uint32_t max_orphans        # per stack; beyond it a close resets
    uint8_t rfc1337             # a RST does not end TIME-WAIT
    uint8_t time_wait_reuse     # connect(): 0 never, 1 yes, 2 between our own addresses
    # the user timeout option (RFC 5482)
    int64_t user_timeout_advertised     # where the application has asked for none
    int64_t user_timeout_least  # L_LIMIT and U_LIMIT
    int64_t user_timeout_most
    uint8_t user_timeout_option
    # challenge ACKs
    # 500 ms: at least between two of one connection, as Linux
    int64_t challenge_period
    uint32_t challenge_limit    # per second and stack (RFC 5961 section 7)
    # what is remembered of destinations, and ports
    uint32_t first_port
    uint32_t port_count
    uint16_t port_low           # IP_LOCAL_PORT_RANGE of this socket; 0: none
    uint16_t port_high
    uint8_t metrics
    uint8_t metrics_ssthresh
    # bounds that Linux keeps elsewhere
    uint32_t max_sent           # records of transmissions per connection; beyond it new data waits
    uint32_t max_out_of_order   # intervals per connection

# A configuration that is not the stack's: of a socket, and of all that its listener accepts.
# Written by configure.pyx only.
ctypedef struct OwnConfig:
    TcpConfig config            # first: a TCB points to it
    uint32_t references

# How the application wants this connection; inherited from the listener. A value: what is alike is
# shared, and never written (shared_settings.pyx).
ctypedef struct TcpSettings:
    uint64_t max_pacing_rate    # SO_MAX_PACING_RATE, bytes per second; all ones: no limit
    uint32_t window_clamp       # TCP_WINDOW_CLAMP; 0: none
    uint32_t receive_low        # SO_RCVLOWAT
    uint32_t notsent_lowat      # TCP_NOTSENT_LOWAT
    uint32_t user_timeout_ms    # 0: R2 decides (RFC 9293 section 3.9.1.8, TCP_USER_TIMEOUT)
    uint16_t max_segment        # TCP_MAXSEG, 0: from the MTU
    int16_t linger2_s           # TCP_LINGER2; 0: the stack's fin_timeout; negative: none
    uint16_t keepalive_idle_s
    uint16_t keepalive_interval_s
    uint8_t keepalive_count
    uint8_t syn_retries         # 0: the stack's
    uint8_t user_timeout_adopted        # from the peer's option (RFC 5482)
    uint8_t no_delay            # TCP_NODELAY
    uint8_t cork                # TCP_CORK
    uint8_t keepalive           # SO_KEEPALIVE
    uint8_t linger              # SO_LINGER
    uint8_t reuse_address
    uint8_t pacing              # it was set
    uint8_t defer_accept        # TCP_DEFER_ACCEPT, as a number of SYN-ACKs
    uint8_t save_syn            # TCP_SAVE_SYN
    uint8_t min_ttl             # IP_MINTTL, IPV6_MINHOPCOUNT (RFC 5082); 0: any
    uint8_t choose_port_late    # IP_BIND_ADDRESS_NO_PORT
    uint8_t broadcast           # SO_BROADCAST: kept for whoever asks
    uint8_t receive_locked      # SO_RCVBUF: no auto-tuning
    uint8_t send_locked
    uint8_t congestion          # TCP_CONGESTION: CongestionAlgorithm
    uint8_t fast_open_connect   # TCP_FASTOPEN_CONNECT
    uint8_t fast_open_no_cookie         # TCP_FASTOPEN_NO_COOKIE
    uint16_t linger_s

# Settings that at least one TCB has; written by shared_settings.pyx only.
cdef struct SharedSettings:
    TcpSettings settings        # first: a TCB points to it
    SharedSettings* next
    SharedSettings* previous
    uint32_t references
