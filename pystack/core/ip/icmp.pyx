# IP icmp: the errors that we send: which may be sent, what they quote, how many.
# Called by: ip input, extensions and fragments; udp and tcp for closed ports; link's routers.
# RFCs: 792, 1122 section 3.2.2, 1812 section 4.3, 4443 section 2.4.

from libc.stdint cimport uint8_t, uint32_t
from libc.string cimport memcpy, memset
from pystack.core.context cimport count
from pystack.core.counters cimport Counter
from pystack.core.endpoint cimport MTU_DISCOVER_DONT
from pystack.core.ip.layer cimport IpLayer, IpSend, IpView, PROTOCOL_ICMP, PROTOCOL_ICMPV6
from pystack.core.ip.networks cimport (
    ip_choose_source, ip_is_broadcast, ip_is_local, ip_is_source
)
from pystack.core.ip.output cimport ip_output, ip_packet_new
from pystack.core.ip.rate_limit cimport rate_limit_take
from pystack.core.ip.token_bucket cimport bucket_take
from pystack.core.memory.packet cimport Packet
from pystack.core.memory.random cimport random_below
from pystack.core.wire.address cimport Addr, addr_is_multicast
from pystack.core.wire.bytes cimport store16
from pystack.core.wire.icmp cimport (
    ICMP4_ADMIN_PROHIBITED, ICMP4_FRAGMENTATION_NEEDED, ICMP4_NET_UNREACHABLE,
    ICMP4_PORT_UNREACHABLE, ICMP4_PROTOCOL_UNREACHABLE, ICMP4_TIME_EXCEEDED, ICMP4_UNREACHABLE,
    ICMP6_ADMIN_PROHIBITED, ICMP6_NO_ROUTE, ICMP6_PARAMETER_PROBLEM, ICMP6_PORT_UNREACHABLE,
    ICMP6_TIME_EXCEEDED, ICMP6_TOO_BIG, ICMP6_UNKNOWN_NEXT_HEADER, ICMP6_UNKNOWN_OPTION,
    ICMP6_UNREACHABLE, ICMP_HEADER_LENGTH, ICMP_HOPS_EXCEEDED, ICMP_REASSEMBLY_TIMEOUT,
    icmp4_is_error, icmp6_is_error, icmp_build_header, icmp_checksum
)
from pystack.core.wire.ipv4 cimport (
    IPV4_HEADER_LENGTH, IPV4_OFFSET_MASK, Ipv4Header, ipv4_read
)
from pystack.core.wire.ipv6 cimport (
    IPV6_HEADER_LENGTH, IPV6_MIN_MTU, Ipv6Header, Ipv6Upper, ipv6_find_upper, ipv6_read
)

cdef enum:
    ERROR4_MAX = 576            # RFC 1812 section 4.3.2.3
    ERROR6_MAX = IPV6_MIN_MTU   # RFC 4443 section 2.4 (c)
    TOS_INTERNETWORK_CONTROL = 0xC0     # RFC 1812 section 4.3.2.5

# An error to be sent, and what it is about.
ctypedef struct Report:
    const uint8_t* offending    # from its IP header on
    uint32_t length
    uint32_t second_word        # of the ICMP header
    uint8_t kind
    uint8_t code
    bint v6
    Addr source                 # of the offending packet
    Addr destination


cdef bint may_answer4(const uint8_t* offending, uint32_t length) noexcept nogil:
    """Neither about an error nor about a fragment but the first (RFC 1122 section 3.2.2)."""
    cdef Ipv4Header header
    ipv4_read(offending, &header)
    if header.fragment & IPV4_OFFSET_MASK:
        return False
    if header.protocol != PROTOCOL_ICMP:
        return True
    return header.header_length < length and not icmp4_is_error(offending[header.header_length])


cdef bint may_answer6(const uint8_t* offending, uint32_t length) noexcept nogil:
    """Not about an error or redirect (RFC 4443 section 2.4 (e.1), (e.2)).

    Later fragments may be answered (Parameter Problem): nobody knows whether they are an error's.
    """
    cdef Ipv6Upper upper
    if ipv6_find_upper(offending, length, &upper) < 0:
        return True
    if upper.later_fragment or upper.protocol != PROTOCOL_ICMPV6:
        return True
    return upper.offset < length and not icmp6_is_error(offending[upper.offset])


cdef bint is_reportable_to_many(const Report* report) noexcept nogil:
    """The one error about a multicast packet that we may send (RFC 4443 section 2.4 (e.3))."""
    return (report.v6 and report.kind == ICMP6_PARAMETER_PROBLEM
            and report.code == ICMP6_UNKNOWN_OPTION)


cdef bint is_allowed(IpLayer* ip, const Report* report) noexcept nogil:
    """The rules under which an error may be sent at all."""
    if not ip_is_source(ip, &report.source, True):
        return False
    if ip_is_broadcast(ip, &report.destination):
        return False
    if addr_is_multicast(&report.destination) and not is_reportable_to_many(report):
        return False
    if report.v6:
        return may_answer6(report.offending, report.length)
    return may_answer4(report.offending, report.length)


cdef bint source_for(IpLayer* ip, const Report* report, Addr* source) noexcept nogil:
    """The address that was meant, if it is ours alone."""
    if ip_is_local(ip, &report.destination):
        source[0] = report.destination
        return True
    return ip_choose_source(ip, &report.source, source) == 0


cdef void report_send(IpLayer* ip, const Report* report) noexcept nogil:
    """Send the error, quoting as much as fits."""
    cdef uint32_t limit = ERROR4_MAX - IPV4_HEADER_LENGTH
    cdef uint32_t quoted
    cdef uint8_t* message
    cdef IpSend send
    cdef Packet* packet
    if report.v6:
        limit = ERROR6_MAX - IPV6_HEADER_LENGTH
    quoted = min(report.length, limit - ICMP_HEADER_LENGTH)
    memset(&send, 0, sizeof(IpSend))
    if not source_for(ip, report, &send.source):
        count(ip.context, Counter.ICMP_ERRORS_SUPPRESSED_BY_RULE)
        return
    packet = ip_packet_new(ip, ICMP_HEADER_LENGTH + quoted)
    if packet == NULL:
        return
    send.destination = report.source
    send.protocol = PROTOCOL_ICMPV6 if report.v6 else PROTOCOL_ICMP
    send.marking.tos = 0 if report.v6 else TOS_INTERNETWORK_CONTROL
    send.marking.mtu_discover = MTU_DISCOVER_DONT
    message = packet.data
    packet.length = ICMP_HEADER_LENGTH + quoted
    icmp_build_header(message, report.kind, report.code, report.second_word)
    memcpy(message + ICMP_HEADER_LENGTH, report.offending, quoted)
    store16(message + 2, icmp_checksum(message, packet.length, &send.source, &send.destination))
    count(ip.context, Counter.ICMP_ERRORS_OUT)
    ip_output(ip, packet, &send)


cdef void report_consider(
    IpLayer* ip, const uint8_t* offending, uint32_t length, uint8_t kind, uint8_t code,
    uint32_t second_word
) noexcept nogil:
    """Send an error if the rules and the rate allow it."""
    cdef Report report
    cdef Ipv4Header v4
    cdef Ipv6Header v6
    report.offending = offending
    report.length = length
    report.kind = kind
    report.code = code
    report.second_word = second_word
    report.v6 = offending[0] >> 4 == 6
    if report.v6:
        ipv6_read(offending, &v6)
        report.source = v6.source
        report.destination = v6.destination
    else:
        ipv4_read(offending, &v4)
        report.source = v4.source
        report.destination = v4.destination
    if not is_allowed(ip, &report):
        count(ip.context, Counter.ICMP_ERRORS_SUPPRESSED_BY_RULE)
        return
    # As Linux: what we tell ourselves is not limited.
    if not ip_is_local(ip, &report.source) and not rate_limit_take(
        &ip.icmp_destinations, &report.destination, &report.source, ip.context.now
    ):
        count(ip.context, Counter.ICMP_ERRORS_SUPPRESSED_BY_RATE)
        return
    # One token on average: a count that is exact tells others which ports are open
    # (CVE-2020-25705).
    if not bucket_take(&ip.icmp_errors, ip.context.now, random_below(&ip.context.random, 3)):
        count(ip.context, Counter.ICMP_ERRORS_SUPPRESSED_BY_RATE)
        return
    report_send(ip, &report)


cdef void unreachable(IpLayer* ip, const IpView* view, uint8_t code4, uint8_t code6) noexcept nogil:
    cdef const Packet* packet = view.packet
    if view.v6:
        report_consider(ip, packet.data, packet.length, ICMP6_UNREACHABLE, code6, 0)
    else:
        report_consider(ip, packet.data, packet.length, ICMP4_UNREACHABLE, code4, 0)


cdef void icmp_port_unreachable(IpLayer* ip, const IpView* view) noexcept nogil:
    """Nobody listens at the port that this packet is for (RFC 1122 section 4.1.3.1)."""
    unreachable(ip, view, ICMP4_PORT_UNREACHABLE, ICMP6_PORT_UNREACHABLE)


cdef void icmp_protocol_unreachable(IpLayer* ip, const IpView* view) noexcept nogil:
    """Nobody here speaks this protocol (RFC 1122 section 3.2.2.1, RFC 4443 section 3.4).

    IPv6 points at the field that names the protocol.
    """
    cdef const Packet* packet = view.packet
    cdef Ipv6Upper upper
    if not view.v6:
        unreachable(ip, view, ICMP4_PROTOCOL_UNREACHABLE, 0)
    elif ipv6_find_upper(packet.data, packet.length, &upper) == 0:
        report_consider(
            ip, packet.data, packet.length, ICMP6_PARAMETER_PROBLEM, ICMP6_UNKNOWN_NEXT_HEADER,
            upper.named_at
        )


cdef void icmp_prohibited(IpLayer* ip, const IpView* view) noexcept nogil:
    """The address policy refuses this packet."""
    unreachable(ip, view, ICMP4_ADMIN_PROHIBITED, ICMP6_ADMIN_PROHIBITED)


cdef void icmp6_parameter_problem(
    IpLayer* ip, const uint8_t* offending, uint32_t length, uint8_t code, uint32_t pointer
) noexcept nogil:
    """Something in an IPv6 or extension header cannot be processed (RFC 4443 section 3.4)."""
    report_consider(ip, offending, length, ICMP6_PARAMETER_PROBLEM, code, pointer)


cdef void icmp_reassembly_timeout(
    IpLayer* ip, const uint8_t* offending, uint32_t length
) noexcept nogil:
    """Fragments are missing, and it is too late for them (RFC 1122 section 3.3.2, RFC 8200 4.5)."""
    if offending[0] >> 4 == 6:
        report_consider(ip, offending, length, ICMP6_TIME_EXCEEDED, ICMP_REASSEMBLY_TIMEOUT, 0)
    else:
        report_consider(ip, offending, length, ICMP4_TIME_EXCEEDED, ICMP_REASSEMBLY_TIMEOUT, 0)


cdef void icmp_net_unreachable(
    IpLayer* ip, const uint8_t* offending, uint32_t length
) noexcept nogil:
    """A router knows no way to there (RFC 1812 section 5.2.7.1, RFC 4443 section 3.1)."""
    if offending[0] >> 4 == 6:
        report_consider(ip, offending, length, ICMP6_UNREACHABLE, ICMP6_NO_ROUTE, 0)
    else:
        report_consider(ip, offending, length, ICMP4_UNREACHABLE, ICMP4_NET_UNREACHABLE, 0)


cdef void icmp_hops_exceeded(IpLayer* ip, const uint8_t* offending, uint32_t length) noexcept nogil:
    """A router was the last that this packet may pass (RFC 1812 section 5.3.1, RFC 4443 3.3)."""
    if offending[0] >> 4 == 6:
        report_consider(ip, offending, length, ICMP6_TIME_EXCEEDED, ICMP_HOPS_EXCEEDED, 0)
    else:
        report_consider(ip, offending, length, ICMP4_TIME_EXCEEDED, ICMP_HOPS_EXCEEDED, 0)


cdef void icmp_too_big(
    IpLayer* ip, const uint8_t* offending, uint32_t length, uint32_t mtu
) noexcept nogil:
    """A router may not fragment what is too long for its next link (RFC 1191 4, RFC 4443 3.2)."""
    if offending[0] >> 4 == 6:
        report_consider(ip, offending, length, ICMP6_TOO_BIG, 0, mtu)
    else:
        report_consider(
            ip, offending, length, ICMP4_UNREACHABLE, ICMP4_FRAGMENTATION_NEEDED, mtu & 0xFFFF)
