# IGMP and MLD messages: bytes <-> fields; no state. The two differ in little but their addresses.
# Called by: ip membership_query, membership_message.
# RFCs: 1112, 2236, 3376 section 4, 2710 section 3, 3810 section 5.

from libc.stdint cimport int64_t, uint8_t, uint32_t
from pystack.core.wire.address cimport Addr

cdef enum MembershipType:
    IGMP_QUERY = 0x11
    IGMP_REPORT_1 = 0x12
    IGMP_REPORT_2 = 0x16
    IGMP_LEAVE = 0x17
    IGMP_REPORT_3 = 0x22
    MLD_QUERY = 130
    MLD_REPORT_1 = 131
    MLD_DONE = 132
    MLD_REPORT_2 = 143

# Of a group record (RFC 3376 section 4.2.12).
cdef enum RecordType:
    RECORD_IS_INCLUDE = 1
    RECORD_IS_EXCLUDE = 2
    RECORD_TO_INCLUDE = 3
    RECORD_TO_EXCLUDE = 4
    RECORD_ALLOW = 5
    RECORD_BLOCK = 6

cdef enum:
    MEMBERSHIP_HEADER_LENGTH = 8    # of a report of version 3 (MLD: 2), before its records
    RECORD_HEADER_LENGTH = 4        # before the group
    IGMP_LENGTH = 8                 # of IGMPv1 and v2
    MLD_LENGTH = 24                 # of MLDv1

ctypedef struct MembershipQuery:
    Addr group                  # unspecified: about all groups
    int64_t response_ns         # within which to answer
    const uint8_t* sources
    uint32_t source_count
    uint8_t version             # 1, 2, 3 as IGMP counts; of MLD 2 and 3
    uint8_t robustness          # 0: not said

# Read a query, whose type and checksum have been looked at: 0; -1: of no length that there is.
cdef int membership_query_read(
    const uint8_t* data, uint32_t length, bint v6, MembershipQuery* query
) noexcept nogil
cdef Addr membership_source(const MembershipQuery* query, uint32_t index, bint v6) noexcept nogil
