# Batch: packets that a driver holds to read into, and moves from the device to the core.
# Called by: turn, thread, loop, caller.
# RFCs: none.

from libc.stdint cimport int64_t
from pystack.core.memory.packet cimport Packet, PacketSlab
from pystack.engine.engine cimport Engine

cdef enum:
    BATCH = 64
    BATCH_LEAST = 4             # of the largest

ctypedef struct Batch:          # all zero: empty
    Packet* packets[BATCH]
    int ready                   # how many there are, from the front
    int share                   # how many to read at once, as sizes have been; 0: not known yet

# All with the stack's lock held, but batch_read and batch_end, which must not have it.
# Have packets of full size, BATCH of them or as many as there is memory for.
cdef void batch_refill(Batch* batch, Engine engine) noexcept nogil
# Free them; slab: the stack's, or, if that is closed, one of the caller's.
cdef void batch_give_back(Batch* batch, Engine engine, PacketSlab* slab) noexcept nogil
# Free them all, also if the stack was closed meanwhile.
cdef void batch_end(Batch* batch, Engine engine) noexcept nogil
# How many it is good to read at once.
cdef int batch_room(const Batch* batch) noexcept nogil
# Read up to `room` <= batch_room packets. How many are now filled, or a negative errno: the device
# is gone.
cdef int batch_read(Batch* batch, Engine engine, int room) noexcept nogil
# Give the filled ones to the core.
cdef void batch_input(Batch* batch, Engine engine, int filled, int64_t now) noexcept nogil
