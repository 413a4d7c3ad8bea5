# ICMP errors about segments of ours.
# Called by: stack.
# RFCs: 5927, 5461, 1191, 8201, 1122 section 4.2.3.9.

from pystack.core.ip.layer cimport IcmpError
from pystack.core.tcp.layer cimport TcpLayer

# The packet that error points into stays the caller's.
cdef bint tcp_error(TcpLayer* tcp, const IcmpError* error) noexcept nogil
