# Packets: the buffer of one IP packet or one train, its offload metadata, and the slab for both.
# Called by: every layer; a packet has exactly one owner, who passes it on or frees it.
# RFCs: none.

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

cdef enum CsumState:
    CSUM_FULL = 0       # the checksum in the packet is meant to be complete; nobody has verified it
    CSUM_VERIFIED = 1   # known good, need not be looked at
    # The field holds the pseudo-header sum; to be completed over [csum_start, end).
    # Received so: the sender is on this machine and the bytes never left it; trusted.
    CSUM_PARTIAL = 2

cdef enum GsoType:
    GSO_NONE = 0
    GSO_TCP4 = 1
    GSO_TCP6 = 2
    GSO_UDP4 = 3
    GSO_UDP6 = 4

cdef enum:
    PACKET_HEADROOM = 96        # before data: IP header with options, virtio-net header
    # Largest packet that a device carries, and longest train. Within the stack IPv6 packets that
    # were reassembled, or are about to be cut, have up to 40 bytes more.
    PACKET_MAX = 65535
    PACKET_CLASSES = 3

ctypedef struct Packet:
    Packet* next                # queue link; the owner's
    uint8_t* data               # first byte (of the transport header until ip_output prepends)
    uint32_t length             # bytes at data
    uint32_t capacity           # bytes of buffer, headroom included
    # tx only: bytes that follow data, lent by a send ring; valid until the stack is next entered
    const uint8_t* borrowed[2]
    uint32_t borrowed_length[2]
    uint8_t control[64]         # the current owner's notes (a socket queue: who sent it); 8-aligned
    uint16_t csum_start         # from data; with CSUM_PARTIAL
    uint16_t csum_offset        # from csum_start
    uint16_t gso_size           # payload bytes of each piece; with gso != GSO_NONE
    uint8_t gso                 # GsoType
    uint8_t csum                # CsumState
    uint8_t size_class
    uint8_t handed_on           # how many other shards have looked at it before

ctypedef struct PacketQueue:
    Packet* first
    Packet* last
    uint32_t count

ctypedef struct PacketSlab:
    Packet* free[PACKET_CLASSES]
    uint32_t free_count[PACKET_CLASSES]
    uint64_t live               # packets handed out and not yet freed

# Packet with room for `size` bytes after PACKET_HEADROOM; length 0, metadata cleared.
# NULL: out of memory.
cdef Packet* packet_new(PacketSlab* slab, uint32_t size) noexcept nogil
# As packet_new, in little more memory than that: for a packet that is to wait in a queue.
cdef Packet* packet_new_snug(PacketSlab* slab, uint32_t size) noexcept nogil
cdef void packet_free(PacketSlab* slab, Packet* packet) noexcept nogil
# Another slab's from now on.
cdef void packet_hand_over(PacketSlab* giver, PacketSlab* taker, Packet* packet) noexcept nogil
cdef void packet_slab_release(PacketSlab* slab) noexcept nogil
# Bring borrowed bytes into the buffer itself; returns the packet (a larger one if it had to move;
# the old one is freed), or NULL when out of memory (the old one is freed too).
cdef Packet* packet_linearize(PacketSlab* slab, Packet* packet) noexcept nogil
cdef void packet_queue_release(PacketSlab* slab, PacketQueue* queue) noexcept nogil


cdef inline uint8_t* packet_buffer(Packet* packet) noexcept nogil:
    return <uint8_t*>packet + sizeof(Packet)


cdef inline uint32_t packet_headroom(Packet* packet) noexcept nogil:
    return <uint32_t>(packet.data - packet_buffer(packet))


cdef inline uint32_t packet_tailroom(Packet* packet) noexcept nogil:
    return packet.capacity - packet_headroom(packet) - packet.length


cdef inline uint32_t packet_total(const Packet* packet) noexcept nogil:
    """Length with the borrowed bytes."""
    return packet.length + packet.borrowed_length[0] + packet.borrowed_length[1]


cdef inline void packet_push(PacketQueue* queue, Packet* packet) noexcept nogil:
    packet.next = NULL
    if queue.last != NULL:
        queue.last.next = packet
    else:
        queue.first = packet
    queue.last = packet
    queue.count += 1


cdef inline Packet* packet_pop(PacketQueue* queue) noexcept nogil:
    cdef Packet* packet = queue.first
    if packet != NULL:
        queue.first = packet.next
        if queue.first == NULL:
            queue.last = NULL
        queue.count -= 1
        packet.next = NULL
    return packet
