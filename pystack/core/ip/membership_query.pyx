# What multicast routers ask, and what other members say; when it is time to answer.
# Called by: ip input, icmp_input; stack when the deadline comes due.
# RFCs: 3376 sections 5.2 and 7, 3810 sections 6.2 and 8, 2236, 2710.

from libc.stdint cimport int64_t, uint8_t, uint32_t
from pystack.core.context cimport count, packet_drop
from pystack.core.counters cimport Counter
from pystack.core.ip.control_noise cimport is_control_noise
from pystack.core.ip.layer cimport IP_TAKEN, IpLayer, IpVerdict, IpView, PROTOCOL_ICMPV6
from pystack.core.ip.membership cimport group_find, groups_sweep
from pystack.core.ip.membership_report cimport (
    group_is_reported, membership_answer_general, membership_answer_group, membership_cancel,
    membership_deadline_renew, membership_delay, membership_report_changes, membership_version
)
from pystack.core.ip.membership_table cimport MulticastGroup, MulticastLink
from pystack.core.ip.source_list cimport source_list_add, source_list_clear
from pystack.core.memory.deadline cimport DEADLINE_NEVER
from pystack.core.memory.packet cimport CSUM_FULL, Packet, packet_free
from pystack.core.wire.address cimport (
    Addr, addr_is_any, addr_is_link_local, addr_is_multicast, addr_load16, addr_load4
)
from pystack.core.wire.icmp cimport icmp_checksum
from pystack.core.wire.ipv6 cimport IPV6_HEADER_LENGTH, NEXT_HOP_BY_HOP, ipv6_extension_length
from pystack.core.wire.membership cimport (
    IGMP_LENGTH, IGMP_QUERY, IGMP_REPORT_1, IGMP_REPORT_2, MLD_LENGTH, MLD_QUERY, MLD_REPORT_1,
    MembershipQuery, membership_query_read, membership_source
)

cdef enum:
    ASKED_MAX = 64              # sources of a query; if it asks for more, we tell of all
    OPTION_PAD1 = 0
    OPTION_ROUTER_ALERT = 5     # RFC 2711

cdef int64_t QUERY_INTERVAL_NS = <int64_t>125 * 1000000000      # RFC 3376 section 8.2
cdef int64_t RESPONSE_INTERVAL_NS = <int64_t>10 * 1000000000    # RFC 3376 section 8.3


cdef IpVerdict drop(IpLayer* ip, const IpView* view, Counter reason) noexcept nogil:
    packet_drop(ip.context, view.packet, reason)
    return IP_TAKEN


cdef IpVerdict done(IpLayer* ip, const IpView* view) noexcept nogil:
    packet_free(&ip.context.slab, view.packet)
    return IP_TAKEN


# Queries


cdef void version_note(IpLayer* ip, const MembershipQuery* query, bint v6) noexcept nogil:
    """Speak what the oldest querier speaks, for as long as it may be there.

    RFC 3376 section 8.12, RFC 3810 section 9.12: robustness times the query interval, and one
    response interval.
    """
    cdef MulticastLink* link = &ip.membership.links[v6]
    cdef int before = membership_version(ip, v6)
    cdef int64_t until = ip.context.now + RESPONSE_INTERVAL_NS + (
        link.robustness * QUERY_INTERVAL_NS)
    if query.version == 1:
        link.v1_until = until
    elif query.version == 2:
        link.v2_until = until
    elif query.robustness:
        link.robustness = query.robustness
    if membership_version(ip, v6) != before:
        membership_cancel(ip, v6)


cdef void answer_each_later(IpLayer* ip, int64_t most, bint v6) noexcept nogil:
    """RFC 2236 section 3: older versions have a timer for each group; the earlier time counts."""
    cdef MulticastGroup* group = ip.membership.first
    while group != NULL:
        if group.v6 == v6 and group_is_reported(group):
            group.answer_at = min(
                group.answer_at, ip.context.now + membership_delay(ip, most))
        group = group.next


cdef void sources_note(
    MulticastGroup* group, const MembershipQuery* query, bint pending
) noexcept nogil:
    """RFC 3376 section 5.2 rules 3 to 5: which sources the answer is to be about; none: all."""
    cdef Addr source
    cdef uint32_t i
    if pending and group.asked.count == 0:
        return
    if query.source_count == 0 or query.source_count + group.asked.count > ASKED_MAX:
        source_list_clear(&group.asked)
        return
    for i in range(query.source_count):
        source = membership_source(query, i, group.v6)
        if source_list_add(&group.asked, &source) < 0:
            source_list_clear(&group.asked)
            return


cdef void answer_group_later(
    IpLayer* ip, const MembershipQuery* query, int64_t when, bint v6
) noexcept nogil:
    cdef MulticastGroup* group = group_find(ip, &query.group)
    if group == NULL or not group_is_reported(group):
        return
    # Rule 1: the answer to a general query says it sooner.
    if ip.membership.links[v6].general_at <= when:
        return
    sources_note(group, query, group.answer_at != DEADLINE_NEVER)
    group.answer_at = min(group.answer_at, when)


cdef void query_input(IpLayer* ip, const MembershipQuery* query, bint v6) noexcept nogil:
    cdef MulticastLink* link = &ip.membership.links[v6]
    cdef int64_t most = query.response_ns
    cdef int64_t when
    version_note(ip, query, v6)
    when = ip.context.now + membership_delay(ip, most)
    if not addr_is_any(&query.group):
        answer_group_later(ip, query, when, v6)
    elif membership_version(ip, v6) == 3:
        # RFC 3376 section 5.2 rules 1 and 2: one answer for all groups.
        link.general_at = min(link.general_at, when)
    else:
        answer_each_later(ip, most, v6)
    membership_deadline_renew(ip)


cdef void report_heard(IpLayer* ip, const Addr* address, bint v6) noexcept nogil:
    """Somebody else has answered: in older versions that is enough (RFC 2236 section 3)."""
    cdef MulticastGroup* group = group_find(ip, address)
    if group == NULL or membership_version(ip, v6) == 3:
        return
    group.answer_at = DEADLINE_NEVER
    group.mode_left = 0
    group.last_reporter = False
    membership_deadline_renew(ip)


# Messages


cdef bint group_is_valid(const Addr* group) noexcept nogil:
    return addr_is_any(group) or addr_is_multicast(group)


cdef IpVerdict igmp_input(IpLayer* ip, IpView* view) noexcept nogil:
    """A query, or a report of another member; never answered by an error."""
    cdef MembershipQuery query
    cdef Addr group
    cdef uint8_t kind
    if view.length < IGMP_LENGTH or (
        view.packet.csum == CSUM_FULL
        and icmp_checksum(view.payload, view.length, &view.source, &view.destination) != 0
    ):
        return drop(ip, view, Counter.IP_DROP_BAD_MEMBERSHIP_MESSAGE)
    kind = view.payload[0]
    if kind == IGMP_REPORT_1 or kind == IGMP_REPORT_2:
        group = addr_load4(view.payload + 4)
        report_heard(ip, &group, False)
    if kind != IGMP_QUERY:
        return drop(ip, view, Counter.IP_IGNORED_MULTICAST_CONTROL)
    if membership_query_read(view.payload, view.length, False, &query) < 0 or (
            not group_is_valid(&query.group)):
        return drop(ip, view, Counter.IP_DROP_BAD_MEMBERSHIP_MESSAGE)
    count(ip.context, Counter.IP_MEMBERSHIP_QUERIES_IN)
    query_input(ip, &query, False)
    return done(ip, view)


cdef bint has_router_alert(const Packet* packet) noexcept nogil:
    """A router alert in the hop-by-hop header, which has been checked already (RFC 2711)."""
    cdef const uint8_t* header = packet.data + IPV6_HEADER_LENGTH
    cdef uint32_t length, at = 2
    if packet.data[6] != NEXT_HOP_BY_HOP:
        return False
    length = ipv6_extension_length(header)
    while at + 2 <= length:
        if header[at] == OPTION_PAD1:
            at += 1
            continue
        if header[at] == OPTION_ROUTER_ALERT:
            return True
        at += 2 + header[at + 1]
    return False


cdef bint is_of_this_link(const IpView* view) noexcept nogil:
    """RFC 3810 section 6.2, RFC 2710 section 3: from a router on this link, and by no detour."""
    return addr_is_link_local(&view.source) and view.ttl == 1 and has_router_alert(view.packet)


cdef IpVerdict mld_input(IpLayer* ip, IpView* view) noexcept nogil:
    """MLD; what else of ICMPv6 goes to many hosts is none of ours."""
    cdef MembershipQuery query
    cdef Addr group
    cdef uint8_t kind
    if view.length < MLD_LENGTH or view.payload[0] not in (MLD_QUERY, MLD_REPORT_1):
        if is_control_noise(view.payload, view.length, PROTOCOL_ICMPV6):
            return drop(ip, view, Counter.IP_IGNORED_MULTICAST_CONTROL)
        return drop(ip, view, Counter.IP_DROP_BROADCAST_OR_MULTICAST)
    if not is_of_this_link(view) or (
        view.packet.csum == CSUM_FULL
        and icmp_checksum(view.payload, view.length, &view.source, &view.destination) != 0
    ):
        return drop(ip, view, Counter.IP_DROP_BAD_MEMBERSHIP_MESSAGE)
    kind = view.payload[0]
    if kind == MLD_REPORT_1:
        group = addr_load16(view.payload + 8)
        report_heard(ip, &group, True)
        return drop(ip, view, Counter.IP_IGNORED_MULTICAST_CONTROL)
    if membership_query_read(view.payload, view.length, True, &query) < 0 or (
            not group_is_valid(&query.group)):
        return drop(ip, view, Counter.IP_DROP_BAD_MEMBERSHIP_MESSAGE)
    count(ip.context, Counter.IP_MEMBERSHIP_QUERIES_IN)
    query_input(ip, &query, True)
    return done(ip, view)


# Time


cdef void ip_membership_expire(IpLayer* ip) noexcept nogil:
    """Send what is due, forget what is over, wait for the next."""
    cdef MulticastGroup* group
    cdef int v6
    for v6 in range(2):
        if ip.membership.links[v6].general_at <= ip.context.now:
            membership_answer_general(ip, v6)
        if ip.membership.links[v6].change_at <= ip.context.now:
            membership_report_changes(ip, v6)
    group = ip.membership.first
    while group != NULL:
        if group.answer_at <= ip.context.now:
            membership_answer_group(ip, group)
        group = group.next
    groups_sweep(ip)
    membership_deadline_renew(ip)
