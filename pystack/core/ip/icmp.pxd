# IP icmp: the errors that we send (RFC 792, 1122 section 3.2.2, 1812 section 4.3, 4443).

from libc.stdint cimport uint8_t, uint32_t
from pystack.core.ip.layer cimport IpLayer, IpView

cdef enum:
    # A local application may try hundreds of closed ports in a row; a flood gets no more than this.
    ICMP_ERRORS_PER_SECOND = 1000
    ICMP_ERRORS_BURST = 500

# Destination unreachable, code port, about view (which stays the caller's). Rate-limited; rules of
# RFC 1122 3.2.2 / 4443 2.4.
cdef void icmp_port_unreachable(IpLayer* ip, const IpView* view) noexcept nogil
cdef void icmp_protocol_unreachable(IpLayer* ip, const IpView* view) noexcept nogil
# Destination unreachable, code administratively prohibited.
cdef void icmp_prohibited(IpLayer* ip, const IpView* view) noexcept nogil
# What routers say (RFC 1812 sections 4.3.3.1, 5.3.1; RFC 4443 sections 3.1 to 3.3), about `length`
# bytes that begin with a checked IP header.
cdef void icmp_net_unreachable(
    IpLayer* ip, const uint8_t* offending, uint32_t length
) noexcept nogil
cdef void icmp_hops_exceeded(IpLayer* ip, const uint8_t* offending, uint32_t length) noexcept nogil
cdef void icmp_too_big(
    IpLayer* ip, const uint8_t* offending, uint32_t length, uint32_t mtu
) noexcept nogil
# The others are about `length` bytes that begin with a checked IP header.
# IPv6 Parameter Problem; pointer: offset of the fault.
cdef void icmp6_parameter_problem(
    IpLayer* ip, const uint8_t* offending, uint32_t length, uint8_t code, uint32_t pointer
) noexcept nogil
# Time Exceeded, code reassembly; offending: fragment 0.
cdef void icmp_reassembly_timeout(
    IpLayer* ip, const uint8_t* offending, uint32_t length
) noexcept nogil
