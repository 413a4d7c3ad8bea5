# Membership in multicast groups: what sockets want, and what the interface lets in for them.
# Called by: udp (sockets), ip input and output, stack (time).
# RFCs: 1112, 3376 section 3, 3810 section 4.

from pystack.core.ip.layer cimport IpLayer
from pystack.core.ip.membership_table cimport FilterMode, Membership, MulticastGroup
from pystack.core.wire.address cimport Addr

# Join a group with an empty list of sources; the membership is put in front of a socket's list.
# NULL: no memory, or too many groups.
cdef Membership* membership_join(
    IpLayer* ip, Membership** first, const Addr* group, FilterMode mode
) noexcept nogil
# Unlink a membership of the list and free it.
cdef void membership_leave(IpLayer* ip, Membership** first, Membership* membership) noexcept nogil
# Sources or mode of a membership have changed: report what that changes for the interface. 0, or
# -ENOMEM and the interface is as before.
cdef int membership_changed(IpLayer* ip, Membership* membership) noexcept nogil
cdef Membership* membership_find(Membership* first, const Addr* group) noexcept nogil
# Whether the socket that has this membership takes what a source sends.
cdef bint membership_accepts(const Membership* membership, const Addr* source) noexcept nogil
# Whether anybody here takes what a source sends to a group.
cdef bint ip_multicast_accepts(IpLayer* ip, const Addr* group, const Addr* source) noexcept nogil
# The group, or NULL; perhaps without members.
cdef MulticastGroup* group_find(IpLayer* ip, const Addr* address) noexcept nogil
cdef void groups_sweep(IpLayer* ip) noexcept nogil
# Whether anybody here is in a group, or was until lately: queries about it are for us.
cdef bint ip_multicast_is_joined(IpLayer* ip, const Addr* group) noexcept nogil
cdef int membership_init(IpLayer* ip) noexcept nogil
cdef void membership_release(IpLayer* ip) noexcept nogil
