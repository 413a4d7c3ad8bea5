# Datagrams in: to the socket that they are for, or port unreachable; errors about what we sent.
# Called by: stack.
# RFCs: 768, 1122 section 4.1, 8200 section 8.1.

from pystack.core.ip.layer cimport IcmpError, IpView
from pystack.core.udp.layer cimport UdpLayer

# Takes view.packet. A UDP datagram or train; an echo reply.
cdef void udp_input(UdpLayer* udp, IpView* view) noexcept nogil
cdef void echo_input(UdpLayer* udp, IpView* view) noexcept nogil
# The packet that error points into stays the caller's.
cdef void udp_error(UdpLayer* udp, const IcmpError* error) noexcept nogil
