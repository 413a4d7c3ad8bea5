# The virtual driver: a stack whose time is that of a world.
# Called by: pystack.stack, which makes it; world (act); link/ (input).
# RFCs: none.

from libc.stdint cimport uint32_t
from pystack.core.memory.packet cimport Packet, PacketSlab
from pystack.engine.engine cimport Engine
from pystack.engine.world cimport Actor

cdef class VirtualDriver(Actor):
    cdef Engine engine
    cdef bint rung              # something came in; the batch ends when the world calls
    # Takes a packet that is out of `slab`, for the stack. more: others come at this instant.
    cdef void input(self, Packet* packet, PacketSlab* slab, bint more) noexcept nogil
    cdef void turn(self) noexcept nogil
    cdef void set_mtu(self, uint32_t mtu) noexcept nogil
