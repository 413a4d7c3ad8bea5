# What Linux makes of an ICMP error (icmp_err_convert, icmpv6_err_convert): an errno, and whether
# that is more than a hint.
# Called by: icmp_input, tcp and udp.
# RFCs: none.

from libc.errno cimport (
    EACCES, ECONNREFUSED, EHOSTUNREACH, EMSGSIZE, ENETUNREACH, ENOPROTOOPT, EOPNOTSUPP, EPROTO
)
from libc.stdint cimport uint8_t
from pystack.core.ip.layer cimport IcmpError
from pystack.core.wire.icmp cimport (
    ICMP4_PARAMETER_PROBLEM, ICMP4_UNREACHABLE, ICMP6_PARAMETER_PROBLEM, ICMP6_TIME_EXCEEDED,
    ICMP6_TOO_BIG, ICMP6_UNREACHABLE
)

cdef extern from *:
    """
    #include <errno.h>
    #ifndef EHOSTDOWN   /* Windows */
    #define EHOSTDOWN EHOSTUNREACH
    #endif
    #ifndef ENONET      /* Windows, macOS, BSD */
    #define ENONET EHOSTUNREACH
    #endif
    """
    int EHOSTDOWN
    int ENONET


cdef int unreachable4_errno(uint8_t code) noexcept nogil:
    """Destination unreachable, by code (RFC 1122 section 3.2.2.1, RFC 1812 section 5.2.7.1)."""
    if code in (0, 6, 9, 11):       # network: unreachable, unknown, prohibited, not for this TOS
        return ENETUNREACH
    if code == 2:                   # protocol
        return ENOPROTOOPT
    if code == 3:                   # port
        return ECONNREFUSED
    if code == 4:                   # fragmentation needed
        return EMSGSIZE
    if code == 5:                   # source route failed
        return EOPNOTSUPP
    if code == 7:                   # host unknown
        return EHOSTDOWN
    if code == 8:                   # source host isolated
        return ENONET
    return EHOSTUNREACH


cdef int icmp4_errno(uint8_t kind, uint8_t code) noexcept nogil:
    """Of Destination Unreachable, Time Exceeded or Parameter Problem."""
    if kind == ICMP4_UNREACHABLE:
        return unreachable4_errno(code)
    if kind == ICMP4_PARAMETER_PROBLEM:
        return EPROTO
    return EHOSTUNREACH


cdef int icmp6_errno(uint8_t kind, uint8_t code) noexcept nogil:
    """Of one of the four errors of RFC 4443."""
    if kind == ICMP6_TOO_BIG:
        return EMSGSIZE
    if kind == ICMP6_TIME_EXCEEDED:
        return EHOSTUNREACH
    if kind == ICMP6_PARAMETER_PROBLEM or kind != ICMP6_UNREACHABLE:
        return EPROTO
    if code == 0:                   # no route
        return ENETUNREACH
    if code > 6:                    # RFC 4443 section 3.1 knows no such code
        return EPROTO
    if code == 2 or code == 3:      # beyond scope, address
        return EHOSTUNREACH
    if code == 4:                   # port
        return ECONNREFUSED
    return EACCES                   # prohibited, source policy, reject route


cdef bint icmp_error_is_fatal(const IcmpError* error) noexcept nogil:
    if error.v6:
        if error.icmp_type != ICMP6_UNREACHABLE:
            return error.icmp_type == ICMP6_PARAMETER_PROBLEM
        return error.error != ENETUNREACH and error.error != EHOSTUNREACH
    if error.icmp_type != ICMP4_UNREACHABLE:
        return error.icmp_type == ICMP4_PARAMETER_PROBLEM
    # Network, host, source route, and both not for this type of service.
    return error.icmp_code not in (0, 1, 5, 11, 12)
