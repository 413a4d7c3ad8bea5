# Node: a host or a router: a stack, its wires, and the routes between them.
# Called by: the engine of its stack (write), ways (arrive), pystack.testing (the rest).
# RFCs: 1812 sections 4.3 and 5.

from libc.stdint cimport uint32_t, uint64_t
from pystack.core.memory.packet cimport Packet, PacketQueue, PacketSlab
from pystack.core.wire.address cimport Addr
from pystack.device.base cimport Device
from pystack.engine.virtual cimport VirtualDriver
from pystack.link.way cimport Ether, Receiver, Way

ctypedef struct Route:
    Addr prefix
    int length                  # of the prefix, 0 to 128
    int port

ctypedef struct Port:
    void* way                   # out of it; one of the node's `ways`
    bint edge                   # no router is at the other end

cdef class Node(Receiver):
    cdef Ether ether
    cdef VirtualDriver driver
    cdef bint forwards              # it is a router
    cdef public bint filters        # ingress filtering (RFC 2827)
    cdef list ways                  # that it holds
    cdef Port* ports
    cdef Route* routes              # longest prefix first
    cdef int route_count
    cdef readonly uint64_t forwarded
    cdef readonly uint64_t fragmented
    cdef readonly uint64_t expired
    cdef readonly uint64_t martians
    cdef readonly uint64_t no_route
    cdef readonly uint64_t too_long
    cdef readonly uint64_t bad_headers
    cdef int route_of(self, const Addr* destination) noexcept nogil
    cdef void carry(self, PacketSlab* slab, PacketQueue* queue) noexcept nogil
    cdef void forward(self, Packet* packet, int port, bint more) noexcept nogil
    cdef void emit(self, Packet* packet, int port, bint fragile) noexcept nogil
    cdef bint is_for_us(self, const Addr* destination) noexcept nogil
    cdef void say(self, Packet* packet, int what, uint32_t mtu) noexcept nogil
    cdef void drop(self, Packet* packet) noexcept nogil

# The device of its stack.
cdef class Interface(Device):
    cdef Node node
