# TCP setup: makes and releases the TCP layer.
# Called by: stack.
# RFCs: the defaults name theirs.

from libc.errno cimport ECONNABORTED
from libc.stdint cimport int64_t, uint8_t, uint32_t
from libc.string cimport memset
from pystack.core.context cimport DEADLINE_REST
from pystack.core.ip.layer cimport IpLayer
from pystack.core.memory.deadline cimport deadline_register, deadline_unregister
from pystack.core.memory.flow cimport (
    FlowKey, FlowTable, flow_next, flow_table_init, flow_table_release, siphash,
)
from pystack.core.memory.random cimport random_next
from pystack.core.tcp.busy cimport tcb_is_awake, tcb_wake
from pystack.core.tcp.config cimport TcpConfig
from pystack.core.tcp.layer cimport (
    CONGESTION_CUBIC, STATE_LISTEN, STATE_SYN_SENT, STATE_TIME_WAIT, Tcb, TcpLayer,
)
from pystack.core.tcp.listen cimport listen_close
from pystack.core.tcp.metrics cimport metrics_forget, metrics_init
from pystack.core.tcp.segments cimport send_reset
from pystack.core.tcp.tcb cimport tcb_bury, tcb_finish, tcp_reap

cdef int64_t SECOND = 1_000_000_000
cdef int64_t MILLISECOND = 1_000_000


cdef void tcp_default_config(TcpConfig* config) noexcept nogil:
    """The wire profile of Linux where an RFC leaves a choice."""
    memset(config, 0, sizeof(TcpConfig))
    config.rto_initial = SECOND                 # RFC 6298 section 2.1
    config.rto_min = 200 * MILLISECOND
    config.rto_max = 120 * SECOND
    config.syn_retries = 6
    config.syn_linear_timeouts = 4
    config.synack_retries = 5
    config.retries1 = 3
    config.retries2 = 15
    config.orphan_retries = 8
    config.delayed_ack = 40 * MILLISECOND
    config.delayed_ack_max = 200 * MILLISECOND
    config.pingpong_threshold = 1
    config.cork = 200 * MILLISECOND             # tcp(7)
    config.recovery = 1
    config.early_retrans = 3
    config.frto = 2
    config.reordering = 3
    config.max_reordering = 300
    config.min_rtt_window = 300 * SECOND
    config.timestamps = 1
    config.sack = True
    config.dsack = True
    config.window_scaling = True
    config.window_scale = 10                    # as Linux with its default tcp_rmem
    config.initial_window = 10                  # RFC 6928
    config.slow_start_after_idle = True
    config.ecn = 2
    config.ecn_fallback = True
    config.abe = True
    config.hystart = True
    config.cubic_reno_pace = True
    config.pacing_ss_ratio = 200
    config.pacing_ca_ratio = 120
    config.min_tso_segs = 2
    config.tso_rtt_log = 9
    config.tso_win_divisor = 3
    config.congestion = CONGESTION_CUBIC
    config.receive_buffer = 1 << 16
    config.receive_buffer_max = 1 << 24
    config.receive_buffer_limit = 1 << 22
    config.send_buffer = 1 << 18
    config.send_buffer_max = 1 << 22
    config.send_buffer_limit = 1 << 22
    config.notsent_lowat = 0xFFFFFFFF
    config.window_share = 1
    config.auto_receive_buffer = True
    config.base_mss = 1024
    config.mtu_probe_floor = 48
    config.probe_interval = 600 * SECOND
    config.probe_threshold = 8
    config.min_snd_mss = 48
    config.fastopen = 1
    config.syn_cookies = 1
    config.max_syn_backlog = 1024
    config.max_backlog = 4096
    config.keepalive_time = 7200 * SECOND       # RFC 1122 section 4.2.3.6
    config.keepalive_interval = 75 * SECOND
    config.keepalive_probes = 9
    config.fin_timeout = 60 * SECOND
    config.time_wait = 60 * SECOND
    config.max_time_wait = 65536
    config.max_orphans = 65536
    config.time_wait_reuse = 2
    config.time_wait_reuse_delay = SECOND
    config.rfc1337 = True
    config.user_timeout_advertised = 300 * SECOND       # RFC 9293 section 3.9.1.1
    config.user_timeout_least = 100 * SECOND            # R2 of RFC 1122 section 4.2.3.5
    config.user_timeout_most = 3600 * SECOND
    config.challenge_period = 500 * MILLISECOND
    config.challenge_limit = 1000
    config.metrics = True
    config.first_port = 32768
    config.port_count = 60999 - 32768 + 1
    config.max_sent = 4096
    config.max_out_of_order = 1024


cdef void tcp_init(TcpLayer* tcp, IpLayer* ip, const TcpConfig* config) noexcept nogil:
    cdef int i
    memset(tcp, 0, sizeof(TcpLayer))
    tcp.ip = ip
    tcp.context = ip.context
    tcp.config = config[0]
    for i in range(2):
        tcp.isn_secret[i] = random_next(&tcp.context.random)
        tcp.port_secret[i] = random_next(&tcp.context.random)
        tcp.cookie_secret[i] = random_next(&tcp.context.random)
        tcp.timestamp_secret[i] = random_next(&tcp.context.random)
        # Derived, so that a stack that was there before fast open draws the same numbers.
        tcp.fast_open_secret[i] = siphash(tcp.cookie_secret, <const uint8_t*>"fast open" + i, 8)
    deadline_register(&tcp.context.deadlines, &tcp.rest, tcp, DEADLINE_REST)
    metrics_init(tcp)
    flow_table_init(&tcp.connections, tcp.context.secret)
    flow_table_init(&tcp.bound, tcp.context.secret)


cdef Tcb* next_to_remove(const FlowTable* table, uint32_t* cursor) noexcept nogil:
    """The next of a walk that removes what it finds, or NULL when the table is empty.

    It goes on where it was, or else each removal would cost a walk over all slots; what a removal
    has moved behind its back is found when it begins anew.
    """
    cdef FlowKey* key = flow_next(table, cursor)
    if key == NULL and table.count > 0:
        cursor[0] = 0
        key = flow_next(table, cursor)
    return <Tcb*>key


cdef void tcp_abort_all(TcpLayer* tcp) noexcept nogil:
    cdef uint32_t cursor = 0
    cdef Tcb* tcb = <Tcb*>flow_next(&tcp.bound, &cursor)
    while tcb != NULL:
        while tcb.state != STATE_LISTEN and tcb.next != NULL:
            tcb = tcb.next
        if tcb.state == STATE_LISTEN:
            listen_close(tcp, tcb)
            tcb_finish(tcp, tcb, ECONNABORTED)
            cursor = 0      # the table has moved
        tcb = <Tcb*>flow_next(&tcp.bound, &cursor)
    cursor = 0
    tcb = next_to_remove(&tcp.connections, &cursor)
    while tcb != NULL:
        if tcb.state not in (STATE_SYN_SENT, STATE_TIME_WAIT) and tcb_wake(tcp, tcb):
            send_reset(tcp, tcb)
        tcb_finish(tcp, tcb, ECONNABORTED)
        tcb = next_to_remove(&tcp.connections, &cursor)


cdef void tcp_release(TcpLayer* tcp) noexcept nogil:
    """What is still held was leaked by its holder: its memory is freed all the same."""
    # Connections first: those not yet accepted are in the queues of their listeners.
    cdef uint32_t cursor = 0
    cdef Tcb* tcb = next_to_remove(&tcp.connections, &cursor)
    while tcb != NULL:
        tcb.held = False
        if tcb_is_awake(tcb):
            tcb.busy.listener = NULL
        tcb_finish(tcp, tcb, 0)
        tcb = next_to_remove(&tcp.connections, &cursor)
    tcp_reap(tcp)
    cursor = 0
    tcb = next_to_remove(&tcp.bound, &cursor)
    while tcb != NULL:
        tcb.held = False
        while tcb.rare.backlog != NULL and tcb.rare.backlog.accept.first != NULL:
            tcb_bury(tcp, tcb.rare.backlog.accept.first)
        tcb_bury(tcp, tcb)
        tcp_reap(tcp)
        tcb = next_to_remove(&tcp.bound, &cursor)
    metrics_forget(tcp)
    deadline_unregister(&tcp.context.deadlines, &tcp.rest)
    flow_table_release(&tcp.connections)
    flow_table_release(&tcp.bound)
