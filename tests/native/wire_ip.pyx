# pystack.core.wire.ipv4, ipv6 and icmp for Python tests: each call sees just its bytes.
# Called by: tests/unit/test_wire_ip.py.
# RFCs: none.

from collections import namedtuple
from ipaddress import IPv4Address, IPv6Address, ip_address

from libc.stdint cimport uint8_t, uint32_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy
from pystack.core.wire cimport ipv4, ipv6
from pystack.core.wire.address cimport Addr, addr_load4, addr_load16, addr_store4, addr_store16
from pystack.core.wire.icmp cimport icmp_build_header, icmp_checksum
from pystack.core.wire.ipv4 cimport Ipv4Header, ipv4_build, ipv4_check_options, ipv4_parse
from pystack.core.wire.ipv6 cimport (
    Ipv6Fragment, Ipv6Header, Ipv6Upper, ipv6_build, ipv6_check_options, ipv6_find_upper,
    ipv6_fragment_build, ipv6_fragment_read, ipv6_parse
)

TOO_SHORT = ipv4.IPV4_TOO_SHORT
BAD_VERSION = ipv4.IPV4_BAD_VERSION
BAD_HEADER_LENGTH = ipv4.IPV4_BAD_HEADER_LENGTH
BAD_TOTAL_LENGTH = ipv4.IPV4_BAD_TOTAL_LENGTH
BAD_CHECKSUM = ipv4.IPV4_BAD_CHECKSUM
OPTIONS_GOOD = ipv4.IPV4_OPTIONS_GOOD
OPTIONS_MALFORMED = ipv4.IPV4_OPTIONS_MALFORMED
OPTIONS_SOURCE_ROUTE = ipv4.IPV4_OPTIONS_SOURCE_ROUTE
V6_TOO_SHORT = ipv6.IPV6_TOO_SHORT
V6_BAD_VERSION = ipv6.IPV6_BAD_VERSION
V6_BAD_LENGTH = ipv6.IPV6_BAD_LENGTH
SKIP = ipv6.OPTION_SKIP
DISCARD = ipv6.OPTION_DISCARD
REPORT = ipv6.OPTION_REPORT
REPORT_UNICAST = ipv6.OPTION_REPORT_UNICAST
MALFORMED = ipv6.OPTION_MALFORMED

V4 = namedtuple(
    "V4", "source destination total_length id fragment header_length tos ttl protocol"
)
V6 = namedtuple("V6", "source destination flow_label payload_length next_header hop_limit tos")
Fragment = namedtuple("Fragment", "id offset next_header more")
Upper = namedtuple("Upper", "offset named_at protocol later_fragment")


cdef class Exact:
    """Bytes in memory of exactly their size."""

    cdef uint8_t* at
    cdef uint32_t length

    def __cinit__(self, bytes data):
        self.length = len(data)
        self.at = <uint8_t*>malloc(self.length if self.length else 1)
        memcpy(self.at, <const uint8_t*>data, self.length)

    def __dealloc__(self):
        free(self.at)


cdef str v4_text(const Addr* address):
    cdef uint8_t[4] packed
    addr_store4(packed, address)
    return str(IPv4Address(packed[:4]))


cdef str v6_text(const Addr* address):
    cdef uint8_t[16] packed
    addr_store16(packed, address)
    return str(IPv6Address(packed[:16]))


cdef Addr to_addr(text):
    cdef bytes packed = ip_address(text).packed
    return addr_load4(packed) if len(packed) == 4 else addr_load16(packed)


def parse4(data):
    """The fields of an IPv4 header, or the fault."""
    cdef Exact exact = Exact(data)
    cdef Ipv4Header h
    cdef int fault = ipv4_parse(exact.at, exact.length, &h)
    if fault:
        return fault
    return V4(
        v4_text(&h.source), v4_text(&h.destination), h.total_length, h.id, h.fragment,
        h.header_length, h.tos, h.ttl, h.protocol
    )


def build4(fields):
    cdef Exact exact = Exact(bytes(20))
    cdef Ipv4Header h
    h.source = to_addr(fields.source)
    h.destination = to_addr(fields.destination)
    h.total_length = fields.total_length
    h.id = fields.id
    h.fragment = fields.fragment
    h.header_length = 20
    h.tos = fields.tos
    h.ttl = fields.ttl
    h.protocol = fields.protocol
    ipv4_build(exact.at, &h)
    return exact.at[:20]


def options4(data):
    """What is to be thought of the options of a whole header."""
    cdef Exact exact = Exact(data)
    cdef Ipv4Header h
    ipv4.ipv4_read(exact.at, &h)
    return ipv4_check_options(exact.at, &h)


def parse6(data):
    """The fields of an IPv6 header, or the fault."""
    cdef Exact exact = Exact(data)
    cdef Ipv6Header h
    cdef int fault = ipv6_parse(exact.at, exact.length, &h)
    if fault:
        return fault
    return V6(
        v6_text(&h.source), v6_text(&h.destination), h.flow_label, h.payload_length,
        h.next_header, h.hop_limit, h.tos
    )


def build6(fields):
    cdef Exact exact = Exact(bytes(40))
    cdef Ipv6Header h
    h.source = to_addr(fields.source)
    h.destination = to_addr(fields.destination)
    h.flow_label = fields.flow_label
    h.payload_length = fields.payload_length
    h.next_header = fields.next_header
    h.hop_limit = fields.hop_limit
    h.tos = fields.tos
    ipv6_build(exact.at, &h)
    return exact.at[:40]


def fragment_build(fields):
    cdef Exact exact = Exact(bytes(8))
    cdef Ipv6Fragment f
    f.id, f.offset, f.next_header, f.more = fields
    ipv6_fragment_build(exact.at, &f)
    return exact.at[:8]


def fragment_read(data):
    cdef Exact exact = Exact(data)
    cdef Ipv6Fragment f
    ipv6_fragment_read(exact.at, &f)
    return Fragment(f.id, f.offset, f.next_header, bool(f.more))


def options6(data):
    """The action of a hop-by-hop or destination header, and where the option is that asks."""
    cdef Exact exact = Exact(data)
    cdef uint32_t at = 0
    action = <int>ipv6_check_options(exact.at, exact.length, &at)
    return action, at


def find_upper(data):
    """Where the upper-layer header is, or None."""
    cdef Exact exact = Exact(data)
    cdef Ipv6Upper upper
    if ipv6_find_upper(exact.at, exact.length, &upper) < 0:
        return None
    return Upper(upper.offset, upper.named_at, upper.protocol, bool(upper.later_fragment))


def icmp_header(kind, code, second_word):
    cdef Exact exact = Exact(bytes(8))
    icmp_build_header(exact.at, kind, code, second_word)
    return exact.at[:8]


def icmp_sum(data, source, destination):
    cdef Exact exact = Exact(data)
    cdef Addr ours = to_addr(source)
    cdef Addr theirs = to_addr(destination)
    return icmp_checksum(exact.at, exact.length, &ours, &theirs)
