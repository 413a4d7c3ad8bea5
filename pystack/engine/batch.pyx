# Batch: packets that a driver holds to read into, and moves from the device to the core.
# Called by: turn, thread, loop, caller.
# RFCs: none.

from libc.stdint cimport int64_t
from libc.string cimport memset
from pystack.core.memory.packet cimport (
    PACKET_MAX,
    PacketSlab,
    packet_free,
    packet_new,
    packet_slab_release,
)
from pystack.engine.engine cimport Engine


cdef void batch_refill(Batch* batch, Engine engine) noexcept nogil:
    """Have a packet of full size in every place, as far as there is memory."""
    while batch.ready < BATCH:
        batch.packets[batch.ready] = packet_new(&engine.core.context.slab, PACKET_MAX)
        if batch.packets[batch.ready] == NULL:
            return
        batch.ready += 1
        engine.lent += 1


cdef void batch_give_back(Batch* batch, Engine engine, PacketSlab* slab) noexcept nogil:
    """Free them all."""
    engine.lent -= batch.ready
    while batch.ready > 0:
        batch.ready -= 1
        packet_free(slab, batch.packets[batch.ready])


cdef void batch_end(Batch* batch, Engine engine) noexcept nogil:
    """Free what was not filled, also if the stack was closed meanwhile."""
    cdef PacketSlab slab
    if engine.lock() == 0:
        if engine.core != NULL:
            batch_give_back(batch, engine, &engine.core.context.slab)
        engine.unlock()
    memset(&slab, 0, sizeof(slab))
    slab.live = batch.ready
    batch_give_back(batch, engine, &slab)
    packet_slab_release(&slab)


cdef int batch_read(Batch* batch, Engine engine) noexcept nogil:
    """Read as much as there are packets; how many were filled, or a negative errno."""
    if engine.device is None or batch.ready == 0:
        return 0
    return engine.device.read(batch.packets, batch.ready)


cdef void batch_input(Batch* batch, Engine engine, int filled, int64_t now) noexcept nogil:
    """Give the first `filled` packets to the core; the others move up."""
    cdef int i
    for i in range(filled):
        engine.input(batch.packets[i], now)
    for i in range(filled, batch.ready):
        batch.packets[i - filled] = batch.packets[i]
    batch.ready -= filled
    engine.lent -= filled
