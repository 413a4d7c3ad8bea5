# Multicast groups that the stack is a member of: the structs; what is done with them is in
# membership, membership_report and membership_query.
# Called by: layer, which embeds it.
# RFCs: 3376 sections 3 and 5, 3810 sections 4 and 6.

from libc.stdint cimport int64_t, uint8_t, uint32_t
from pystack.core.memory.deadline cimport DeadlineNode
from pystack.core.memory.flow cimport FlowKey, FlowTable
from pystack.core.wire.address cimport Addr

cdef enum:
    GROUPS_MAX = 1024           # of a stack
    MEMBERSHIPS_MAX = 20        # of a socket: Linux's igmp_max_memberships
    SOURCES4_MAX = 10           # of a membership: Linux's igmp_max_msf
    SOURCES6_MAX = 64           # Linux's mld_max_msf

cdef enum FilterMode:
    FILTER_INCLUDE = 0          # these sources only
    FILTER_EXCLUDE = 1          # all sources but these

ctypedef struct SourceList:
    Addr* items
    uint32_t count

# What one socket wants of one group.
ctypedef struct Membership:
    Membership* next            # of the same socket
    Membership* sibling         # of the same group
    MulticastGroup* group
    SourceList sources
    uint8_t mode                # FilterMode

# A source whose state has changed, and how often that is still to be reported.
ctypedef struct SourceChange:
    Addr source
    uint8_t left

# A group, as the interface has it: what all its members want together. Kept beyond the last member
# until that has been reported often enough.
ctypedef struct MulticastGroup:
    FlowKey key                 # local: the group
    MulticastGroup* previous
    MulticastGroup* next
    Membership* members
    SourceList sources
    SourceList asked            # of a query for certain sources, to be answered; empty: for all
    SourceChange* changes
    uint32_t change_count
    int64_t answer_at           # when a query for the group is answered, or never
    uint8_t mode                # FilterMode
    uint8_t mode_left           # how often a change of mode is still to be reported
    bint last_reporter          # IGMPv2, MLDv1: nobody else has reported since
    bint v6

# What is known of the queriers of one family, and when they are answered.
ctypedef struct MulticastLink:
    int64_t general_at          # a general query, or never
    int64_t change_at           # changes that are to be reported again, or never
    int64_t v1_until            # when the last querier of IGMPv1 is forgotten
    int64_t v2_until            # of IGMPv2 or MLDv1
    uint8_t robustness

# Written by membership, membership_report and membership_query only.
ctypedef struct MembershipTable:
    FlowTable groups
    MulticastGroup* first
    MulticastGroup* last
    MulticastLink links[2]      # IPv4, IPv6
    DeadlineNode deadline
    uint32_t count
