# What a socket's error queue keeps of an ICMP error.
# Called by: udp, tcp.
# RFCs: 4884; Linux's struct sock_extended_err.

from libc.stdint cimport int16_t, uint16_t, uint32_t
from libc.string cimport memset
from pystack.core.error_queue cimport ORIGIN_ICMP, ORIGIN_ICMP6, ErrorReport
from pystack.core.ip.layer cimport IcmpError
from pystack.core.wire.bytes cimport load16


cdef void error_report_of(
    const IcmpError* error, uint32_t header, bint extensions, ErrorReport* report
) noexcept nogil:
    """The fields of sock_extended_err, whom the packet went to, and who complains."""
    memset(report, 0, sizeof(ErrorReport))
    report.remote = error.remote
    report.offender = error.reporter
    report.port = load16(error.transport + 2)
    report.error = <int16_t>error.error
    report.origin = ORIGIN_ICMP6 if error.v6 else <int>ORIGIN_ICMP
    report.icmp_type = error.icmp_type
    report.icmp_code = error.icmp_code
    report.info = error.info
    report.ttl = error.ttl
    report.tos = error.tos
    if extensions and error.extension_at > header:
        report.extension_at = <uint16_t>(error.extension_at - header)
        report.extension_invalid = error.extension_invalid
