# IP input: a packet's way in: validation, reassembly, delivery.

from pystack.core.ip.layer cimport IcmpError, IpLayer, IpVerdict, IpView
from pystack.core.memory.packet cimport Packet


# Takes the packet (data at the IP header).
cdef IpVerdict ip_input(IpLayer* ip, Packet* packet, IpView* view, IcmpError* error) noexcept nogil
# Write the packet back with source and destination swapped. Takes view.packet.
cdef void ip_mirror(IpLayer* ip, IpView* view) noexcept nogil
