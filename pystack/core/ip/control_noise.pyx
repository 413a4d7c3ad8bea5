# What a kernel sends to multicast and broadcast addresses by itself on every new interface.
# Called by: ipv4_input, ipv6_input.
# RFCs: 4861, 3810, 3376, 6762, 4795.

from libc.stdint cimport uint8_t, uint16_t, uint32_t
from pystack.core.ip.layer cimport PROTOCOL_ICMP, PROTOCOL_ICMPV6, PROTOCOL_IGMP, PROTOCOL_UDP
from pystack.core.wire.bytes cimport load16
from pystack.core.wire.icmp cimport (
    ICMP4_ROUTER_SOLICITATION, ICMP6_LISTENER_QUERY, ICMP6_LISTENER_REPORT_2,
    ICMP6_NEIGHBOUR_ADVERTISEMENT
)

cdef enum:
    PORT_MDNS = 5353
    PORT_LLMNR = 5355


cdef bint is_control_noise(
    const uint8_t* transport, uint32_t length, uint8_t protocol
) noexcept nogil:
    """Router and neighbour discovery, group reports, name resolution on the link."""
    cdef uint16_t port
    if protocol == PROTOCOL_IGMP:
        return True
    if length < 4:
        return False
    if protocol == PROTOCOL_ICMPV6:
        return (ICMP6_LISTENER_QUERY <= transport[0] <= ICMP6_NEIGHBOUR_ADVERTISEMENT
                or transport[0] == ICMP6_LISTENER_REPORT_2)
    if protocol == PROTOCOL_ICMP:
        return transport[0] == ICMP4_ROUTER_SOLICITATION
    if protocol == PROTOCOL_UDP:
        port = load16(transport + 2)
        return port == PORT_MDNS or port == PORT_LLMNR
    return False
