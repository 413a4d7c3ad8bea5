# Socket options of a connection or listener, by Linux's numbers.
# Called by: stack's callers (engine).
# RFCs: 9293 section 3.9.1; socket(7), tcp(7).

from libc.errno cimport EINVAL, ENOENT, ENOMEM, ENOPROTOOPT, EOPNOTSUPP, EPERM
from libc.stdint cimport int16_t, int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from pystack.core.context cimport endpoint_ready
from pystack.core.endpoint cimport READY_READ
from pystack.core.tcp.acknowledge cimport (
    acknowledge_read, acknowledge_set_quick, is_interactive,
)
from pystack.core.tcp.calls cimport tcp_backlog
from pystack.core.tcp.busy cimport tcb_wake
from pystack.core.tcp.clock cimport timestamp_now
from pystack.core.tcp.config cimport TcpConfig
from pystack.core.tcp.configure cimport config_own
from pystack.core.tcp.congestion.interface cimport ALGORITHMS, congestion_choose
from pystack.core.tcp.fast_open_cookie cimport cookie_keys
from pystack.core.tcp.layer cimport (
    STATE_CLOSED, STATE_LISTEN, Backlog, FastOpenKeys, Tcb, TcpLayer,
)
from pystack.core.tcp.receive cimport text_is_ready
from pystack.core.tcp.send_buffer cimport send_buffer_moved
from pystack.core.tcp.shared_settings cimport settings_edit, settings_of, settings_settle
from pystack.core.tcp.tcb cimport tcb_is_synchronized, tcb_output_later
from pystack.core.tcp.timers cimport keepalive_restart, keepalive_retime
from pystack.core.tcp.user_timeout cimport user_timeout_choose
from pystack.core.tcp.window cimport window_resize, window_set_clamp, window_widen

# The numbers of Linux's <sys/socket.h> and <netinet/tcp.h>, on every operating system.
cdef enum:
    IPPROTO_IP = 0
    SOL_SOCKET = 1
    IPPROTO_TCP = 6
    SO_REUSEADDR = 2
    SO_BROADCAST = 6
    SO_SNDBUF = 7
    SO_RCVBUF = 8
    SO_KEEPALIVE = 9
    SO_OOBINLINE = 10
    SO_LINGER = 13
    SO_RCVLOWAT = 18
    SO_ACCEPTCONN = 30
    SO_SNDBUFFORCE = 32
    SO_RCVBUFFORCE = 33
    SO_MAX_PACING_RATE = 47
    SO_BUF_LOCK = 72
    TCP_NODELAY = 1
    TCP_MAXSEG = 2
    TCP_CORK = 3
    TCP_KEEPIDLE = 4
    TCP_KEEPINTVL = 5
    TCP_KEEPCNT = 6
    TCP_SYNCNT = 7
    TCP_LINGER2 = 8
    TCP_DEFER_ACCEPT = 9
    TCP_WINDOW_CLAMP = 10
    TCP_QUICKACK = 12
    TCP_CONGESTION = 13
    TCP_THIN_LINEAR_TIMEOUTS = 16
    TCP_THIN_DUPACK = 17
    TCP_USER_TIMEOUT = 18
    TCP_FASTOPEN = 23
    TCP_TIMESTAMP = 24
    TCP_NOTSENT_LOWAT = 25
    TCP_SAVE_SYN = 27
    TCP_FASTOPEN_CONNECT = 30
    TCP_FASTOPEN_NO_COOKIE = 34
    TCP_IS_MPTCP = 43
    TCP_RTO_MAX_MS = 44
    TCP_RTO_MIN_US = 45
    TCP_DELACK_MAX_US = 46

cdef enum:
    LEAST_RECEIVE_BUFFER = 2304     # as Linux's SOCK_MIN_RCVBUF
    LEAST_SEND_BUFFER = 4608
    MOST_BUFFER = 1 << 29
    LEAST_MAXSEG = 88       # as Linux
    MOST_MAXSEG = 32767
    SEND_LOCK = 1           # of SO_BUF_LOCK
    RECEIVE_LOCK = 2
    LEAST_RTO_MAX_MS = 1000
    MOST_RTO_MAX_MS = 120_000
    LEAST_TIMER_US = 2000   # two ticks, where Linux has a thousand in a second
    MOST_TIMER_US = 200_000
    MOST_DEFERRED = 255     # SYN-ACKs
    MOST_KEEPALIVE_S = 32767
    MOST_KEEPALIVE_COUNT = 127
    MOST_SYNCNT = 127
    MOST_LINGER2_S = 120        # as Linux
    FAST_OPEN_CLIENT = 1        # of TcpConfig.fastopen


cdef int64_t SECOND = 1_000_000_000
cdef int64_t MILLISECOND = 1_000_000
cdef int64_t MICROSECOND = 1000


cdef bint within(int64_t value, int64_t least, int64_t most) noexcept nogil:
    return least <= value <= most


cdef uint32_t buffer_size(int64_t value, uint32_t limit, int64_t least) noexcept nogil:
    """As Linux it is doubled (socket(7)): what is said there counts overhead too. Below 0: all."""
    if value < 0 or value > limit:
        value = limit
    return <uint32_t>max(2 * value, least)


cdef uint32_t window_of(const Tcb* tcb, uint32_t buffer) noexcept nogil:
    """What of a receive buffer is window; TcpConfig.window_share."""
    cdef int share = tcb.config.window_share
    return buffer - (buffer >> share) if share > 0 else buffer >> -share


cdef int64_t buffer_of(const Tcb* tcb, uint32_t window) noexcept nogil:
    """The buffer that has such a window."""
    cdef int share = tcb.config.window_share
    if share > 0:
        return (<int64_t>window << share) // ((1 << share) - 1)
    return <int64_t>window << -share


cdef void set_receive_buffer(
        TcpLayer* tcp, Tcb* tcb, int64_t value, uint32_t limit) noexcept nogil:
    window_resize(tcb, window_of(tcb, buffer_size(value, limit, LEAST_RECEIVE_BUFFER)))
    if tcb_is_synchronized(tcb):
        acknowledge_read(tcp, tcb)


cdef void set_send_buffer(TcpLayer* tcp, Tcb* tcb, int64_t value, uint32_t limit) noexcept nogil:
    tcb.send_buffer = buffer_size(value, limit, LEAST_SEND_BUFFER)
    settings_of(tcb).send_locked = True
    send_buffer_moved(tcp, tcb)


cdef void set_receive_low(TcpLayer* tcp, Tcb* tcb, int64_t value) noexcept nogil:
    """At most half of the buffer; one that tunes itself becomes large enough at once (as Linux)."""
    cdef uint32_t largest = tcb.receive_buffer if tcb.settings.receive_locked else (
        tcb.config.receive_buffer_max)
    cdef int64_t low = min(value if value >= 0 else <int64_t>0x7FFFFFFF,
                           buffer_of(tcb, largest) // 2)
    settings_of(tcb).receive_low = <uint32_t>max(low, 1)
    if not tcb.settings.receive_locked and low > tcb.receive_buffer:
        window_widen(tcb, <uint32_t>low)
    if tcb_is_synchronized(tcb) and tcb.busy.received.length and text_is_ready(tcb):
        endpoint_ready(tcp.context, &tcb.endpoint, READY_READ)


cdef uint8_t seconds_to_retries(const Tcb* tcb, int64_t seconds) noexcept nogil:
    """As Linux: after how many timeouts of a SYN-ACK that begin with a second have so many passed?
    """
    cdef int64_t longest = tcb.config.rto_max // SECOND
    cdef int64_t timeout = 1
    cdef int64_t passed = 1
    cdef int count = 1
    if seconds <= 0:
        return 0
    while seconds > passed and count < MOST_DEFERRED:
        timeout = min(2 * timeout, longest)
        passed += timeout
        count += 1
    return <uint8_t>count


cdef int64_t retries_to_seconds(const Tcb* tcb, uint8_t retries) noexcept nogil:
    cdef int64_t longest = tcb.config.rto_max // SECOND
    cdef int64_t timeout = 1
    cdef int64_t passed = 0
    while retries:
        passed += timeout
        timeout = min(2 * timeout, longest)
        retries -= 1
    return passed


cdef int set_timer(TcpLayer* tcp, Tcb* tcb, int option, int64_t value) noexcept nogil:
    """What Linux has as options, too, of a socket's configuration."""
    cdef TcpConfig* config
    if option == TCP_RTO_MAX_MS:
        if not within(value, LEAST_RTO_MAX_MS, MOST_RTO_MAX_MS):
            return -EINVAL
    elif option == TCP_THIN_LINEAR_TIMEOUTS:
        if not within(value, 0, 1):
            return -EINVAL
    elif not within(value, LEAST_TIMER_US, MOST_TIMER_US):
        return -EINVAL
    config = config_own(tcp, tcb)
    if config == NULL:
        return -ENOMEM
    if option == TCP_RTO_MAX_MS:
        config.rto_max = value * MILLISECOND
    elif option == TCP_RTO_MIN_US:
        config.rto_min = value * MICROSECOND
    elif option == TCP_DELACK_MAX_US:
        config.delayed_ack_max = value * MICROSECOND
    else:
        config.thin_linear_timeouts = value != 0
    return 0


cdef int set_socket_option(TcpLayer* tcp, Tcb* tcb, int option, int64_t value) noexcept nogil:
    if option == SO_REUSEADDR:
        settings_of(tcb).reuse_address = value != 0
    elif option == SO_KEEPALIVE:
        settings_of(tcb).keepalive = value != 0
        keepalive_restart(tcp, tcb)
    elif option == SO_LINGER:
        settings_of(tcb).linger = value >= 0
        settings_of(tcb).linger_s = <uint16_t>max(<int64_t>0, min(value, <int64_t>0xFFFF))
    elif option == SO_SNDBUF:
        set_send_buffer(tcp, tcb, value, tcb.config.send_buffer_limit)
    elif option == SO_SNDBUFFORCE:
        set_send_buffer(tcp, tcb, value, MOST_BUFFER)
    elif option == SO_RCVBUF:
        set_receive_buffer(tcp, tcb, value, tcb.config.receive_buffer_limit)
    elif option == SO_RCVBUFFORCE:
        set_receive_buffer(tcp, tcb, value, MOST_BUFFER)
    elif option == SO_RCVLOWAT:
        set_receive_low(tcp, tcb, value)
    elif option == SO_MAX_PACING_RATE:
        # Bytes per second; -1: no limit. As in Linux, who has set it once is paced.
        settings_of(tcb).pacing = tcb.settings.pacing or value >= 0
        settings_of(tcb).max_pacing_rate = <uint64_t>value
        tcb_output_later(tcp, tcb)
    elif option == SO_BROADCAST:
        settings_of(tcb).broadcast = value != 0
    elif option == SO_BUF_LOCK:
        if not within(value, 0, SEND_LOCK | RECEIVE_LOCK):
            return -EINVAL
        settings_of(tcb).send_locked = value & SEND_LOCK != 0
        settings_of(tcb).receive_locked = value & RECEIVE_LOCK != 0
    elif option == SO_OOBINLINE:
        return 0 if value else -EINVAL      # urgent data is always in line (RFC 6093)
    else:
        return -ENOPROTOOPT
    return 0


cdef int set_fast_open(TcpLayer* tcp, Tcb* tcb, int option, int64_t value) noexcept nogil:
    """RFC 7413 appendix A, and what Linux has beside it."""
    cdef Backlog* backlog
    if option == TCP_FASTOPEN_CONNECT:
        if not within(value, 0, 1):
            return -EINVAL
        if not tcp.config.fastopen & FAST_OPEN_CLIENT:
            return -EOPNOTSUPP
        if tcb.state != STATE_CLOSED:
            return -EINVAL
        settings_of(tcb).fast_open_connect = value != 0
        return 0
    if tcb.state not in (STATE_CLOSED, STATE_LISTEN) or value < 0:
        return -EINVAL
    if option == TCP_FASTOPEN_NO_COOKIE:
        if value > 1:
            return -EINVAL
        settings_of(tcb).fast_open_no_cookie = value != 0
        return 0
    backlog = tcp_backlog(tcb)
    if backlog == NULL:
        return -ENOMEM
    backlog.fast_open.limit = <uint32_t>min(value, <int64_t>tcp.config.max_backlog)
    return 0


cdef int tcp_set_fast_open_keys(
        Tcb* tcb, const uint64_t* words, uint32_t keys) noexcept nogil:
    cdef Backlog* backlog
    cdef uint32_t i
    if not within(keys, 1, 2):
        return -EINVAL
    backlog = tcp_backlog(tcb)
    if backlog == NULL:
        return -ENOMEM
    for i in range(2 * keys):
        backlog.fast_open.keys.words[i] = words[i]
    backlog.fast_open.keys.count = keys
    return 0


cdef void tcp_get_fast_open_keys(
        const TcpLayer* tcp, const Tcb* tcb, FastOpenKeys* keys) noexcept nogil:
    cookie_keys(tcp, tcb.rare.backlog, keys)


cdef int set_tcp_option(TcpLayer* tcp, Tcb* tcb, int option, int64_t value) noexcept nogil:
    if option == TCP_NODELAY:
        settings_of(tcb).no_delay = value != 0
        tcb_output_later(tcp, tcb)
    elif option == TCP_CORK:
        settings_of(tcb).cork = value != 0
        tcb_output_later(tcp, tcb)
    elif option == TCP_QUICKACK:
        acknowledge_set_quick(tcp, tcb, value != 0)
    elif option == TCP_MAXSEG:
        if value and not within(value, LEAST_MAXSEG, MOST_MAXSEG):
            return -EINVAL
        settings_of(tcb).max_segment = <uint16_t>value
    elif option == TCP_KEEPIDLE:
        if not within(value, 1, MOST_KEEPALIVE_S):
            return -EINVAL
        settings_of(tcb).keepalive_idle_s = <uint16_t>value
        keepalive_retime(tcp, tcb)
    elif option == TCP_KEEPINTVL:
        if not within(value, 1, MOST_KEEPALIVE_S):
            return -EINVAL
        settings_of(tcb).keepalive_interval_s = <uint16_t>value
    elif option == TCP_KEEPCNT:
        if not within(value, 1, MOST_KEEPALIVE_COUNT):
            return -EINVAL
        settings_of(tcb).keepalive_count = <uint8_t>value
    elif option == TCP_SYNCNT:
        if not within(value, 1, MOST_SYNCNT):
            return -EINVAL
        settings_of(tcb).syn_retries = <uint8_t>value
    elif option == TCP_LINGER2:
        settings_of(tcb).linger2_s = <int16_t>(-1 if value < 0 else min(value, MOST_LINGER2_S))
    elif option == TCP_USER_TIMEOUT:
        if not within(value, 0, 0x7FFFFFFF):
            return -EINVAL
        user_timeout_choose(tcp, tcb, <uint32_t>value)
    elif option == TCP_DEFER_ACCEPT:
        settings_of(tcb).defer_accept = seconds_to_retries(tcb, value)
    elif option == TCP_SAVE_SYN:
        if not within(value, 0, 2):
            return -EINVAL
        settings_of(tcb).save_syn = <uint8_t>value
    elif option == TCP_THIN_DUPACK:     # as Linux: known, and nothing more
        return 0 if within(value, 0, 1) else -EINVAL
    elif option == TCP_TIMESTAMP:
        return -EPERM
    elif option in (
            TCP_THIN_LINEAR_TIMEOUTS, TCP_RTO_MAX_MS, TCP_RTO_MIN_US, TCP_DELACK_MAX_US):
        return set_timer(tcp, tcb, option, value)
    elif option == TCP_WINDOW_CLAMP:
        # As Linux, what is below the least, and be it below 0, is the least; 0 is none.
        return window_set_clamp(
            tcb, <uint32_t>min(value if value >= 0 else <int64_t>1, <int64_t>0x7FFFFFFF))
    elif option == TCP_NOTSENT_LOWAT:
        # 0: the stack's
        settings_of(tcb).notsent_lowat = <uint32_t>value if value else tcb.config.notsent_lowat
        send_buffer_moved(tcp, tcb)
    elif option in (TCP_FASTOPEN, TCP_FASTOPEN_CONNECT, TCP_FASTOPEN_NO_COOKIE):
        return set_fast_open(tcp, tcb, option, value)
    elif option == TCP_CONGESTION:
        # By its number; whoever knows strings knows its name too.
        if not within(value, 0, ALGORITHMS - 1):
            return -ENOENT
        congestion_choose(tcp, tcb, <int>value)
    else:
        return -ENOPROTOOPT
    return 0


cdef int set_ip_option(Tcb* tcb, int option, int64_t value) noexcept nogil:
    """Those of IP that are of connections only."""
    if option == IP_MINTTL:
        if not within(value, 0, 255):
            return -EINVAL
        settings_of(tcb).min_ttl = <uint8_t>value
    elif option == IP_BIND_ADDRESS_NO_PORT:
        settings_of(tcb).choose_port_late = value != 0
    else:
        return -ENOPROTOOPT
    return 0


cdef int tcp_set_option(
        TcpLayer* tcp, Tcb* tcb, int level, int option, int64_t value) noexcept nogil:
    cdef int result = -ENOPROTOOPT
    if not tcb_wake(tcp, tcb) or settings_edit(tcp, tcb) == NULL:
        return -ENOMEM
    if level == SOL_SOCKET:
        result = set_socket_option(tcp, tcb, option, value)
    elif level == IPPROTO_TCP:
        result = set_tcp_option(tcp, tcb, option, value)
    elif level == IPPROTO_IP:
        result = set_ip_option(tcb, option, value)
    settings_settle(tcp, tcb)
    return result


cdef int get_socket_option(
        const TcpLayer* tcp, const Tcb* tcb, int option, int64_t* value) noexcept nogil:
    if option == SO_REUSEADDR:
        value[0] = tcb.settings.reuse_address
    elif option == SO_KEEPALIVE:
        value[0] = tcb.settings.keepalive
    elif option == SO_LINGER:
        value[0] = tcb.settings.linger_s if tcb.settings.linger else -1
    elif option == SO_SNDBUF:
        value[0] = tcb.send_buffer
    elif option == SO_RCVBUF:
        value[0] = buffer_of(tcb, tcb.receive_buffer)
    elif option == SO_RCVLOWAT:
        value[0] = tcb.settings.receive_low
    elif option == SO_MAX_PACING_RATE:
        value[0] = <int64_t>tcb.settings.max_pacing_rate
    elif option == SO_BROADCAST:
        value[0] = tcb.settings.broadcast
    elif option == SO_BUF_LOCK:
        value[0] = (SEND_LOCK if tcb.settings.send_locked else 0) | (
            RECEIVE_LOCK if tcb.settings.receive_locked else 0)
    elif option == SO_OOBINLINE:
        value[0] = 1
    elif option == SO_ACCEPTCONN:
        value[0] = tcb.state == STATE_LISTEN
    else:
        return -ENOPROTOOPT
    return 0


cdef int get_timer(const Tcb* tcb, int option, int64_t* value) noexcept nogil:
    if option == TCP_RTO_MAX_MS:
        value[0] = tcb.config.rto_max // MILLISECOND
    elif option == TCP_RTO_MIN_US:
        value[0] = tcb.config.rto_min // MICROSECOND
    elif option == TCP_DELACK_MAX_US:
        value[0] = tcb.config.delayed_ack_max // MICROSECOND
    elif option == TCP_THIN_LINEAR_TIMEOUTS:
        value[0] = tcb.config.thin_linear_timeouts
    elif option in (TCP_THIN_DUPACK, TCP_IS_MPTCP):
        value[0] = 0
    else:
        return -ENOPROTOOPT
    return 0


cdef int get_tcp_option(TcpLayer* tcp, const Tcb* tcb, int option, int64_t* value) noexcept nogil:
    if option == TCP_NODELAY:
        value[0] = tcb.settings.no_delay
    elif option == TCP_CORK:
        value[0] = tcb.settings.cork
    elif option == TCP_QUICKACK:
        value[0] = not is_interactive(tcp, tcb)
    elif option == TCP_MAXSEG:
        value[0] = tcb.smss if tcb_is_synchronized(tcb) else (
            tcb.settings.max_segment if tcb.settings.max_segment else 536)
    elif option == TCP_KEEPIDLE:
        value[0] = tcb.settings.keepalive_idle_s
    elif option == TCP_KEEPINTVL:
        value[0] = tcb.settings.keepalive_interval_s
    elif option == TCP_KEEPCNT:
        value[0] = tcb.settings.keepalive_count
    elif option == TCP_SYNCNT:
        value[0] = (
            tcb.settings.syn_retries if tcb.settings.syn_retries else tcb.config.syn_retries)
    elif option == TCP_LINGER2:
        value[0] = tcb.settings.linger2_s if tcb.settings.linger2_s else (
            tcb.config.fin_timeout // SECOND)
    elif option == TCP_USER_TIMEOUT:
        value[0] = tcb.settings.user_timeout_ms
    elif option == TCP_WINDOW_CLAMP:
        value[0] = (
            tcb.window_clamp if tcb_is_synchronized(tcb) else tcb.settings.window_clamp)
    elif option == TCP_NOTSENT_LOWAT:
        value[0] = 0 if tcb.settings.notsent_lowat == tcb.config.notsent_lowat else (
            <int32_t>tcb.settings.notsent_lowat)
    elif option == TCP_FASTOPEN:
        value[0] = tcb.rare.backlog.fast_open.limit if tcb.rare.backlog != NULL else 0
    elif option == TCP_FASTOPEN_CONNECT:
        value[0] = tcb.settings.fast_open_connect
    elif option == TCP_FASTOPEN_NO_COOKIE:
        value[0] = tcb.settings.fast_open_no_cookie
    elif option == TCP_CONGESTION:
        value[0] = tcb.settings.congestion
    elif option == TCP_DEFER_ACCEPT:
        value[0] = retries_to_seconds(tcb, tcb.settings.defer_accept)
    elif option == TCP_SAVE_SYN:
        value[0] = tcb.settings.save_syn
    elif option == TCP_TIMESTAMP:
        value[0] = <int32_t>timestamp_now(tcp, tcb)
    else:
        return get_timer(tcb, option, value)
    return 0


cdef int tcp_get_option(
        TcpLayer* tcp, const Tcb* tcb, int level, int option, int64_t* value) noexcept nogil:
    if level == SOL_SOCKET:
        return get_socket_option(tcp, tcb, option, value)
    if level == IPPROTO_TCP:
        return get_tcp_option(tcp, tcb, option, value)
    return -ENOPROTOOPT
