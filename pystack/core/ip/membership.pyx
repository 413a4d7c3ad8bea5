# Membership in multicast groups: what sockets want, and what the interface lets in for them.
# Called by: udp (sockets), ip input and output, stack (time).
# RFCs: 1112, 3376 section 3, 3810 section 4.

from libc.errno cimport ENOMEM
from libc.stdint cimport uint8_t, uint32_t
from libc.stdlib cimport calloc, free
from libc.string cimport memset
from pystack.core.context cimport DEADLINE_MEMBERSHIP
from pystack.core.ip.layer cimport IpLayer
from pystack.core.ip.membership_report cimport group_all_hosts, membership_report_change
from pystack.core.ip.membership_table cimport (
    FILTER_EXCLUDE, FILTER_INCLUDE, GROUPS_MAX, FilterMode, Membership, MembershipTable,
    MulticastGroup, SourceList
)
from pystack.core.ip.source_list cimport (
    filter_accepts, source_list_add, source_list_clear, source_list_find
)
from pystack.core.memory.deadline cimport DEADLINE_NEVER, deadline_register, deadline_unregister
from pystack.core.memory.flow cimport (
    FlowKey, flow_find, flow_insert, flow_remove, flow_table_init, flow_table_release
)
from pystack.core.wire.address cimport Addr, addr_eq, addr_is_v4

cdef enum:
    ROBUSTNESS = 2              # RFC 3376 section 8.1, until a querier says otherwise


# Groups


cdef MulticastGroup* group_find(IpLayer* ip, const Addr* address) noexcept nogil:
    cdef FlowKey key
    if ip.membership.count == 0:
        return NULL
    memset(&key, 0, sizeof(FlowKey))
    key.local = address[0]
    return <MulticastGroup*>flow_find(&ip.membership.groups, &key)


cdef MulticastGroup* group_add(IpLayer* ip, const Addr* address) noexcept nogil:
    """A group without members; NULL: no memory, or too many groups."""
    cdef MembershipTable* table = &ip.membership
    cdef MulticastGroup* group
    if table.count >= GROUPS_MAX:
        return NULL
    group = <MulticastGroup*>calloc(1, sizeof(MulticastGroup))
    if group == NULL:
        return NULL
    group.key.local = address[0]
    group.v6 = not addr_is_v4(address)
    group.answer_at = DEADLINE_NEVER
    if flow_insert(&table.groups, &group.key) < 0:
        free(group)
        return NULL
    group.previous = table.last
    if table.last != NULL:
        table.last.next = group
    else:
        table.first = group
    table.last = group
    table.count += 1
    return group


cdef inline bint group_is_over(const MulticastGroup* group) noexcept nogil:
    """No member, and nothing left to be said about it."""
    return group.members == NULL and group.mode_left == 0 and group.change_count == 0


cdef void group_forget(IpLayer* ip, MulticastGroup* group) noexcept nogil:
    """Take a group without members out of the table and free it."""
    cdef MembershipTable* table = &ip.membership
    if group.previous != NULL:
        group.previous.next = group.next
    else:
        table.first = group.next
    if group.next != NULL:
        group.next.previous = group.previous
    else:
        table.last = group.previous
    table.count -= 1
    flow_remove(&table.groups, &group.key)
    source_list_clear(&group.sources)
    source_list_clear(&group.asked)
    free(group.changes)
    free(group)


# The filter of the interface (RFC 3376 section 3.2)


cdef bint is_excluded_by_all(const MulticastGroup* group, const Addr* source) noexcept nogil:
    """No member wants this source: all that exclude name it, none that includes does."""
    cdef const Membership* member = group.members
    while member != NULL:
        if (source_list_find(&member.sources, source) >= 0) != (member.mode == FILTER_EXCLUDE):
            return False
        member = member.sibling
    return True


cdef int filter_of_members(
    const MulticastGroup* group, uint8_t* mode, SourceList* sources
) noexcept nogil:
    """What all members want together: 0, or -ENOMEM."""
    cdef const Membership* member = group.members
    cdef uint32_t i
    mode[0] = FILTER_INCLUDE
    while member != NULL:
        if member.mode == FILTER_EXCLUDE:
            mode[0] = FILTER_EXCLUDE
        member = member.sibling
    member = group.members
    while member != NULL:
        if member.mode == mode[0]:
            for i in range(member.sources.count):
                if mode[0] == FILTER_EXCLUDE and (
                        not is_excluded_by_all(group, &member.sources.items[i])):
                    continue
                if source_list_add(sources, &member.sources.items[i]) < 0:
                    return -ENOMEM
        member = member.sibling
    return 0


cdef int group_update(IpLayer* ip, MulticastGroup* group) noexcept nogil:
    """Compute the interface's filter again, report what has changed: 0, or -ENOMEM, unchanged."""
    cdef SourceList before = group.sources
    cdef SourceList sources
    cdef uint8_t mode
    cdef uint8_t mode_before = group.mode
    sources.items = NULL
    sources.count = 0
    if filter_of_members(group, &mode, &sources) < 0:
        source_list_clear(&sources)
        return -ENOMEM
    group.mode = mode
    group.sources = sources
    membership_report_change(ip, group, mode_before, &before)
    source_list_clear(&before)
    if group_is_over(group):
        group_forget(ip, group)
    return 0


# Memberships


cdef Membership* membership_find(Membership* first, const Addr* group) noexcept nogil:
    """The membership in a group among a socket's, or NULL."""
    while first != NULL and not addr_eq(&first.group.key.local, group):
        first = first.next
    return first


cdef void member_unlink(Membership* membership) noexcept nogil:
    cdef Membership** link = &membership.group.members
    while link[0] != membership:
        link = &link[0].sibling
    link[0] = membership.sibling


cdef Membership* membership_join(
    IpLayer* ip, Membership** first, const Addr* address, FilterMode mode
) noexcept nogil:
    """Join a group: EXCLUDE and no sources is all that is sent to it, INCLUDE nothing yet."""
    cdef MulticastGroup* group = group_find(ip, address)
    cdef Membership* membership = <Membership*>calloc(1, sizeof(Membership))
    if membership == NULL:
        return NULL
    if group == NULL:
        group = group_add(ip, address)
    if group == NULL:
        free(membership)
        return NULL
    membership.group = group
    membership.mode = mode
    membership.sibling = group.members
    group.members = membership
    if group_update(ip, group) < 0:
        group.members = membership.sibling
        if group_is_over(group):
            group_forget(ip, group)
        free(membership)
        return NULL
    membership.next = first[0]
    first[0] = membership
    return membership


cdef void membership_leave(IpLayer* ip, Membership** first, Membership* membership) noexcept nogil:
    """Unlink and free a membership, and report what of its group nobody wants any more.

    Without memory the interface takes in for a while what no socket does.
    """
    cdef Membership** link = first
    while link[0] != membership:
        link = &link[0].next
    link[0] = membership.next
    member_unlink(membership)
    group_update(ip, membership.group)
    source_list_clear(&membership.sources)
    free(membership)


cdef int membership_changed(IpLayer* ip, Membership* membership) noexcept nogil:
    return group_update(ip, membership.group)


cdef bint membership_accepts(const Membership* membership, const Addr* source) noexcept nogil:
    return filter_accepts(membership.mode, &membership.sources, source)


cdef bint ip_multicast_accepts(IpLayer* ip, const Addr* address, const Addr* source) noexcept nogil:
    """All hosts are always meant (RFC 1112 section 4); else it is as the members want it."""
    cdef const MulticastGroup* group
    if group_all_hosts(address):
        return True
    group = group_find(ip, address)
    return group != NULL and filter_accepts(group.mode, &group.sources, source)


cdef bint ip_multicast_is_joined(IpLayer* ip, const Addr* address) noexcept nogil:
    """From whichever source."""
    return group_all_hosts(address) or group_find(ip, address) != NULL


cdef void groups_sweep(IpLayer* ip) noexcept nogil:
    """Forget the groups that are over."""
    cdef MulticastGroup* group = ip.membership.first
    cdef MulticastGroup* next_group
    while group != NULL:
        next_group = group.next
        if group_is_over(group):
            group_forget(ip, group)
        group = next_group


cdef int membership_init(IpLayer* ip) noexcept nogil:
    """No groups; -1: out of memory."""
    cdef MembershipTable* table = &ip.membership
    cdef int i
    memset(table, 0, sizeof(MembershipTable))
    flow_table_init(&table.groups, ip.context.secret)
    for i in range(2):
        table.links[i].general_at = table.links[i].change_at = DEADLINE_NEVER
        table.links[i].robustness = ROBUSTNESS
    return deadline_register(&ip.context.deadlines, &table.deadline, ip, DEADLINE_MEMBERSHIP)


cdef void membership_release(IpLayer* ip) noexcept nogil:
    """Free all groups; sockets have left before. The second time there is nothing to do."""
    cdef MembershipTable* table = &ip.membership
    while table.first != NULL:
        group_forget(ip, table.first)
    flow_table_release(&table.groups)
    if table.deadline.owner != NULL:
        deadline_unregister(&ip.context.deadlines, &table.deadline)
        table.deadline.owner = NULL
