# Socket options by Linux's numbers, on every system: IP's and datagrams'; TCP's are in tcp/.
# Called by: endpoint.
# RFCs: 3493, 3542; socket(7), ip(7), ipv6(7), udp(7).

from libc.errno cimport EINVAL, ENOPROTOOPT, ENOTCONN
from libc.stdint cimport int64_t, uint8_t, uint32_t
from pystack.core.endpoint cimport ENDPOINT_TCP, MTU_DISCOVER_DO, Endpoint
from pystack.core.error_queue cimport error_queue_release
from pystack.core.ip.layer cimport PROTOCOL_UDP
from pystack.core.ip.path_mtu cimport ip_path_mtu
from pystack.core.stack cimport Core
from pystack.core.tcp.ecn cimport ECN_MASK
from pystack.core.tcp.layer cimport Tcb
from pystack.core.tcp.settings cimport tcp_get_option, tcp_set_option
from pystack.core.udp.layer cimport Datagram
from pystack.core.wire.address cimport addr_is_any

cdef enum:
    AF_INET = 2
    AF_INET6 = 10
    SOCK_STREAM = 1
    SOCK_DGRAM = 2
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
    IP_MINTTL = 21
    IP_BIND_ADDRESS_NO_PORT = 24
    IPV6_UNICAST_HOPS = 16
    IPV6_MTU_DISCOVER = 23
    IPV6_MTU = 24
    IPV6_RECVERR = 25
    IPV6_V6ONLY = 26
    IP_RECVERR_RFC4884 = 26
    RECVERR_RFC4884 = 126       # of both, by a number that IPV6_V6ONLY does not have
    IPV6_RECVERR_RFC4884 = 31
    IPV6_TCLASS = 67
    IPV6_MINHOPCOUNT = 73
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
    endpoint.report_errors = value != 0
    if value == 0:
        error_queue_release(&core.context.slab, &endpoint.errors)
    return 0


cdef int set_v6only(Endpoint* endpoint, int64_t value) noexcept nogil:
    if not is_v6(endpoint) or is_bound(endpoint):
        return -EINVAL
    endpoint.v6only = value != 0
    return 0


cdef int as_ip(const Endpoint* endpoint, int level, int option) noexcept nogil:
    """IPv4's name of an option that both have, IPV6_V6ONLY; -1: there is no such option.

    An IPv6 socket takes IPv4's options too, since it may speak IPv4.
    """
    if level == LEVEL_IP and option in (IP_TOS, IP_TTL, IP_MTU_DISCOVER, IP_RECVERR, IP_MTU):
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
        endpoint.report_extensions = value != 0
        return 0
    if option == IP_MINTTL:
        if not 0 <= value <= 255:
            return -EINVAL
        (<Tcb*>endpoint).settings.min_ttl = <uint8_t>value
        return 0
    if option == IP_BIND_ADDRESS_NO_PORT:
        (<Tcb*>endpoint).settings.choose_port_late = value != 0
        return 0
    if option == IPV6_V6ONLY:
        return set_v6only(endpoint, value)
    return -ENOPROTOOPT


cdef int set_datagram(Datagram* socket, int level, int option, int64_t value) noexcept nogil:
    if level == LEVEL_UDP and option == UDP_GRO and socket.endpoint.key.protocol == PROTOCOL_UDP:
        socket.gro = value != 0
    elif level != SOL_SOCKET:
        return -ENOPROTOOPT
    elif option == SO_REUSEADDR:
        socket.reuse_address = value != 0
    elif option == SO_BROADCAST:
        socket.broadcast = value != 0
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
    if endpoint.kind == ENDPOINT_TCP:
        return tcp_set_option(&core.tcp, <Tcb*>endpoint, level, option, value)
    return set_datagram(<Datagram*>endpoint, level, option, value)


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
        value[0] = endpoint.report_extensions
    else:
        value[0] = endpoint.report_errors
    return 0


cdef int get_datagram(const Datagram* socket, int level, int option, int64_t* value) noexcept nogil:
    if level == LEVEL_UDP and option == UDP_GRO and socket.endpoint.key.protocol == PROTOCOL_UDP:
        value[0] = socket.gro
    elif level != SOL_SOCKET:
        return -ENOPROTOOPT
    elif option == SO_REUSEADDR:
        value[0] = socket.reuse_address
    elif option == SO_BROADCAST:
        value[0] = socket.broadcast
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
    elif option == SO_TYPE:
        value[0] = SOCK_STREAM if endpoint.kind == ENDPOINT_TCP else SOCK_DGRAM
    elif option == SO_DOMAIN:
        value[0] = AF_INET6 if is_v6(endpoint) else AF_INET
    elif option == SO_PROTOCOL:
        value[0] = endpoint.key.protocol
    elif option == SO_SNDLOWAT:
        value[0] = 1
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
