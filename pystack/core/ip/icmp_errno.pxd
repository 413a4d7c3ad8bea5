# What Linux makes of an ICMP error (icmp_err_convert, icmpv6_err_convert): an errno, and whether
# that is more than a hint.
# Called by: icmp_input, tcp and udp.
# RFCs: none.

from libc.stdint cimport uint8_t
from pystack.core.ip.layer cimport IcmpError

cdef int icmp4_errno(uint8_t kind, uint8_t code) noexcept nogil
cdef int icmp6_errno(uint8_t kind, uint8_t code) noexcept nogil
# Others may pass, as when a route is being mended; not of Packet Too Big.
cdef bint icmp_error_is_fatal(const IcmpError* error) noexcept nogil
