# ICMP input: echo, and the errors that others send us.
# Called by: ip input.
# RFCs: 792, 1122 section 3.2.2, 1191, 4443, 4884, 6633, 6918.

from libc.stdint cimport uint8_t, uint16_t, uint32_t
from libc.string cimport memset
from pystack.core.context cimport count, packet_drop
from pystack.core.counters cimport Counter
from pystack.core.endpoint cimport MTU_DISCOVER_DONT
from pystack.core.ip.fragmentation cimport packet_complete_checksum
from pystack.core.ip.icmp_errno cimport icmp4_errno, icmp6_errno
from pystack.core.ip.icmp_extension cimport icmp_extension_find
from pystack.core.ip.layer cimport (
    ICMP_ERROR_PARAMETER, ICMP_ERROR_PORT_UNREACHABLE, ICMP_ERROR_TIME_EXCEEDED,
    ICMP_ERROR_TOO_BIG, ICMP_ERROR_UNKNOWN, ICMP_ERROR_UNREACHABLE,
    IP_ECHO_REPLY, IP_TAKEN, IP_TRANSPORT_ERROR,
    IcmpError, IpLayer, IpSend, IpVerdict, IpView, PROTOCOL_ICMP, PROTOCOL_ICMPV6, PROTOCOL_TCP,
    PROTOCOL_UDP
)
from pystack.core.ip.membership_query cimport mld_input
from pystack.core.ip.output cimport ip_output
from pystack.core.memory.packet cimport CSUM_FULL, GSO_NONE, Packet
from pystack.core.wire.address cimport addr_eq
from pystack.core.wire.bytes cimport load16, load32, store16
from pystack.core.wire.checksum cimport csum_update16
from pystack.core.wire.icmp cimport (
    ICMP4_ALTERNATE_HOST, ICMP4_ECHO, ICMP4_ECHO_REPLY, ICMP4_FRAGMENTATION_NEEDED,
    ICMP4_INFORMATION, ICMP4_MASK_REPLY, ICMP4_PARAMETER_PROBLEM, ICMP4_PORT_UNREACHABLE,
    ICMP4_REDIRECT, ICMP4_ROUTER_ADVERTISEMENT, ICMP4_ROUTER_SOLICITATION, ICMP4_SOURCE_QUENCH,
    ICMP4_SKIP, ICMP4_TIME_EXCEEDED, ICMP4_TRACEROUTE, ICMP4_UNREACHABLE,
    ICMP6_ECHO, ICMP6_ECHO_REPLY, ICMP6_LISTENER_QUERY, ICMP6_LISTENER_REPORT_2,
    ICMP6_NEIGHBOUR_ADVERTISEMENT, ICMP6_PARAMETER_PROBLEM, ICMP6_PORT_UNREACHABLE,
    ICMP6_REDIRECT, ICMP6_TIME_EXCEEDED, ICMP6_TOO_BIG, ICMP6_UNREACHABLE, ICMP_HEADER_LENGTH,
    icmp_checksum
)
from pystack.core.wire.ipv4 cimport (
    IPV4_HEADER_LENGTH, IPV4_OFFSET_MASK, Ipv4Header, ipv4_read
)
from pystack.core.wire.ipv6 cimport (
    IPV6_HEADER_LENGTH, Ipv6Header, Ipv6Upper, ipv6_find_upper, ipv6_read
)

cdef enum:
    QUOTED_LEAST = 8            # of the transport header: ports, and TCP's sequence number
    UNREACHABLE4_CODE_MAX = 15  # RFC 1812 section 5.2.7.1
    UNREACHABLE6_CODE_MAX = 6   # RFC 4443 section 3.1
    DSCP_MASK = 0xFC
    PLATEAUS = 9

# RFC 1191 section 7.1: what a path takes at most whose router doesn't say.
cdef uint16_t[PLATEAUS] PLATEAU = [32000, 17914, 8166, 4352, 2002, 1492, 1006, 508, 296]


cdef IpVerdict drop(IpLayer* ip, const IpView* view, Counter reason) noexcept nogil:
    packet_drop(ip.context, view.packet, reason)
    return IP_TAKEN


# Echo


cdef void type_change(uint8_t* message, const IpView* view, uint8_t kind) noexcept nogil:
    """Make a message one of another type, and its checksum what it then must be (RFC 1624)."""
    cdef uint16_t old = load16(message)
    cdef uint16_t checksum
    message[0] = kind
    checksum = csum_update16(load16(message + 2), old, load16(message))
    store16(message + 2, checksum)
    if checksum == 0:
        # Of a message of zeros it is 0xffff, but an update cannot tell (RFC 1624 section 3).
        store16(
            message + 2,
            icmp_checksum(message, view.length, &view.source, &view.destination)
        )


cdef IpVerdict echo_answer(IpLayer* ip, const IpView* view, uint8_t reply) noexcept nogil:
    """Turn an echo request into its reply, in place (RFC 1122 section 3.2.2.6, RFC 4443 4.2)."""
    cdef Packet* packet = view.packet
    cdef uint8_t* message = view.payload
    cdef IpSend send
    count(ip.context, Counter.ICMP_ECHO_REQUESTS_IN)
    if packet_complete_checksum(packet) < 0:
        return drop(ip, view, Counter.ICMP_DROP_BAD_CHECKSUM)
    type_change(message, view, reply)
    packet.data = message
    packet.length = view.length
    packet.csum = CSUM_FULL
    packet.gso = GSO_NONE
    memset(&send, 0, sizeof(IpSend))
    send.source = view.destination
    send.destination = view.source
    send.protocol = view.protocol
    send.marking.tos = view.tos & DSCP_MASK
    send.marking.mtu_discover = MTU_DISCOVER_DONT
    count(ip.context, Counter.ICMP_ECHO_REPLIES_OUT)
    ip_output(ip, packet, &send)
    return IP_TAKEN


cdef IpVerdict echo_reply(IpLayer* ip) noexcept nogil:
    count(ip.context, Counter.ICMP_ECHO_REPLIES_IN)
    return IP_ECHO_REPLY


# Errors


cdef inline bint is_ours(uint8_t protocol, const uint8_t* transport) noexcept nogil:
    """What we send that somebody waits for the fate of: TCP, UDP, echo requests."""
    if protocol == PROTOCOL_ICMP:
        return transport[0] == ICMP4_ECHO
    if protocol == PROTOCOL_ICMPV6:
        return transport[0] == ICMP6_ECHO
    return protocol == PROTOCOL_TCP or protocol == PROTOCOL_UDP


cdef inline uint32_t quoted_length(const IpView* view, uint32_t stated) noexcept nogil:
    """Bytes of the quoted packet: all that follow, or those before extensions (RFC 4884)."""
    cdef uint32_t there = view.length - ICMP_HEADER_LENGTH
    return stated if 0 < stated < there else there


cdef void error_measure(const IpView* view, IcmpError* error, uint32_t stated) noexcept nogil:
    """How much follows the quoted transport header, extensions and all."""
    cdef const uint8_t* quoted = view.payload + ICMP_HEADER_LENGTH
    error.rest = <uint32_t>(view.payload + view.length - error.transport)
    icmp_extension_find(error, quoted, stated)


cdef uint32_t info_of(const IpView* view) noexcept nogil:
    """What Linux tells beside type and code: an MTU, a pointer; of ICMPv6 the second word."""
    if view.v6:
        return load32(view.payload + 4)
    if view.payload[0] == ICMP4_PARAMETER_PROBLEM:
        return view.payload[4]
    if view.payload[0] == ICMP4_UNREACHABLE and view.payload[1] == ICMP4_FRAGMENTATION_NEEDED:
        return load16(view.payload + 6)
    return 0


cdef int quote4_read(const IpView* view, IcmpError* error) noexcept nogil:
    """Read the IPv4 packet that an error quotes: a Counter why not, or 0."""
    cdef const uint8_t* quoted = view.payload + ICMP_HEADER_LENGTH
    cdef uint32_t length = quoted_length(view, <uint32_t>view.payload[5] * 4)
    cdef Ipv4Header header
    if length < IPV4_HEADER_LENGTH + QUOTED_LEAST:
        return Counter.ICMP_DROP_TOO_SHORT
    ipv4_read(quoted, &header)
    length = min(length, <uint32_t>header.total_length)
    if quoted[0] >> 4 != 4 or header.header_length < IPV4_HEADER_LENGTH:
        return Counter.ICMP_DROP_ERROR_NOT_OURS
    if length < <uint32_t>header.header_length + QUOTED_LEAST:
        return Counter.ICMP_DROP_TOO_SHORT
    error.transport = quoted + header.header_length
    error.length = length - header.header_length
    error_measure(view, error, <uint32_t>view.payload[5] * 4)
    error.local = header.source
    error.remote = header.destination
    error.protocol = header.protocol
    if header.fragment & IPV4_OFFSET_MASK or header.protocol == PROTOCOL_ICMPV6:
        return Counter.ICMP_DROP_ERROR_NOT_OURS
    return 0


cdef int quote6_read(const IpView* view, IcmpError* error) noexcept nogil:
    """Read the IPv6 packet that an error quotes: a Counter why not, or 0."""
    cdef const uint8_t* quoted = view.payload + ICMP_HEADER_LENGTH
    cdef uint32_t stated = 0
    cdef uint32_t length
    cdef Ipv6Header header
    cdef Ipv6Upper upper
    if view.payload[0] == ICMP6_UNREACHABLE or view.payload[0] == ICMP6_TIME_EXCEEDED:
        stated = <uint32_t>view.payload[4] * 8
    length = quoted_length(view, stated)
    if length < IPV6_HEADER_LENGTH + QUOTED_LEAST:
        return Counter.ICMP_DROP_TOO_SHORT
    ipv6_read(quoted, &header)
    length = min(length, IPV6_HEADER_LENGTH + <uint32_t>header.payload_length)
    if quoted[0] >> 4 != 6 or ipv6_find_upper(quoted, length, &upper) < 0:
        return Counter.ICMP_DROP_ERROR_NOT_OURS
    if length - upper.offset < QUOTED_LEAST:
        return Counter.ICMP_DROP_TOO_SHORT
    error.transport = quoted + upper.offset
    error.length = length - upper.offset
    error_measure(view, error, stated)
    error.local = header.source
    error.remote = header.destination
    error.protocol = upper.protocol
    if upper.later_fragment or upper.protocol == PROTOCOL_ICMP:
        return Counter.ICMP_DROP_ERROR_NOT_OURS
    return 0


cdef IpVerdict error_deliver(
    IpLayer* ip, const IpView* view, IcmpError* error, uint8_t kind, int errno_
) noexcept nogil:
    """Hand an error to the transport whose packet it quotes."""
    cdef int fault
    error.kind = kind
    error.error = errno_
    error.reporter = view.source
    error.icmp_type = view.payload[0]
    error.icmp_code = view.payload[1]
    error.v6 = view.v6
    error.ttl = view.ttl
    error.tos = view.tos
    error.info = info_of(view)
    error.mtu = 0
    fault = quote6_read(view, error) if view.v6 else quote4_read(view, error)
    if fault:
        return drop(ip, view, <Counter>fault)
    # The packet in question was sent from the address that now hears of it.
    if not addr_eq(&error.local, &view.destination) or not is_ours(error.protocol, error.transport):
        return drop(ip, view, Counter.ICMP_DROP_ERROR_NOT_OURS)
    if kind == ICMP_ERROR_TOO_BIG:
        error.mtu = too_big_mtu(view)
    count(ip.context, Counter.ICMP_ERRORS_IN)
    return IP_TRANSPORT_ERROR


cdef uint32_t too_big_mtu(const IpView* view) noexcept nogil:
    """The MTU that an error names; if it names none, the next plateau (RFC 1191 section 5)."""
    cdef uint32_t mtu, i
    cdef uint16_t sent
    if view.v6:
        return load32(view.payload + 4)
    mtu = load16(view.payload + 6)
    if mtu:
        return mtu
    sent = load16(view.payload + ICMP_HEADER_LENGTH + 2)
    for i in range(<uint32_t>PLATEAUS):
        if PLATEAU[i] < sent:
            return PLATEAU[i]
    return 0


cdef IpVerdict unreachable4(IpLayer* ip, const IpView* view, IcmpError* error) noexcept nogil:
    cdef uint8_t code = view.payload[1]
    cdef uint8_t kind = ICMP_ERROR_UNREACHABLE
    if code > UNREACHABLE4_CODE_MAX:
        return drop(ip, view, Counter.ICMP_DROP_UNKNOWN_TYPE)
    if code == ICMP4_PORT_UNREACHABLE:
        kind = ICMP_ERROR_PORT_UNREACHABLE
    elif code == ICMP4_FRAGMENTATION_NEEDED:
        kind = ICMP_ERROR_TOO_BIG
    return error_deliver(ip, view, error, kind, icmp4_errno(ICMP4_UNREACHABLE, code))


cdef IpVerdict unreachable6(IpLayer* ip, const IpView* view, IcmpError* error) noexcept nogil:
    cdef uint8_t code = view.payload[1]
    cdef uint8_t kind = ICMP_ERROR_UNREACHABLE
    if code > UNREACHABLE6_CODE_MAX:
        kind = ICMP_ERROR_UNKNOWN
    if code == ICMP6_PORT_UNREACHABLE:
        kind = ICMP_ERROR_PORT_UNREACHABLE
    return error_deliver(ip, view, error, kind, icmp6_errno(ICMP6_UNREACHABLE, code))


# By type


cdef inline bint is_deprecated4(uint8_t kind) noexcept nogil:
    """RFC 6633; RFC 6918."""
    if kind == ICMP4_SOURCE_QUENCH or kind == ICMP4_ALTERNATE_HOST:
        return True
    return (ICMP4_INFORMATION <= kind <= ICMP4_MASK_REPLY
            or ICMP4_TRACEROUTE <= kind <= ICMP4_SKIP)


cdef IpVerdict icmp4_input(IpLayer* ip, IpView* view, IcmpError* error) noexcept nogil:
    cdef uint8_t kind = view.payload[0]
    cdef uint8_t code = view.payload[1]
    if kind == ICMP4_ECHO:
        return echo_answer(ip, view, ICMP4_ECHO_REPLY)
    if kind == ICMP4_ECHO_REPLY:
        return echo_reply(ip)
    if kind == ICMP4_UNREACHABLE:
        return unreachable4(ip, view, error)
    if kind == ICMP4_TIME_EXCEEDED:
        return error_deliver(ip, view, error, ICMP_ERROR_TIME_EXCEEDED, icmp4_errno(kind, code))
    if kind == ICMP4_PARAMETER_PROBLEM:
        return error_deliver(ip, view, error, ICMP_ERROR_PARAMETER, icmp4_errno(kind, code))
    if kind == ICMP4_ROUTER_ADVERTISEMENT or kind == ICMP4_ROUTER_SOLICITATION:
        return drop(ip, view, Counter.IP_IGNORED_MULTICAST_CONTROL)
    if kind == ICMP4_REDIRECT:
        return drop(ip, view, Counter.ICMP_IGNORED_REDIRECT)
    if is_deprecated4(kind):
        return drop(ip, view, Counter.ICMP_IGNORED_DEPRECATED)
    return drop(ip, view, Counter.ICMP_DROP_UNKNOWN_TYPE)


cdef IpVerdict icmp6_input(IpLayer* ip, IpView* view, IcmpError* error) noexcept nogil:
    cdef uint8_t kind = view.payload[0]
    cdef uint8_t code = view.payload[1]
    if kind == ICMP6_ECHO:
        return echo_answer(ip, view, ICMP6_ECHO_REPLY)
    if kind == ICMP6_ECHO_REPLY:
        return echo_reply(ip)
    if kind == ICMP6_UNREACHABLE:
        return unreachable6(ip, view, error)
    if kind == ICMP6_TOO_BIG:
        return error_deliver(ip, view, error, ICMP_ERROR_TOO_BIG, icmp6_errno(kind, code))
    if kind == ICMP6_TIME_EXCEEDED:
        return error_deliver(ip, view, error, ICMP_ERROR_TIME_EXCEEDED, icmp6_errno(kind, code))
    if kind == ICMP6_PARAMETER_PROBLEM:
        return error_deliver(ip, view, error, ICMP_ERROR_PARAMETER, icmp6_errno(kind, code))
    if kind == ICMP6_LISTENER_QUERY:
        return mld_input(ip, view)
    if (ICMP6_LISTENER_QUERY <= kind <= ICMP6_NEIGHBOUR_ADVERTISEMENT
            or kind == ICMP6_LISTENER_REPORT_2):
        return drop(ip, view, Counter.IP_IGNORED_MULTICAST_CONTROL)
    if kind == ICMP6_REDIRECT:
        return drop(ip, view, Counter.ICMP_IGNORED_REDIRECT)
    # RFC 4443 section 2.4 (a): who sent the packet in question is told of an unknown error too.
    if kind < ICMP6_ECHO:
        return error_deliver(ip, view, error, ICMP_ERROR_UNKNOWN, icmp6_errno(kind, code))
    return drop(ip, view, Counter.ICMP_DROP_UNKNOWN_TYPE)


cdef inline bint checksum_is_good(const IpView* view) noexcept nogil:
    if view.packet.csum != CSUM_FULL:
        return True
    return icmp_checksum(view.payload, view.length, &view.source, &view.destination) == 0


cdef IpVerdict icmp_input(IpLayer* ip, IpView* view, IcmpError* error) noexcept nogil:
    """Answer, deliver or ignore a message to one of our addresses."""
    if view.length < ICMP_HEADER_LENGTH:
        return drop(ip, view, Counter.ICMP_DROP_TOO_SHORT)
    if not checksum_is_good(view):
        return drop(ip, view, Counter.ICMP_DROP_BAD_CHECKSUM)
    if view.v6:
        return icmp6_input(ip, view, error)
    return icmp4_input(ip, view, error)
