# Capture: shows every packet to a Python object as on a wire: trains cut, checksums in full.
# Called by: engine, with the stack's lock held.
# RFCs: none.

from libc.stdint cimport int64_t
from pystack.core.memory.packet cimport Packet, PacketQueue, PacketSlab

cdef class Capture:
    cdef object writer          # has write(packet, time_ns, outbound); None once it has failed
    cdef int64_t epoch          # added to the stack's time
    cdef PacketQueue seen       # copies that the writer has yet to get

    # Copies the packet, which stays the caller's. Out of memory: it is missing from the capture.
    cdef void see(self, PacketSlab* slab, const Packet* packet, bint outbound) noexcept nogil
    # Takes the GIL, once for all that was seen.
    cdef void deliver(self, PacketSlab* slab, int64_t now) noexcept nogil
    cdef void write(self, PacketSlab* slab, int64_t now) noexcept
