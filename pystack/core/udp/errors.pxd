# ICMP errors about datagrams of ours: to the socket that sent them, and into its error queue.
# Called by: stack; datagram, for errors of our own.
# RFCs: 1122 section 4.1.3.3, 792, 4443, 4884; Linux's IP_RECVERR.

from libc.stdint cimport uint16_t
from pystack.core.ip.layer cimport IcmpError, IpSend
from pystack.core.udp.layer cimport Datagram, UdpLayer

# The packet that error points into stays the caller's.
cdef bint udp_error(UdpLayer* udp, const IcmpError* error) noexcept nogil
# A datagram that may not be cut was larger than the path MTU: say so to who asks for errors.
cdef void too_big_report(
    UdpLayer* udp, Datagram* socket, const IpSend* send, uint16_t port
) noexcept nogil
