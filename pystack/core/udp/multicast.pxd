# Sockets and multicast groups: joining and leaving, what goes to one, who hears what comes.
# Called by: udp/datagram, udp/input; engine (options).
# RFCs: 1112, 3376 section 2, 3678, 3810 section 3; ip(7), ipv6(7).

from libc.stdint cimport uint16_t, uint32_t
from pystack.core.ip.layer cimport IpSend, IpView
from pystack.core.udp.layer cimport Datagram, UdpLayer
from pystack.core.wire.address cimport Addr

cdef enum MembershipCall:
    MEMBERSHIP_JOIN = 1         # all sources
    MEMBERSHIP_LEAVE = 2
    MEMBERSHIP_JOIN_SOURCE = 3  # this one (too)
    MEMBERSHIP_LEAVE_SOURCE = 4
    MEMBERSHIP_BLOCK = 5        # all but this one (too)
    MEMBERSHIP_UNBLOCK = 6

cdef void multicast_init(Datagram* socket) noexcept nogil
# 0, or the errno of Linux: -EINVAL, -EADDRINUSE, -EADDRNOTAVAIL, -ENOBUFS, -ENOMEM.
cdef int multicast_call(
    UdpLayer* udp, Datagram* socket, int call, const Addr* group, const Addr* source
) noexcept nogil
# Replace the filter of a membership (RFC 3678 section 4.1.3); INCLUDE of nobody leaves the group.
# As multicast_call.
cdef int multicast_filter(
    UdpLayer* udp, Datagram* socket, const Addr* group, bint only, const Addr* sources,
    uint32_t number
) noexcept nogil
cdef void multicast_leave_all(UdpLayer* udp, Datagram* socket) noexcept nogil
# Mark what goes to a group as the socket wants it; send.source is set.
cdef void multicast_mark(UdpLayer* udp, const Datagram* socket, IpSend* send) noexcept nogil
# Whether a socket of the right port hears a datagram to a group or to all.
cdef bint multicast_is_for(
    const Datagram* socket, const IpView* view, uint16_t source_port
) noexcept nogil
