# ICMP and ICMPv6 messages: types, codes, header; no state.
# Called by: ip icmp, icmp_input, extensions, fragments; udp for echo sockets.
# RFCs: 792, 1812 section 4.3, 1191 section 4, 4443, 4884, 6918.

from libc.stdint cimport uint8_t, uint16_t, uint32_t
from pystack.core.wire.address cimport Addr

cdef enum:
    ICMP_HEADER_LENGTH = 8

cdef enum Icmp4Type:
    ICMP4_ECHO_REPLY = 0
    ICMP4_UNREACHABLE = 3
    ICMP4_SOURCE_QUENCH = 4
    ICMP4_REDIRECT = 5
    ICMP4_ALTERNATE_HOST = 6
    ICMP4_ECHO = 8
    ICMP4_ROUTER_ADVERTISEMENT = 9
    ICMP4_ROUTER_SOLICITATION = 10
    ICMP4_TIME_EXCEEDED = 11
    ICMP4_PARAMETER_PROBLEM = 12
    ICMP4_INFORMATION = 15          # 15..18: information and address mask, requests and replies
    ICMP4_MASK_REPLY = 18
    ICMP4_TRACEROUTE = 30           # 30..39: all deprecated
    ICMP4_SKIP = 39

cdef enum Icmp4Code:
    ICMP4_NET_UNREACHABLE = 0
    ICMP4_HOST_UNREACHABLE = 1
    ICMP4_PROTOCOL_UNREACHABLE = 2
    ICMP4_PORT_UNREACHABLE = 3
    ICMP4_FRAGMENTATION_NEEDED = 4
    ICMP4_ADMIN_PROHIBITED = 13

cdef enum Icmp6Type:
    ICMP6_UNREACHABLE = 1
    ICMP6_TOO_BIG = 2
    ICMP6_TIME_EXCEEDED = 3
    ICMP6_PARAMETER_PROBLEM = 4
    ICMP6_ECHO = 128
    ICMP6_ECHO_REPLY = 129
    ICMP6_LISTENER_QUERY = 130      # 130..132: MLD; 133..136: router and neighbour discovery
    ICMP6_NEIGHBOUR_ADVERTISEMENT = 136
    ICMP6_REDIRECT = 137
    ICMP6_LISTENER_REPORT_2 = 143

cdef enum Icmp6Code:
    ICMP6_NO_ROUTE = 0              # of ICMP6_UNREACHABLE
    ICMP6_ADMIN_PROHIBITED = 1      # of ICMP6_UNREACHABLE
    ICMP6_PORT_UNREACHABLE = 4
    ICMP6_ERRONEOUS_FIELD = 0       # of ICMP6_PARAMETER_PROBLEM
    ICMP6_UNKNOWN_NEXT_HEADER = 1
    ICMP6_UNKNOWN_OPTION = 2
    ICMP6_INCOMPLETE_CHAIN = 3      # RFC 7112

cdef enum:
    ICMP_HOPS_EXCEEDED = 0          # code of Time Exceeded, in both
    ICMP_REASSEMBLY_TIMEOUT = 1     # code of Time Exceeded, in both

# Write type, code and the second word, leaving the checksum 0.
cdef void icmp_build_header(
    uint8_t* out, uint8_t kind, uint8_t code, uint32_t second_word
) noexcept nogil
# Checksum of a message whose checksum field is 0; of one with its checksum in place it is 0 if that
# is right. ICMPv6 covers the pseudo-header too (RFC 4443 section 2.3).
cdef uint16_t icmp_checksum(
    const uint8_t* data, uint32_t length, const Addr* source, const Addr* destination
) noexcept nogil


cdef inline bint icmp4_is_error(uint8_t kind) noexcept nogil:
    """RFC 1122 section 3.2.2; with source quench, redirect and alternate host."""
    return kind == ICMP4_TIME_EXCEEDED or kind == ICMP4_PARAMETER_PROBLEM or (
        ICMP4_UNREACHABLE <= kind <= ICMP4_ALTERNATE_HOST
    )


cdef inline bint icmp6_is_error(uint8_t kind) noexcept nogil:
    """RFC 4443 sections 2.1 and 2.4 (e.1), (e.2)."""
    return kind < ICMP6_ECHO or kind == ICMP6_REDIRECT
