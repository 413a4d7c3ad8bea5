# Socket options by Linux's numbers, on every system: IP's and datagrams'; TCP's are in tcp/.
# Called by: endpoint.
# RFCs: 3493, 3542; socket(7), ip(7), ipv6(7), udp(7).

from libc.errno cimport EINVAL, ENOMEM, ENOPROTOOPT, ENOTCONN
from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t
from pystack.core.endpoint cimport (
    ENDPOINT_TCP,
    MANNER_FREE_BIND,
    MANNER_NO_LABEL,
    MANNER_OWN_LABEL,
    MANNER_REPORT_ERRORS,
    MANNER_REPORT_EXTENSIONS,
    MANNER_REUSE_PORT,
    MANNER_TRANSPARENT,
    MTU_DISCOVER_DO,
    Endpoint,
)
from pystack.core.error_queue cimport error_queue_release
from pystack.core.ip.flow_label cimport flow_label_new
from pystack.core.ip.layer cimport PROTOCOL_UDP
from pystack.core.ip.path_mtu cimport ip_path_mtu
from pystack.core.stack cimport Core
from pystack.core.tcp.calls cimport tcp_take_soft_error
from pystack.core.tcp.config cimport TcpConfig
from pystack.core.tcp.configure cimport config_own
from pystack.core.tcp.ecn cimport ECN_MASK
from pystack.core.tcp.layer cimport Tcb
from pystack.core.tcp.settings cimport (
    IP_BIND_ADDRESS_NO_PORT, IP_MINTTL, tcp_get_option, tcp_set_option,
)
from pystack.core.udp.cork cimport cork_flush
from pystack.core.udp.layer cimport Datagram
from pystack.core.wire.address cimport addr_is_any

cdef enum:
    AF_INET = 2
    AF_INET6 = 10
    SOCK_STREAM = 1
    SOCK_DGRAM = 2
    SO_REUSEPORT = 15
    SO_SNDLOWAT = 19
    SO_SNDBUFFORCE = 32
    SO_RCVBUFFORCE = 33
    LEVEL_IP = 0
    LEVEL_UDP = 17
    LEVEL_IPV6 = 41
    IP_TOS = 1
    IP_TTL = 2
    IP_MTU_DISCOVER = 10
    IP_RECVERR = 11
    IP_MTU = 14
    IP_FREEBIND = 15
    IP_TRANSPARENT = 19
    IPV6_UNICAST_HOPS = 16
    IPV6_MTU_DISCOVER = 23
    IPV6_MTU = 24
    IPV6_RECVERR = 25
    IPV6_V6ONLY = 26
    IP_RECVERR_RFC4884 = 26
    IP_LOCAL_PORT_RANGE = 51
    RECVERR_RFC4884 = 126       # of both, by a number that IPV6_V6ONLY does not have
    IPV6_RECVERR_RFC4884 = 31
    IPV6_TCLASS = 67
    IPV6_AUTOFLOWLABEL = 70
    IPV6_MINHOPCOUNT = 73
    IPV6_TRANSPARENT = 75
    IPV6_FREEBIND = 78
    SO_NO_CHECK = 11
    UDP_CORK = 1
    UDP_NO_CHECK6_TX = 101
    UDP_NO_CHECK6_RX = 102
    UDP_GRO = 104
    DEFAULT_TTL = 64            # what the IP layer takes for marking.ttl == 0
    LEAST_BUFFER = 2304         # as Linux
    MOST_BUFFER = 1 << 26
    SEND_BUFFER = 212992        # datagrams are not queued for sending; this is only what Linux says


cdef inline bint is_v6(const Endpoint* endpoint) noexcept nogil:
    if endpoint.kind == ENDPOINT_TCP:
        return (<const Tcb*>endpoint).v6
    return (<const Datagram*>endpoint).v6


cdef inline bint is_bound(const Endpoint* endpoint) noexcept nogil:
    return endpoint.key.local_port != 0


cdef int set_ttl(Endpoint* endpoint, int64_t value) noexcept nogil:
    """-1: back to the default, otherwise 1 to 255."""
    if value == -1:
        value = 0
    elif not 1 <= value <= 255:
        return -EINVAL
    endpoint.marking.ttl = <uint8_t>value
    return 0


cdef int set_tos(Endpoint* endpoint, int64_t value) noexcept nogil:
    if not -1 <= value <= 255:
        return -EINVAL
    if endpoint.kind == ENDPOINT_TCP:
        value &= ~<int64_t>ECN_MASK     # TCP's own (RFC 3168), as Linux
    endpoint.marking.tos = <uint8_t>max(value, <int64_t>0)
    return 0


cdef int set_mtu_discover(Endpoint* endpoint, int64_t value) noexcept nogil:
    if not 0 <= value <= MTU_DISCOVER_DO:
        return -EINVAL
    endpoint.marking.mtu_discover = <uint8_t>value
    return 0


cdef int set_report_errors(Core* core, Endpoint* endpoint, int64_t value) noexcept nogil:
    """Turned off, the queue is emptied, as in Linux."""
    set_manner(endpoint, MANNER_REPORT_ERRORS, value)
    if value == 0:
        error_queue_release(&core.context.slab, &endpoint.errors)
    return 0


cdef void set_manner(Endpoint* endpoint, int manner, bint on) noexcept nogil:
    endpoint.manners = <uint8_t>(endpoint.manners | manner if on else endpoint.manners & ~manner)


cdef int set_port_range(Core* core, Endpoint* endpoint, uint32_t value) noexcept nogil:
    """The first port in the lower half, the last in the upper; 0: that of the stack."""
    cdef uint16_t low = <uint16_t>value
    cdef uint16_t high = <uint16_t>(value >> 16)
    cdef TcpConfig* config
    if low and high and low > high:
        return -EINVAL
    if endpoint.kind == ENDPOINT_TCP:
        config = config_own(&core.tcp, <Tcb*>endpoint)
        if config == NULL:
            return -ENOMEM
        config.port_low = low
        config.port_high = high
    else:
        (<Datagram*>endpoint).port_low = low
        (<Datagram*>endpoint).port_high = high
    return 0


cdef int64_t get_port_range(const Endpoint* endpoint) noexcept nogil:
    cdef const TcpConfig* config
    if endpoint.kind == ENDPOINT_TCP:
        config = (<const Tcb*>endpoint).config
        return <int32_t>(config.port_low | <uint32_t>config.port_high << 16)
    return <int32_t>((<const Datagram*>endpoint).port_low | (
        <uint32_t>(<const Datagram*>endpoint).port_high << 16))


cdef int set_v6only(Endpoint* endpoint, int64_t value) noexcept nogil:
    if not is_v6(endpoint) or is_bound(endpoint):
        return -EINVAL
    endpoint.v6only = value != 0
    return 0


cdef int as_ip(const Endpoint* endpoint, int level, int option) noexcept nogil:
    """IPv4's name of an option that both have, IPV6_V6ONLY; -1: there is no such option.

    An IPv6 socket takes IPv4's options too, since it may speak IPv4.
    """
    if level == LEVEL_IP and option in (
            IP_TOS, IP_TTL, IP_MTU_DISCOVER, IP_RECVERR, IP_MTU, IP_FREEBIND, IP_TRANSPARENT,
            IP_LOCAL_PORT_RANGE):
        return option
    if level == LEVEL_IP and endpoint.kind == ENDPOINT_TCP and option in (
            IP_MINTTL, IP_BIND_ADDRESS_NO_PORT):
        return option
    if level == LEVEL_IP and option == IP_RECVERR_RFC4884:
        return RECVERR_RFC4884
    if level != LEVEL_IPV6 or not is_v6(endpoint):
        return -1
    if option == IPV6_UNICAST_HOPS:
        return IP_TTL
    if option == IPV6_TCLASS:
        return IP_TOS
    if option == IPV6_MTU_DISCOVER:
        return IP_MTU_DISCOVER
    if option == IPV6_RECVERR:
        return IP_RECVERR
    if option == IPV6_RECVERR_RFC4884:
        return RECVERR_RFC4884
    if option == IPV6_MTU:
        return IP_MTU
    if option == IPV6_FREEBIND:
        return IP_FREEBIND
    if option == IPV6_TRANSPARENT:
        return IP_TRANSPARENT
    if option == IPV6_AUTOFLOWLABEL:
        return option
    if option == IPV6_MINHOPCOUNT and endpoint.kind == ENDPOINT_TCP:
        return IP_MINTTL
    return IPV6_V6ONLY if option == IPV6_V6ONLY else -1


cdef int set_ip(Core* core, Endpoint* endpoint, int option, int64_t value) noexcept nogil:
    if option == IP_TTL:
        return set_ttl(endpoint, value)
    if option == IP_TOS:
        return set_tos(endpoint, value)
    if option == IP_MTU_DISCOVER:
        return set_mtu_discover(endpoint, value)
    if option == IP_RECVERR:
        return set_report_errors(core, endpoint, value)
    if option == RECVERR_RFC4884:
        if not 0 <= value <= 1:
            return -EINVAL
        set_manner(endpoint, MANNER_REPORT_EXTENSIONS, value)
        return 0
    if option in (IP_MINTTL, IP_BIND_ADDRESS_NO_PORT):
        return tcp_set_option(&core.tcp, <Tcb*>endpoint, LEVEL_IP, option, value)
    if option == IPV6_V6ONLY:
        return set_v6only(endpoint, value)
    if option == IP_FREEBIND:
        set_manner(endpoint, MANNER_FREE_BIND, value)
    elif option == IP_LOCAL_PORT_RANGE:
        return set_port_range(core, endpoint, <uint32_t>value)
    elif option == IP_TRANSPARENT:
        set_manner(endpoint, MANNER_TRANSPARENT, value)
    elif option == IPV6_AUTOFLOWLABEL:
        set_manner(endpoint, MANNER_NO_LABEL, value == 0)
        if not endpoint.manners & MANNER_OWN_LABEL:
            endpoint.marking.flow_label = flow_label_new(&core.context) if value else 0
    else:
        return -ENOPROTOOPT
    return 0


cdef void endpoint_label(Core* core, Endpoint* endpoint, uint32_t label) noexcept nogil:
    """Send under this flow label; 0: again under one of the stack's, if that is wanted."""
    set_manner(endpoint, MANNER_OWN_LABEL, label != 0)
    if label == 0 and not endpoint.manners & MANNER_NO_LABEL:
        label = flow_label_new(&core.context)
    endpoint.marking.flow_label = label


cdef int set_udp(Core* core, Datagram* socket, int option, int64_t value) noexcept nogil:
    if socket.endpoint.key.protocol != PROTOCOL_UDP:
        return -ENOPROTOOPT
    if option == UDP_GRO:
        socket.gro = value != 0
    elif option == UDP_CORK:
        socket.corked = value != 0
        if value == 0:
            cork_flush(&core.udp, socket)
    elif option == UDP_NO_CHECK6_TX:
        socket.no_checksum6 = value != 0
    elif option == UDP_NO_CHECK6_RX:
        socket.zero_checksum6 = value != 0
    else:
        return -ENOPROTOOPT
    return 0


cdef int set_datagram(
    Core* core, Datagram* socket, int level, int option, int64_t value
) noexcept nogil:
    if level == LEVEL_UDP:
        return set_udp(core, socket, option, value)
    elif level != SOL_SOCKET:
        return -ENOPROTOOPT
    elif option == SO_REUSEADDR:
        socket.reuse_address = value != 0
    elif option == SO_BROADCAST:
        socket.broadcast = value != 0
    elif option == SO_NO_CHECK:
        socket.no_checksum = value != 0
    elif option in (SO_RCVBUF, SO_RCVBUFFORCE):
        # Linux doubles what is asked for, since it counts its overhead too; so does the queue.
        value = min(value * 2, <int64_t>MOST_BUFFER) if value >= 0 else <int64_t>MOST_BUFFER
        socket.queue_limit = <uint32_t>max(value, <int64_t>LEAST_BUFFER)
    elif option not in (SO_SNDBUF, SO_SNDBUFFORCE):
        return -ENOPROTOOPT
    return 0


cdef int option_set(
    Core* core, Endpoint* endpoint, int level, int option, int64_t value
) noexcept nogil:
    """Set an option; 0 or a negative errno."""
    cdef int ip = as_ip(endpoint, level, option)
    if ip >= 0:
        return set_ip(core, endpoint, ip, value)
    if level == SOL_SOCKET and option == SO_REUSEPORT:
        set_manner(endpoint, MANNER_REUSE_PORT, value != 0)
        return 0
    if endpoint.kind == ENDPOINT_TCP:
        return tcp_set_option(&core.tcp, <Tcb*>endpoint, level, option, value)
    return set_datagram(core, <Datagram*>endpoint, level, option, value)


cdef int get_path_mtu(Core* core, const Endpoint* endpoint, int64_t* value) noexcept nogil:
    """IP_MTU of a connected socket."""
    if endpoint.key.remote_port == 0 or addr_is_any(&endpoint.key.local):
        return -ENOTCONN
    value[0] = ip_path_mtu(&core.ip, &endpoint.key.local, &endpoint.key.remote)
    return 0


cdef int get_ip(Core* core, const Endpoint* endpoint, int option, int64_t* value) noexcept nogil:
    if option == IP_TTL:
        value[0] = endpoint.marking.ttl if endpoint.marking.ttl else DEFAULT_TTL
    elif option == IP_TOS:
        value[0] = endpoint.marking.tos
    elif option == IP_MTU_DISCOVER:
        value[0] = endpoint.marking.mtu_discover
    elif option == IPV6_V6ONLY:
        value[0] = endpoint.v6only
    elif option == IP_MTU:
        return get_path_mtu(core, endpoint, value)
    elif option == IP_MINTTL:
        value[0] = (<const Tcb*>endpoint).settings.min_ttl
    elif option == IP_BIND_ADDRESS_NO_PORT:
        value[0] = (<const Tcb*>endpoint).settings.choose_port_late
    elif option == RECVERR_RFC4884:
        value[0] = endpoint.manners & MANNER_REPORT_EXTENSIONS != 0
    elif option == IP_FREEBIND:
        value[0] = endpoint.manners & MANNER_FREE_BIND != 0
    elif option == IP_LOCAL_PORT_RANGE:
        value[0] = get_port_range(endpoint)
    elif option == IP_TRANSPARENT:
        value[0] = endpoint.manners & MANNER_TRANSPARENT != 0
    elif option == IPV6_AUTOFLOWLABEL:
        value[0] = endpoint.manners & MANNER_NO_LABEL == 0
    else:
        value[0] = endpoint.manners & MANNER_REPORT_ERRORS != 0
    return 0


cdef int get_udp(const Datagram* socket, int option, int64_t* value) noexcept nogil:
    if socket.endpoint.key.protocol != PROTOCOL_UDP:
        return -ENOPROTOOPT
    if option == UDP_GRO:
        value[0] = socket.gro
    elif option == UDP_CORK:
        value[0] = socket.corked
    elif option == UDP_NO_CHECK6_TX:
        value[0] = socket.no_checksum6
    elif option == UDP_NO_CHECK6_RX:
        value[0] = socket.zero_checksum6
    else:
        return -ENOPROTOOPT
    return 0


cdef int get_datagram(const Datagram* socket, int level, int option, int64_t* value) noexcept nogil:
    if level == LEVEL_UDP:
        return get_udp(socket, option, value)
    elif level != SOL_SOCKET:
        return -ENOPROTOOPT
    elif option == SO_REUSEADDR:
        value[0] = socket.reuse_address
    elif option == SO_BROADCAST:
        value[0] = socket.broadcast
    elif option == SO_NO_CHECK:
        value[0] = socket.no_checksum
    elif option == SO_RCVBUF:
        value[0] = socket.queue_limit
    elif option == SO_SNDBUF:
        value[0] = SEND_BUFFER
    elif option == SO_ACCEPTCONN:
        value[0] = 0
    else:
        return -ENOPROTOOPT
    return 0


cdef int get_of_all(Endpoint* endpoint, int option, int64_t* value) noexcept nogil:
    """What every socket has at SOL_SOCKET; asking for SO_ERROR clears it."""
    if option == SO_ERROR:
        value[0] = endpoint.error
        endpoint.error = 0
        if value[0] == 0 and endpoint.kind == ENDPOINT_TCP:
            value[0] = tcp_take_soft_error(<Tcb*>endpoint)
    elif option == SO_TYPE:
        value[0] = SOCK_STREAM if endpoint.kind == ENDPOINT_TCP else SOCK_DGRAM
    elif option == SO_DOMAIN:
        value[0] = AF_INET6 if is_v6(endpoint) else AF_INET
    elif option == SO_PROTOCOL:
        value[0] = endpoint.key.protocol
    elif option == SO_SNDLOWAT:
        value[0] = 1
    elif option == SO_REUSEPORT:
        value[0] = endpoint.manners & MANNER_REUSE_PORT != 0
    else:
        return -ENOPROTOOPT
    return 0


cdef int option_get(
    Core* core, Endpoint* endpoint, int level, int option, int64_t* value
) noexcept nogil:
    """Get an option; 0 or a negative errno."""
    cdef int ip = as_ip(endpoint, level, option)
    if ip >= 0:
        return get_ip(core, endpoint, ip, value)
    if level == SOL_SOCKET and get_of_all(endpoint, option, value) == 0:
        return 0
    if endpoint.kind == ENDPOINT_TCP:
        return tcp_get_option(&core.tcp, <Tcb*>endpoint, level, option, value)
    return get_datagram(<const Datagram*>endpoint, level, option, value)
