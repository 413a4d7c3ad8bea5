# IGMP and MLD messages: bytes <-> fields; no state. The two differ in little but their addresses.
# Called by: ip membership_query, membership_message.
# RFCs: 1112, 2236, 3376 section 4, 2710 section 3, 3810 section 5.

from libc.stdint cimport int64_t, uint8_t, uint32_t
from libc.string cimport memset
from pystack.core.wire.address cimport Addr, addr_load16, addr_load4
from pystack.core.wire.bytes cimport load16

cdef enum:
    QUERY4_LENGTH = 12          # before the sources (RFC 3376 section 4.1)
    QUERY6_LENGTH = 28          # RFC 3810 section 5.1
    ROBUSTNESS_MASK = 7

cdef int64_t MILLISECOND = 1000000
cdef int64_t TENTH = <int64_t>100 * 1000000
cdef int64_t RESPONSE_V1_NS = <int64_t>10 * 1000000000     # RFC 3376 section 4.1.1


cdef int64_t exponential(uint32_t code, int mantissa_bits) noexcept nogil:
    """A code that is itself, or with its highest bit set a floating-point number.

    RFC 3376 section 4.1.1, RFC 3810 section 5.1.3.
    """
    cdef uint32_t mantissa, exponent
    if code < <uint32_t>1 << (mantissa_bits + 3):
        return code
    mantissa = code & ((1 << mantissa_bits) - 1)
    exponent = code >> mantissa_bits & 7
    return <int64_t>(mantissa | 1 << mantissa_bits) << (exponent + 3)


cdef int query4_read(const uint8_t* data, uint32_t length, MembershipQuery* query) noexcept nogil:
    if length < IGMP_LENGTH or IGMP_LENGTH < length < QUERY4_LENGTH:
        return -1
    query.group = addr_load4(data + 4)
    query.version = 3
    if length == IGMP_LENGTH:
        # RFC 3376 section 7.1.
        query.version = 2 if data[1] else 1
        query.response_ns = data[1] * TENTH if data[1] else RESPONSE_V1_NS
        return 0
    query.response_ns = exponential(data[1], 4) * TENTH
    query.robustness = data[8] & ROBUSTNESS_MASK
    query.source_count = load16(data + 10)
    query.sources = data + QUERY4_LENGTH
    return -1 if query.source_count * 4 > length - QUERY4_LENGTH else 0


cdef int query6_read(const uint8_t* data, uint32_t length, MembershipQuery* query) noexcept nogil:
    if length < MLD_LENGTH or MLD_LENGTH < length < QUERY6_LENGTH:
        return -1
    query.group = addr_load16(data + 8)
    query.version = 3
    if length == MLD_LENGTH:
        # RFC 3810 section 8.1.
        query.version = 2
        query.response_ns = load16(data + 4) * MILLISECOND
        return 0
    query.response_ns = exponential(load16(data + 4), 12) * MILLISECOND
    query.robustness = data[24] & ROBUSTNESS_MASK
    query.source_count = load16(data + 26)
    query.sources = data + QUERY6_LENGTH
    return -1 if query.source_count * 16 > length - QUERY6_LENGTH else 0


cdef int membership_query_read(
    const uint8_t* data, uint32_t length, bint v6, MembershipQuery* query
) noexcept nogil:
    """The fields of a query of any version."""
    memset(query, 0, sizeof(MembershipQuery))
    if v6:
        return query6_read(data, length, query)
    return query4_read(data, length, query)


cdef Addr membership_source(const MembershipQuery* query, uint32_t index, bint v6) noexcept nogil:
    """One of the sources that a query asks for."""
    if v6:
        return addr_load16(query.sources + 16 * index)
    return addr_load4(query.sources + 4 * index)
