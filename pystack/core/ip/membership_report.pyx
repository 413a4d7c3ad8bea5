# What we tell multicast routers: of changes, unasked and more than once; of the state, when asked.
# Called by: membership, membership_query.
# RFCs: 3376 section 5, 3810 section 6, 2236, 2710, 1112.

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free, realloc
from pystack.core.ip.layer cimport IpLayer
from pystack.core.ip.membership_message cimport (
    ReportWriter, membership_message_send, report_begin, report_finish, report_record,
    report_source
)
from pystack.core.ip.membership_table cimport (
    FILTER_EXCLUDE, FILTER_INCLUDE, MembershipTable, MulticastGroup, MulticastLink, SourceChange,
    SourceList
)
from pystack.core.ip.source_list cimport filter_accepts, source_list_clear, source_list_find
from pystack.core.memory.deadline cimport DEADLINE_NEVER, deadline_set
from pystack.core.memory.random cimport random_next
from pystack.core.wire.address cimport Addr, addr_eq, addr_from_v4, addr_is_v4, addr_v4
from pystack.core.wire.membership cimport (
    IGMP_LEAVE, IGMP_REPORT_1, IGMP_REPORT_2, MLD_DONE, MLD_REPORT_1, RECORD_ALLOW, RECORD_BLOCK,
    RECORD_IS_EXCLUDE, RECORD_IS_INCLUDE, RECORD_TO_EXCLUDE, RECORD_TO_INCLUDE
)

cdef enum:
    ALL_HOSTS4 = 0xE0000001     # 224.0.0.1
    ALL_ROUTERS4 = 0xE0000002

cdef int64_t UNSOLICITED_NS = <int64_t>1000 * 1000000          # RFC 3376 section 8.11
cdef int64_t UNSOLICITED_OLD_NS = <int64_t>10000 * 1000000     # RFC 2236 section 8.10, 2710 7.10


cdef bint group_all_hosts(const Addr* group) noexcept nogil:
    """Of IPv6 also what never leaves the node (RFC 3810 section 6)."""
    if addr_is_v4(group):
        return addr_v4(group) == <uint32_t>ALL_HOSTS4
    if group.hi >> 48 == 0xFF02:
        return group.hi << 16 == 0 and group.lo == 1
    return (group.hi >> 48 & 0xF) <= 1


cdef inline bint is_silent(uint8_t mode, const SourceList* sources) noexcept nogil:
    """INCLUDE and no sources: as if nobody were there."""
    return mode == FILTER_INCLUDE and sources.count == 0


cdef bint group_is_reported(const MulticastGroup* group) noexcept nogil:
    return not (group_all_hosts(&group.key.local) or is_silent(group.mode, &group.sources))


cdef int membership_version(IpLayer* ip, bint v6) noexcept nogil:
    """RFC 3376 section 7.2.1, RFC 3810 section 8.2.1."""
    cdef const MulticastLink* link = &ip.membership.links[v6]
    if ip.context.now < link.v1_until:
        return 1
    return 2 if ip.context.now < link.v2_until else 3


cdef int64_t membership_delay(IpLayer* ip, int64_t most) noexcept nogil:
    """Random time in (0, most]."""
    if most <= 0:
        return 0
    return 1 + <int64_t>(random_next(&ip.context.random) % <uint64_t>most)


cdef void membership_deadline_renew(IpLayer* ip) noexcept nogil:
    """Wait for what is due first."""
    cdef MembershipTable* table = &ip.membership
    cdef const MulticastGroup* group = table.first
    cdef int64_t first = DEADLINE_NEVER
    cdef int i
    for i in range(2):
        first = min(first, min(table.links[i].general_at, table.links[i].change_at))
    while group != NULL:
        first = min(first, group.answer_at)
        group = group.next
    deadline_set(&ip.context.deadlines, &table.deadline, first)


# Changes that are to be reported


cdef void change_note(IpLayer* ip, MulticastGroup* group, const Addr* source) noexcept nogil:
    """Report a source as often as robustness asks; without memory, the next query tells."""
    cdef uint8_t left = ip.membership.links[group.v6].robustness
    cdef SourceChange* changes
    cdef uint32_t i
    for i in range(group.change_count):
        if addr_eq(&group.changes[i].source, source):
            group.changes[i].left = left
            return
    changes = <SourceChange*>realloc(
        group.changes, (group.change_count + 1) * sizeof(SourceChange))
    if changes == NULL:
        return
    group.changes = changes
    changes[group.change_count].source = source[0]
    changes[group.change_count].left = left
    group.change_count += 1


cdef void changes_clear(MulticastGroup* group) noexcept nogil:
    free(group.changes)
    group.changes = NULL
    group.change_count = 0


cdef void changes_spend(MulticastGroup* group) noexcept nogil:
    """All changes have been reported once more."""
    cdef uint32_t i, kept = 0
    if group.mode_left:
        group.mode_left -= 1
    for i in range(group.change_count):
        group.changes[i].left -= 1
        if group.changes[i].left:
            group.changes[kept] = group.changes[i]
            kept += 1
    group.change_count = kept
    if kept == 0:
        changes_clear(group)


cdef bint difference_note(
    IpLayer* ip, MulticastGroup* group, const SourceList* some, const SourceList* others
) noexcept nogil:
    """Note the sources that are in one list and not in the other; False: there are none."""
    cdef bint found = False
    cdef uint32_t i
    for i in range(some.count):
        if source_list_find(others, &some.items[i]) < 0:
            change_note(ip, group, &some.items[i])
            found = True
    return found


# Records


cdef void record_of_list(
    IpLayer* ip, ReportWriter* writer, const MulticastGroup* group, uint8_t kind
) noexcept nogil:
    """The whole filter."""
    cdef uint32_t i
    report_record(ip, writer, kind, &group.key.local)
    for i in range(group.sources.count):
        report_source(ip, writer, kind, &group.key.local, &group.sources.items[i])


cdef void record_of_changes(
    IpLayer* ip, ReportWriter* writer, const MulticastGroup* group, uint8_t kind
) noexcept nogil:
    """Sources that are let in now (ALLOW), or are so no more (BLOCK)."""
    cdef bint begun = False
    cdef const Addr* source
    cdef uint32_t i
    for i in range(group.change_count):
        source = &group.changes[i].source
        if filter_accepts(group.mode, &group.sources, source) != (kind == RECORD_ALLOW):
            continue
        if not begun:
            report_record(ip, writer, kind, &group.key.local)
            begun = True
        report_source(ip, writer, kind, &group.key.local, source)


cdef void record_of_asked(
    IpLayer* ip, ReportWriter* writer, const MulticastGroup* group
) noexcept nogil:
    """Those of the sources that were asked for that are let in (RFC 3376 section 5.2)."""
    cdef bint begun = False
    cdef const Addr* source
    cdef uint32_t i
    for i in range(group.asked.count):
        source = &group.asked.items[i]
        if not filter_accepts(group.mode, &group.sources, source):
            continue
        if not begun:
            report_record(ip, writer, RECORD_IS_INCLUDE, &group.key.local)
            begun = True
        report_source(ip, writer, RECORD_IS_INCLUDE, &group.key.local, source)


cdef void record_of_change(
    IpLayer* ip, ReportWriter* writer, MulticastGroup* group
) noexcept nogil:
    """RFC 3376 section 5.1: a change of mode tells the whole filter, others what is different."""
    if group.mode_left:
        record_of_list(
            ip, writer, group,
            RECORD_TO_EXCLUDE if group.mode == FILTER_EXCLUDE else <int>RECORD_TO_INCLUDE)
    else:
        record_of_changes(ip, writer, group, RECORD_ALLOW)
        record_of_changes(ip, writer, group, RECORD_BLOCK)


cdef void record_of_state(
    IpLayer* ip, ReportWriter* writer, const MulticastGroup* group
) noexcept nogil:
    record_of_list(
        ip, writer, group,
        RECORD_IS_EXCLUDE if group.mode == FILTER_EXCLUDE else <int>RECORD_IS_INCLUDE)


# Older versions


cdef void report_old(IpLayer* ip, MulticastGroup* group) noexcept nogil:
    """A report of the version that is spoken: to the group itself."""
    cdef uint8_t kind = MLD_REPORT_1
    if not group.v6:
        kind = IGMP_REPORT_1 if membership_version(ip, False) == 1 else <int>IGMP_REPORT_2
    group.last_reporter = True
    membership_message_send(ip, kind, &group.key.local, &group.key.local)


cdef void leave_old(IpLayer* ip, MulticastGroup* group) noexcept nogil:
    """Tell the routers, if nobody else has reported since (RFC 2236 section 3, RFC 2710 4)."""
    cdef Addr routers = addr_from_v4(ALL_ROUTERS4)
    if not group.last_reporter or membership_version(ip, group.v6) == 1:
        return
    if group.v6:
        routers.hi = <uint64_t>0xFF02 << 48
        routers.lo = 2
    membership_message_send(
        ip, MLD_DONE if group.v6 else <int>IGMP_LEAVE, &group.key.local, &routers)


cdef void change_old(IpLayer* ip, MulticastGroup* group, bint was_silent) noexcept nogil:
    """Older versions know joining and leaving only."""
    cdef bint silent = is_silent(group.mode, &group.sources)
    cdef MulticastLink* link = &ip.membership.links[group.v6]
    if silent == was_silent:
        return
    changes_clear(group)
    group.mode_left = 0
    if silent:
        group.answer_at = DEADLINE_NEVER
        leave_old(ip, group)
        return
    group.mode_left = link.robustness - 1
    report_old(ip, group)


# Sending


cdef bint is_pending(const MulticastGroup* group) noexcept nogil:
    return group.mode_left > 0 or group.change_count > 0


cdef void changes_again(IpLayer* ip, bint v6, bint any_left) noexcept nogil:
    """Repeat later what has not been said often enough."""
    cdef MulticastLink* link = &ip.membership.links[v6]
    cdef int64_t most = UNSOLICITED_NS
    cdef int64_t when
    if membership_version(ip, v6) < 3:
        most = UNSOLICITED_OLD_NS
    if any_left:
        when = ip.context.now + membership_delay(ip, most)
        link.change_at = min(link.change_at, when)
    membership_deadline_renew(ip)


cdef void membership_report_change(
    IpLayer* ip, MulticastGroup* group, uint8_t mode_before, const SourceList* before
) noexcept nogil:
    """At once, and robustness - 1 times more (RFC 3376 section 5.1)."""
    cdef ReportWriter writer
    cdef bint changed
    if group_all_hosts(&group.key.local):
        return
    if membership_version(ip, group.v6) < 3:
        change_old(ip, group, is_silent(mode_before, before))
        changes_again(ip, group.v6, is_pending(group))
        return
    if group.mode != mode_before:
        changes_clear(group)
        group.mode_left = ip.membership.links[group.v6].robustness
    else:
        changed = difference_note(ip, group, before, &group.sources)
        changed = difference_note(ip, group, &group.sources, before) or changed
        if not changed:
            return
    report_begin(ip, &writer, group.v6)
    record_of_change(ip, &writer, group)
    report_finish(ip, &writer)
    changes_spend(group)
    changes_again(ip, group.v6, is_pending(group))


cdef void membership_report_changes(IpLayer* ip, bint v6) noexcept nogil:
    """One report about all groups that have something left to be said."""
    cdef MulticastGroup* group = ip.membership.first
    cdef bint old = membership_version(ip, v6) < 3
    cdef bint any_left = False
    cdef ReportWriter writer
    ip.membership.links[v6].change_at = DEADLINE_NEVER
    report_begin(ip, &writer, v6)
    while group != NULL:
        if group.v6 == v6 and is_pending(group):
            if old:
                report_old(ip, group)
            else:
                record_of_change(ip, &writer, group)
            changes_spend(group)
            any_left = any_left or is_pending(group)
        group = group.next
    report_finish(ip, &writer)
    changes_again(ip, v6, any_left)


cdef void membership_answer_general(IpLayer* ip, bint v6) noexcept nogil:
    """The state of all groups."""
    cdef const MulticastGroup* group = ip.membership.first
    cdef ReportWriter writer
    ip.membership.links[v6].general_at = DEADLINE_NEVER
    report_begin(ip, &writer, v6)
    while group != NULL:
        if group.v6 == v6 and group_is_reported(group):
            record_of_state(ip, &writer, group)
        group = group.next
    report_finish(ip, &writer)


cdef void membership_answer_group(IpLayer* ip, MulticastGroup* group) noexcept nogil:
    """The state of a group, or of the sources that were asked for."""
    cdef ReportWriter writer
    group.answer_at = DEADLINE_NEVER
    if group_is_reported(group):
        if membership_version(ip, group.v6) < 3:
            report_old(ip, group)
        else:
            report_begin(ip, &writer, group.v6)
            if group.asked.count:
                record_of_asked(ip, &writer, group)
            else:
                record_of_state(ip, &writer, group)
            report_finish(ip, &writer)
    source_list_clear(&group.asked)


cdef void membership_cancel(IpLayer* ip, bint v6) noexcept nogil:
    """RFC 3376 section 7.2.1: pending answers and repetitions are no longer true to the version."""
    cdef MulticastGroup* group = ip.membership.first
    ip.membership.links[v6].general_at = DEADLINE_NEVER
    ip.membership.links[v6].change_at = DEADLINE_NEVER
    while group != NULL:
        if group.v6 == v6:
            group.answer_at = DEADLINE_NEVER
            group.mode_left = 0
            # A router of the old version will learn of us by our answer; then we are the reporter.
            changes_clear(group)
            source_list_clear(&group.asked)
        group = group.next
