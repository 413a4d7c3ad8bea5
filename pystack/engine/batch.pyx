# Batch: packets that a driver holds to read into, and moves from the device to the core.
# Called by: turn, thread, loop, caller.
# RFCs: none.

from libc.stdint cimport int64_t
from libc.string cimport memcpy, memmove, memset
from pystack.core.context cimport FEATURE_TSO4, FEATURE_TSO6, count_many
from pystack.core.counters cimport Counter
from pystack.core.memory.packet cimport (
    PACKET_MAX,
    Packet,
    PacketSlab,
    packet_free,
    packet_new,
    packet_slab_release,
)
from pystack.device.base cimport Device
from pystack.device.coalescing cimport packets_coalesce
from pystack.engine.engine cimport Engine


cdef void batch_refill(Batch* batch, Engine engine) noexcept nogil:
    """Have a packet of full size in every place, as far as there is memory.

    New ones come first: they were freed last, and their memory is in the cache.
    """
    cdef Packet* fresh[BATCH]
    cdef int count = 0
    while batch.ready + count < BATCH:
        fresh[count] = packet_new(&engine.core.context.slab, PACKET_MAX)
        if fresh[count] == NULL:
            break
        count += 1
    if count == 0:
        return
    memmove(batch.packets + count, batch.packets, batch.ready * sizeof(Packet*))
    memcpy(batch.packets, fresh, count * sizeof(Packet*))
    batch.ready += count
    engine.lent += count


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


cdef int batch_room(const Batch* batch) noexcept nogil:
    return min(batch.ready, batch.share) if batch.share else batch.ready


cdef int batch_read(Batch* batch, Engine engine, int room) noexcept nogil:
    """Read up to `room` packets; how many were filled, or a negative errno."""
    if engine.device is None or room == 0:
        return 0
    return engine.device.read(batch.packets, room)


cdef inline bint has_trains(Device device) noexcept nogil:
    """Of both families: its packets are as large as they can be."""
    return device.features & (FEATURE_TSO4 | FEATURE_TSO6) == (FEATURE_TSO4 | FEATURE_TSO6)


cdef void batch_input(Batch* batch, Engine engine, int filled, int64_t now) noexcept nogil:
    """Give the first `filled` packets to the core; the others move up."""
    cdef int64_t total = 1
    cdef int i, left
    if filled == 0:
        return
    for i in range(filled):
        total += batch.packets[i].length
    batch.share = <int>max(
        <int64_t>BATCH_LEAST, min(<int64_t>BATCH, engine.device.batch_bytes * filled // total))
    # A capture shows what came.
    if filled > 1 and not has_trains(engine.device) and engine.capture is None:
        left = packets_coalesce(batch.packets, filled)
        count_many(&engine.core.context, Counter.PACKETS_JOINED, filled - left)
        filled = left
    for i in range(filled):
        engine.input(batch.packets[i], now)
    batch.ready -= filled
    engine.lent -= filled
    memmove(batch.packets, batch.packets + filled, batch.ready * sizeof(Packet*))
