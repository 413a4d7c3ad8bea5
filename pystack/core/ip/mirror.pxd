# The mirror: a packet's addresses swapped in place.
# Called by: input.
# RFCs: 1071 (a sum does not depend on order).

from pystack.core.memory.packet cimport Packet

# packet: to one of our addresses, headers judged by ipv4_accept or ipv6_accept.
cdef void mirror_swap(Packet* packet) noexcept nogil
