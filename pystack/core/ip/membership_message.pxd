# IGMP and MLD messages out: built record by record, sent when full.
# Called by: membership_report.
# RFCs: 3376 section 4.2, 3810 section 5.2, 2236, 2710.

from libc.stdint cimport uint8_t, uint32_t
from pystack.core.ip.layer cimport IpLayer
from pystack.core.memory.packet cimport Packet
from pystack.core.wire.address cimport Addr

# A report of version 3 (MLD: 2) in the making. `packet` is NULL while there is none.
ctypedef struct ReportWriter:
    Packet* packet
    uint32_t limit              # bytes of a message
    uint32_t records
    uint32_t record_at          # where the record in the making begins
    uint32_t sources            # in it
    bint v6

cdef void report_begin(IpLayer* ip, ReportWriter* writer, bint v6) noexcept nogil
# Begin a record; what is full is sent first.
cdef void report_record(
    IpLayer* ip, ReportWriter* writer, uint8_t kind, const Addr* group
) noexcept nogil
# Add a source to the record, or to another of the same kind in another message. A list of excluded
# sources is cut short instead (RFC 3376 section 4.2.16).
cdef void report_source(
    IpLayer* ip, ReportWriter* writer, uint8_t kind, const Addr* group, const Addr* source
) noexcept nogil
# Send what there is.
cdef void report_finish(IpLayer* ip, ReportWriter* writer) noexcept nogil
# A message of IGMPv1, IGMPv2 or MLDv1, about a group.
cdef void membership_message_send(
    IpLayer* ip, uint8_t kind, const Addr* group, const Addr* destination
) noexcept nogil
