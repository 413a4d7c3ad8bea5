# IP policy: longest prefix first, by one hash lookup for each prefix length that occurs.
# Called by: ip input; udp and tcp for what belongs to no flow; stack when rules are set.
# RFCs: none; the design's section 6.

from libc.errno cimport EINVAL, ENOMEM
from libc.stdint cimport uint8_t, uint16_t, uint32_t
from libc.stdlib cimport calloc, free, realloc
from libc.string cimport memmove, memset
from pystack.core.ip.layer cimport (
    IpLayer, POLICY_ACCEPT, POLICY_MIRROR, PolicyAction
)
from pystack.core.ip.policy_table cimport PolicyPrefix, PolicyRule, PolicyTable
from pystack.core.memory.flow cimport (
    FlowKey, flow_find, flow_insert, flow_next, flow_table_init, flow_table_release
)
from pystack.core.wire.address cimport Addr, addr_in_prefix, addr_is_v4, addr_masked

cdef enum:
    V4_BITS = 96
    PORT_MAX = 0xFFFF


cdef inline FlowKey prefix_key(const Addr* prefix, int prefix_length) noexcept nogil:
    cdef FlowKey key
    memset(&key, 0, sizeof(FlowKey))
    key.local = prefix[0]
    key.prefix_length = <uint8_t>prefix_length
    return key


cdef void length_note(PolicyTable* policy, uint8_t prefix_length) noexcept nogil:
    """Put a prefix length into the list of those that occur, longest first."""
    cdef uint32_t i = 0
    while i < policy.length_count and policy.lengths[i] > prefix_length:
        i += 1
    if i < policy.length_count and policy.lengths[i] == prefix_length:
        return
    memmove(&policy.lengths[i + 1], &policy.lengths[i], policy.length_count - i)
    policy.lengths[i] = prefix_length
    policy.length_count += 1


cdef PolicyPrefix* prefix_get(PolicyTable* policy, const FlowKey* key) noexcept nogil:
    """The prefix, made if it is not there; NULL: out of memory."""
    cdef PolicyPrefix* prefix = <PolicyPrefix*>flow_find(&policy.prefixes, key)
    if prefix != NULL:
        return prefix
    prefix = <PolicyPrefix*>calloc(1, sizeof(PolicyPrefix))
    if prefix == NULL:
        return NULL
    prefix.key = key[0]
    if flow_insert(&policy.prefixes, &prefix.key) < 0:
        free(prefix)
        return NULL
    length_note(policy, key.prefix_length)
    return prefix


cdef inline bint rule_covers(const PolicyRule* rule, const PolicyRule* other) noexcept nogil:
    """All that `other` matches, `rule` matches."""
    if rule.protocol and rule.protocol != other.protocol:
        return False
    return rule.first_port <= other.first_port and rule.last_port >= other.last_port


cdef int rule_append(PolicyPrefix* prefix, const PolicyRule* rule) noexcept nogil:
    """Add the newest rule, and forget those that it covers: -1 when out of memory."""
    cdef PolicyRule* rules
    cdef uint32_t i, kept = 0
    rules = <PolicyRule*>realloc(prefix.rules, (prefix.count + 1) * sizeof(PolicyRule))
    if rules == NULL:
        return -1
    prefix.rules = rules
    for i in range(prefix.count):
        if not rule_covers(rule, &rules[i]):
            rules[kept] = rules[i]
            kept += 1
    rules[kept] = rule[0]
    prefix.count = kept + 1
    return 0


cdef int policy_set(
    IpLayer* ip, const Addr* prefix, int prefix_length, uint8_t protocol, uint16_t first_port,
    uint16_t last_port, PolicyAction action, uint32_t token
) noexcept nogil:
    """Add a rule; 0, -EINVAL (host bits set, ports in the wrong order, no such action), -ENOMEM."""
    cdef PolicyRule rule
    cdef PolicyPrefix* entry
    cdef FlowKey key
    if prefix_length < 0 or prefix_length > 128:
        return -EINVAL
    if not addr_in_prefix(prefix, prefix, prefix_length):
        return -EINVAL
    if addr_is_v4(prefix) and prefix_length < V4_BITS:
        return -EINVAL
    if first_port > last_port or <int>action < POLICY_ACCEPT or <int>action > POLICY_MIRROR:
        return -EINVAL
    rule.protocol = protocol
    rule.first_port = first_port
    rule.last_port = last_port
    rule.action = <uint8_t>action
    rule.token = token
    key = prefix_key(prefix, prefix_length)
    entry = prefix_get(&ip.policy, &key)
    if entry == NULL or rule_append(entry, &rule) < 0:
        return -ENOMEM
    return 0


cdef inline const PolicyPrefix* prefix_find(
    const PolicyTable* policy, const Addr* destination, uint8_t prefix_length
) noexcept nogil:
    cdef Addr masked = addr_masked(destination, prefix_length)
    cdef FlowKey key = prefix_key(&masked, prefix_length)
    cdef const PolicyPrefix* prefix = <const PolicyPrefix*>flow_find(&policy.prefixes, &key)
    if prefix == NULL or prefix.count == 0:         # 0: there was no memory for its first rule
        return NULL
    return prefix


cdef inline bint is_of_family(const Addr* destination, uint8_t prefix_length) noexcept nogil:
    """A prefix that is shorter than ::ffff:0:0/96 is about IPv6 only, though it covers IPv4."""
    return prefix_length >= V4_BITS or not addr_is_v4(destination)


cdef const PolicyRule* rule_find(
    const PolicyPrefix* prefix, uint8_t protocol, uint16_t port
) noexcept nogil:
    """The newest rule that matches, or NULL."""
    cdef const PolicyRule* rule
    cdef uint32_t i = prefix.count
    while i > 0:
        i -= 1
        rule = &prefix.rules[i]
        if rule.protocol and rule.protocol != protocol:
            continue
        if rule.first_port <= port <= rule.last_port:
            return rule
    return NULL


cdef PolicyAction policy_find(
    IpLayer* ip, const Addr* destination, uint8_t protocol, uint16_t port, uint32_t* token
) noexcept nogil:
    """What is to happen with a packet that begins a flow.

    token: where the rule's goes, 0 without a rule; or NULL.
    """
    cdef const PolicyPrefix* prefix
    cdef const PolicyRule* rule
    cdef uint32_t i
    if token != NULL:
        token[0] = 0
    for i in range(ip.policy.length_count):
        if not is_of_family(destination, ip.policy.lengths[i]):
            continue
        prefix = prefix_find(&ip.policy, destination, ip.policy.lengths[i])
        if prefix == NULL:
            continue
        rule = rule_find(prefix, protocol, port)
        if rule == NULL:
            continue
        if token != NULL:
            token[0] = rule.token
        return <PolicyAction>rule.action
    return POLICY_ACCEPT


cdef PolicyAction policy_find_whole(IpLayer* ip, const Addr* destination) noexcept nogil:
    """The action of the first rule in order, if that rule is about every protocol and port."""
    cdef const PolicyPrefix* prefix
    cdef const PolicyRule* rule
    cdef uint32_t i
    for i in range(ip.policy.length_count):
        if not is_of_family(destination, ip.policy.lengths[i]):
            continue
        prefix = prefix_find(&ip.policy, destination, ip.policy.lengths[i])
        if prefix == NULL:
            continue
        rule = &prefix.rules[prefix.count - 1]
        if rule.protocol == 0 and rule.first_port == 0 and rule.last_port == PORT_MAX:
            return <PolicyAction>rule.action
        return POLICY_ACCEPT
    return POLICY_ACCEPT


cdef void policy_init(IpLayer* ip) noexcept nogil:
    """An empty table, keyed with the stack's secret."""
    flow_table_init(&ip.policy.prefixes, ip.context.secret)
    ip.policy.length_count = 0


cdef void policy_release(IpLayer* ip) noexcept nogil:
    """Free all rules."""
    cdef PolicyPrefix* prefix
    cdef uint32_t cursor = 0
    prefix = <PolicyPrefix*>flow_next(&ip.policy.prefixes, &cursor)
    while prefix != NULL:
        free(prefix.rules)
        free(prefix)
        prefix = <PolicyPrefix*>flow_next(&ip.policy.prefixes, &cursor)
    flow_table_release(&ip.policy.prefixes)
    ip.policy.length_count = 0
