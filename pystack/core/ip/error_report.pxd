# What a socket's error queue keeps of an ICMP error.
# Called by: udp, tcp.
# RFCs: 4884; Linux's struct sock_extended_err.

from libc.stdint cimport uint32_t
from pystack.core.error_queue cimport ErrorReport
from pystack.core.ip.layer cimport IcmpError

# header: bytes of the quoted transport header that are not kept. extensions: where RFC 4884's are.
cdef void error_report_of(
    const IcmpError* error, uint32_t header, bint extensions, ErrorReport* report
) noexcept nogil
