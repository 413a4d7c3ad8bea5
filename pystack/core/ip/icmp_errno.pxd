# The errno that Linux makes of an ICMP error (icmp_err_convert, icmpv6_err_convert).
# Called by: icmp_input.
# RFCs: none.

from libc.stdint cimport uint8_t

cdef int icmp4_errno(uint8_t kind, uint8_t code) noexcept nogil
cdef int icmp6_errno(uint8_t kind, uint8_t code) noexcept nogil
