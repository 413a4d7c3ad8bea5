# IP icmp: ICMP and ICMPv6: echo, errors in and out (RFC 792, 1812 section 4.3, 4443).

from pystack.core.ip.layer cimport IpLayer, IpView

# Destination unreachable, code port, about view (which stays the caller's). Rate-limited; rules of RFC 1122 3.2.2 / 4443 2.4.
cdef void icmp_port_unreachable(IpLayer* ip, const IpView* view) noexcept nogil
cdef void icmp_protocol_unreachable(IpLayer* ip, const IpView* view) noexcept nogil
