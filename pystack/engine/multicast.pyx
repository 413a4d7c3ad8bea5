# Socket options of multicast that are numbers, by Linux's numbers.
# Called by: datagram.
# RFCs: 3493 section 5.2; ip(7), ipv6(7).

from libc.errno cimport EINVAL, ENODEV, ENOPROTOOPT
from libc.stdint cimport int64_t, uint8_t
from pystack.core.udp.layer cimport Datagram, MulticastOptions

cdef enum:
    LEVEL_IP = 0
    LEVEL_IPV6 = 41
    IPV6_MULTICAST_IF = 17
    IPV6_MULTICAST_HOPS = 18
    IPV6_MULTICAST_LOOP = 19
    IPV6_MULTICAST_ALL = 29
    IP_MULTICAST_TTL = 33
    IP_MULTICAST_LOOP = 34
    IP_MULTICAST_ALL = 49
    THE_INTERFACE = 1           # a stack has one


cdef int as_ipv4(const Datagram* socket, int level, int option) noexcept nogil:
    """IPv4's name of an option that both have; -1: none of these."""
    if level == LEVEL_IP and option in (IP_MULTICAST_TTL, IP_MULTICAST_LOOP, IP_MULTICAST_ALL):
        return option
    if level != LEVEL_IPV6 or not socket.v6:
        return -1
    if option == IPV6_MULTICAST_HOPS:
        return IP_MULTICAST_TTL
    if option == IPV6_MULTICAST_LOOP:
        return IP_MULTICAST_LOOP
    if option == IPV6_MULTICAST_ALL:
        return IP_MULTICAST_ALL
    return IPV6_MULTICAST_IF if option == IPV6_MULTICAST_IF else -1


cdef int multicast_set(Datagram* socket, int level, int option, int64_t value) noexcept nogil:
    """TTL: -1 for the default, 1; interface: 0 or 1, the only one."""
    cdef MulticastOptions* options = &socket.multicast[level == LEVEL_IPV6]
    cdef int name = as_ipv4(socket, level, option)
    if name == IP_MULTICAST_TTL:
        if not -1 <= value <= 255:
            return -EINVAL
        options.ttl = <uint8_t>(1 if value == -1 else value)
        return 0
    if name == IPV6_MULTICAST_IF:
        return 0 if 0 <= value <= THE_INTERFACE else -ENODEV
    if name < 0:
        return -ENOPROTOOPT
    if not 0 <= value <= 1 and (name == IP_MULTICAST_ALL or level == LEVEL_IPV6):
        return -EINVAL
    if name == IP_MULTICAST_LOOP:
        options.loop = value != 0
    else:
        options.all = value != 0
    return 0


cdef int multicast_get(
    const Datagram* socket, int level, int option, int64_t* value
) noexcept nogil:
    cdef const MulticastOptions* options = &socket.multicast[level == LEVEL_IPV6]
    cdef int name = as_ipv4(socket, level, option)
    if name == IP_MULTICAST_TTL:
        value[0] = options.ttl
    elif name == IP_MULTICAST_LOOP:
        value[0] = options.loop
    elif name == IP_MULTICAST_ALL:
        value[0] = options.all
    elif name == IPV6_MULTICAST_IF:
        value[0] = 0
    else:
        return -ENOPROTOOPT
    return 0
