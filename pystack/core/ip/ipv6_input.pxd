# IPv6 input: header, addresses, extension headers, fragments.
# Called by: ip input.
# RFCs: 8200, 4291 section 2.5, 5722, 6946, 7112.

from pystack.core.ip.layer cimport IpLayer, IpView
from pystack.core.memory.packet cimport Packet

# Takes the packet if it returns False. True: its fixed header is good and it is to one of our
# addresses; view has its addresses, packet, ttl, tos, v6.
cdef bint ipv6_accept(IpLayer* ip, Packet* packet, IpView* view) noexcept nogil
# Takes view.packet if it returns False. True: view is complete; view.packet may be another one,
# reassembled.
cdef bint ipv6_open(IpLayer* ip, IpView* view) noexcept nogil
