# Packet slab: three sizes, a bounded number of free packets kept of each; larger ones by malloc.
# Called by: every layer; a packet has exactly one owner, who passes it on or frees it.
# RFCs: none.

from libc.stddef cimport size_t
from libc.stdint cimport uint8_t, uint32_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, memset
from pystack.core.memory.check cimport check
from pystack.core.memory.poison cimport poison, unpoison

cdef enum:
    SMALL = 256             # an ACK, a SYN, a DNS query
    MEDIUM = 2048           # a full packet at the usual MTU
    LARGE = 65536 + 512     # a train: PACKET_MAX, and what a device may put around it
    CLASS_LARGE = 2
    NOT_CACHED = PACKET_CLASSES

# Together at most 5 MiB of free packets per stack.
cdef uint32_t[PACKET_CLASSES] ROOM = [SMALL, MEDIUM, LARGE]
cdef uint32_t[PACKET_CLASSES] KEEP = [256, 256, 64]


cdef inline uint8_t class_for(uint32_t size) noexcept nogil:
    cdef uint8_t size_class = 0
    while size_class < PACKET_CLASSES and size > ROOM[size_class]:
        size_class += 1
    return size_class


cdef inline size_t size_of(uint8_t size_class) noexcept nogil:
    """Bytes of a packet of this class, all told."""
    return sizeof(Packet) + PACKET_HEADROOM + ROOM[size_class]


cdef Packet* packet_allocate(uint32_t capacity) noexcept nogil:
    return <Packet*>malloc(sizeof(Packet) + <size_t>capacity)


cdef Packet* packet_reuse(PacketSlab* slab, uint8_t size_class) noexcept nogil:
    """Take a packet off a free list, or NULL."""
    cdef Packet* packet = slab.free[size_class]
    if packet != NULL:
        unpoison(packet, size_of(size_class))
        slab.free[size_class] = packet.next
        slab.free_count[size_class] -= 1
    return packet


cdef Packet* packet_of_class(PacketSlab* slab, uint32_t size, uint8_t size_class) noexcept nogil:
    """Return a packet of a class, or with NOT_CACHED of just this size."""
    cdef Packet* packet = NULL
    cdef uint32_t capacity
    if size > <uint32_t>0xFFFFFFFF - PACKET_HEADROOM:
        return NULL
    if size_class != NOT_CACHED:
        size = ROOM[size_class]
        packet = packet_reuse(slab, size_class)
    capacity = PACKET_HEADROOM + size
    if packet == NULL:
        packet = packet_allocate(capacity)
    if packet == NULL:
        return NULL
    memset(packet, 0, sizeof(Packet))
    packet.size_class = size_class
    packet.capacity = capacity
    packet.data = packet_buffer(packet) + PACKET_HEADROOM
    slab.live += 1
    return packet


cdef Packet* packet_new(PacketSlab* slab, uint32_t size) noexcept nogil:
    """Return a packet with room for `size` bytes after PACKET_HEADROOM, length 0, metadata cleared.

    NULL: out of memory. The buffer holds whatever it held before.
    """
    return packet_of_class(slab, size, class_for(size))


cdef Packet* packet_new_snug(PacketSlab* slab, uint32_t size) noexcept nogil:
    """As packet_new, in little more memory than that: for a packet that is to wait in a queue."""
    cdef uint8_t size_class = class_for(size)
    return packet_of_class(slab, size, NOT_CACHED if size_class == CLASS_LARGE else size_class)


cdef inline void keep(PacketSlab* slab, Packet* packet, uint8_t size_class) noexcept nogil:
    packet.next = slab.free[size_class]
    slab.free[size_class] = packet
    slab.free_count[size_class] += 1
    poison(packet, size_of(size_class))


cdef void packet_free(PacketSlab* slab, Packet* packet) noexcept nogil:
    """Give a packet back; only its owner may, and once."""
    cdef uint8_t size_class = packet.size_class
    check(slab.live > 0)
    slab.live -= 1
    if size_class == NOT_CACHED or slab.free_count[size_class] >= KEEP[size_class]:
        free(packet)
        return
    keep(slab, packet, size_class)


cdef void packet_hand_over(PacketSlab* giver, PacketSlab* taker, Packet* packet) noexcept nogil:
    """Count a packet as the taker's, who gives a free one of the same size for it.

    So what one stack sends and another one frees comes back, and neither allocates.
    """
    cdef uint8_t size_class = packet.size_class
    cdef Packet* other
    check(giver.live > 0)
    giver.live -= 1
    taker.live += 1
    if size_class == NOT_CACHED or giver.free_count[size_class] >= KEEP[size_class]:
        return
    other = packet_reuse(taker, size_class)
    if other != NULL:
        keep(giver, other, size_class)


cdef void packet_slab_release(PacketSlab* slab) noexcept nogil:
    """Free the packets that nobody holds; those still out (`live`) stay their owners'."""
    cdef uint8_t size_class
    cdef Packet* packet
    for size_class in range(PACKET_CLASSES):
        packet = packet_reuse(slab, size_class)
        while packet != NULL:
            free(packet)
            packet = packet_reuse(slab, size_class)


cdef Packet* packet_moved(PacketSlab* slab, const Packet* packet) noexcept nogil:
    """Return a copy of a packet in a buffer with room for its borrowed bytes too, or NULL."""
    cdef Packet* larger = packet_new(slab, packet_total(packet))
    cdef Packet fresh
    if larger == NULL:
        return NULL
    fresh = larger[0]
    larger[0] = packet[0]
    larger.data = fresh.data
    larger.capacity = fresh.capacity
    larger.size_class = fresh.size_class
    memcpy(larger.data, packet.data, packet.length)
    return larger


cdef void packet_take_in(Packet* packet, int part) noexcept nogil:
    """Append a borrowed part to the packet's own bytes; there is room."""
    if packet.borrowed_length[part] != 0:
        memcpy(packet.data + packet.length, packet.borrowed[part], packet.borrowed_length[part])
    packet.length += packet.borrowed_length[part]
    packet.borrowed[part] = NULL
    packet.borrowed_length[part] = 0


cdef Packet* packet_linearize(PacketSlab* slab, Packet* packet) noexcept nogil:
    """Bring borrowed bytes into the buffer; return the packet, or a larger one that replaces it.

    NULL: out of memory. Unless the packet itself is returned, it is freed.
    """
    cdef Packet* whole = packet
    if packet_total(packet) - packet.length > packet_tailroom(packet):
        whole = packet_moved(slab, packet)
        packet_free(slab, packet)
    if whole == NULL:
        return NULL
    packet_take_in(whole, 0)
    packet_take_in(whole, 1)
    return whole


cdef void packet_queue_release(PacketSlab* slab, PacketQueue* queue) noexcept nogil:
    """Free all packets of a queue; it is empty and usable again."""
    cdef Packet* packet = packet_pop(queue)
    while packet != NULL:
        packet_free(slab, packet)
        packet = packet_pop(queue)
