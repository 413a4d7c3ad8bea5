# Extensions of ICMP errors: where they begin, and whether they are well-formed.
# Called by: icmp_input.
# RFCs: 4884 sections 4, 5 and 7.

from libc.stdint cimport uint8_t, uint32_t
from pystack.core.ip.layer cimport IcmpError

# stated: the length of the quoted packet, padding included, as the message says it; 0: not said.
# quoted: the quoted packet. error.transport and error.rest are filled in; sets error.extension_*.
cdef void icmp_extension_find(
    IcmpError* error, const uint8_t* quoted, uint32_t stated
) noexcept nogil
