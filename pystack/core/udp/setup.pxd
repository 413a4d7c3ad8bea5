# UDP setup: makes and releases the datagram layer.
# Called by: stack.
# RFCs: none.

from pystack.core.ip.layer cimport IpLayer
from pystack.core.udp.layer cimport UdpLayer

cdef void udp_init(UdpLayer* udp, IpLayer* ip) noexcept nogil
# Closes every socket that is still open.
cdef void udp_release(UdpLayer* udp) noexcept nogil
