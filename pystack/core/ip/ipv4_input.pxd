# IPv4 input: header, options, addresses, fragments.
# Called by: ip input.
# RFCs: 791, 1122 section 3.2.1, 7126.

from pystack.core.ip.layer cimport IpLayer, IpView
from pystack.core.memory.packet cimport Packet

# Takes the packet if it returns False. True: the packet is well-formed and to one of our addresses;
# view has its addresses, packet, ttl, tos, v6.
cdef bint ipv4_accept(IpLayer* ip, Packet* packet, IpView* view) noexcept nogil
# Takes view.packet if it returns False. True: view is complete; view.packet may be another one,
# reassembled.
cdef bint ipv4_open(IpLayer* ip, IpView* view) noexcept nogil
