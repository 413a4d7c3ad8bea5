# What multicast routers ask, and what other members say; when it is time to answer.
# Called by: ip input, icmp_input; stack when the deadline comes due.
# RFCs: 3376 sections 5.2 and 7, 3810 sections 6.2 and 8, 2236, 2710.

from pystack.core.ip.layer cimport IpLayer, IpVerdict, IpView

# Both take view.packet. IGMP; ICMPv6 to a group, or a query of MLD.
cdef IpVerdict igmp_input(IpLayer* ip, IpView* view) noexcept nogil
cdef IpVerdict mld_input(IpLayer* ip, IpView* view) noexcept nogil
cdef void ip_membership_expire(IpLayer* ip) noexcept nogil
