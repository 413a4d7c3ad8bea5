# The virtual driver: a stack whose time is that of a world.
# Called by: pystack.stack, which makes it; world (act); link/ (input).
# RFCs: none.

from libc.stdint cimport int64_t, uint32_t
from pystack.core.memory.deadline cimport deadline_first
from pystack.core.memory.packet cimport Packet, PacketSlab, packet_free, packet_hand_over
from pystack.core.stack cimport core_advance
from pystack.engine.engine cimport Engine
from pystack.engine.world cimport Actor, World


cdef class VirtualDriver(Actor):
    """Turns a stack in virtual time: its deadline is a place in the world's queue."""

    def __cinit__(self, World world):
        world.add(self)

    def drive(self, Engine engine):
        """Say whom it turns: the engine that it was given to."""
        self.engine = engine
        self.due(self.world.now)

    def end(self):
        """Turn nothing any more: the stack is closed."""
        self.engine = None
        self.world.remove(self)

    cdef void due(self, int64_t when) noexcept nogil:
        """The stack's deadline has changed; what came in is due at once."""
        if self.engine is not None:
            Actor.due(self, self.world.now if self.rung else when)

    cdef int act(self) except -1:
        """End the batch that came in at this time, and fire what is due.

        The GIL is kept: giving it back for each batch would cost as much as the batch.
        """
        if self.engine is not None and self.engine.enter() == 0:
            self.turn()
            self.engine.give_back()
        return 0

    cdef void turn(self) noexcept nogil:
        """The same with the engine's lock, which it gives back."""
        self.rung = False
        core_advance(self.engine.core, self.world.now)
        self.engine.leave(NULL)

    cdef void input(self, Packet* packet, PacketSlab* slab, bint more) noexcept nogil:
        """Takes a packet out of another slab, and ends the batch with it, unless anything else is
        to happen at this instant, which may belong to it.
        """
        if self.engine is None or self.engine.enter() < 0:
            packet_free(slab, packet)
            return
        packet_hand_over(slab, &self.engine.core.context.slab, packet)
        self.engine.input(packet, self.world.now)
        more = more or deadline_first(&self.world.queue) <= self.world.now
        if more or self.engine.repaid != NULL:      # which is given back with the GIL
            self.rung = True
            self.engine.unlock()
        else:
            self.turn()

    cdef void set_mtu(self, uint32_t mtu) noexcept nogil:
        """Change the length of the longest packet, for connections that begin from now on."""
        if self.engine is not None and self.engine.enter() == 0:
            self.engine.core.context.mtu = mtu
            self.engine.unlock()
