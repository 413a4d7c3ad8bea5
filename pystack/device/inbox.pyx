# Inbox: packets that other threads hand to a device, until its stack reads them; bounded,
# thread-safe, no OS calls.
# Called by: base (packets delivered by Python, or handed on by another shard), tun, pipe (packets
# of the stack at the other end).
# RFCs: none.

from cpython.pythread cimport (
    WAIT_LOCK,
    PyThread_acquire_lock,
    PyThread_allocate_lock,
    PyThread_free_lock,
    PyThread_release_lock,
)
from libc.stdint cimport uint8_t, uint32_t
from libc.string cimport memcpy, memset
from pystack.core.memory.check cimport check
from pystack.core.memory.packet cimport (
    Packet,
    PacketQueue,
    packet_new,
    packet_pop,
    packet_push,
    packet_queue_release,
    packet_slab_release,
    packet_tailroom,
    packet_total,
)


cdef inline void lock(Inbox* inbox) noexcept nogil:
    PyThread_acquire_lock(inbox.lock, WAIT_LOCK)


cdef inline void unlock(Inbox* inbox) noexcept nogil:
    PyThread_release_lock(inbox.lock)


cdef int inbox_open(Inbox* inbox) noexcept:
    """Make an empty inbox; 0, or -1 when out of memory."""
    memset(inbox, 0, sizeof(Inbox))
    inbox.lock = PyThread_allocate_lock()
    return 0 if inbox.lock != NULL else -1


cdef void inbox_release(Inbox* inbox) noexcept:
    """Free everything; nobody may use the inbox any more."""
    if inbox.lock == NULL:
        return
    inbox_clear(inbox)
    PyThread_free_lock(inbox.lock)
    inbox.lock = NULL


cdef void inbox_clear(Inbox* inbox) noexcept nogil:
    """Drop what is queued, and free memory; the inbox stays usable."""
    lock(inbox)
    packet_queue_release(&inbox.slab, &inbox.queue)
    packet_slab_release(&inbox.slab)
    inbox.held = 0
    unlock(inbox)


cdef void inbox_attach(Inbox* inbox, Notify notify, void* context) noexcept nogil:
    """Say whom to wake (NULL: nobody); told at once if packets wait already.

    On return, who was attached before is told no more.
    """
    lock(inbox)
    inbox.notify = notify
    inbox.context = context
    if notify != NULL and inbox.queue.first != NULL:
        notify(context)
    unlock(inbox)


cdef void inbox_wake(Inbox* inbox) noexcept nogil:
    """Tell whoever is attached to look at the device."""
    lock(inbox)
    if inbox.notify != NULL:
        inbox.notify(inbox.context)
    unlock(inbox)


cdef Packet* inbox_reserve(Inbox* inbox, uint32_t size) noexcept nogil:
    """Return a packet for `size` bytes; NULL, and a drop counted, if the inbox is full."""
    cdef Packet* packet = NULL
    lock(inbox)
    if inbox.held < INBOX_LIMIT:
        packet = packet_new(&inbox.slab, size)
    if packet != NULL:
        inbox.held += packet.capacity
    else:
        inbox.dropped += 1
    unlock(inbox)
    return packet


cdef inline void append(Packet* copy, const uint8_t* data, uint32_t length) noexcept nogil:
    if length:
        memcpy(copy.data + copy.length, data, length)
        copy.length += length


cdef inline void copy_metadata(Packet* copy, const Packet* packet) noexcept nogil:
    copy.csum = packet.csum
    copy.csum_start = packet.csum_start
    copy.csum_offset = packet.csum_offset
    copy.gso = packet.gso
    copy.gso_size = packet.gso_size
    copy.handed_on = packet.handed_on


cdef void inbox_put(Inbox* inbox, const Packet* first) noexcept nogil:
    """Copy a list of packets, their borrowed bytes and metadata included, outside the lock.

    Tells whoever is attached if the inbox was empty.
    """
    cdef PacketQueue copies
    cdef Packet* copy
    memset(&copies, 0, sizeof(copies))
    while first != NULL:
        copy = inbox_reserve(inbox, packet_total(first))
        if copy != NULL:
            append(copy, first.data, first.length)
            append(copy, first.borrowed[0], first.borrowed_length[0])
            append(copy, first.borrowed[1], first.borrowed_length[1])
            copy_metadata(copy, first)
            packet_push(&copies, copy)
        first = first.next
    if copies.first != NULL:
        inbox_splice(inbox, &copies)


cdef void inbox_splice(Inbox* inbox, PacketQueue* packets) noexcept nogil:
    """Append packets of the inbox's own slab, at least one, to its queue."""
    cdef bint was_empty
    lock(inbox)
    was_empty = inbox.queue.first == NULL
    if was_empty:
        inbox.queue = packets[0]
    else:
        inbox.queue.last.next = packets.first
        inbox.queue.last = packets.last
        inbox.queue.count += packets.count
    if was_empty and inbox.notify != NULL:
        inbox.notify(inbox.context)
    unlock(inbox)


cdef int inbox_take(Inbox* inbox, Packet** empty, int room) noexcept nogil:
    """Move up to `room` packets into the empty ones, and return how many."""
    cdef PacketQueue taken
    cdef Packet* packet
    cdef int filled = 0
    memset(&taken, 0, sizeof(taken))
    lock(inbox)
    while inbox.queue.first != NULL and <int>taken.count < room:
        packet_push(&taken, packet_pop(&inbox.queue))
    unlock(inbox)
    packet = taken.first
    while packet != NULL:
        empty[filled].length = 0
        check(packet_tailroom(empty[filled]) >= packet.length)
        append(empty[filled], packet.data, packet.length)
        copy_metadata(empty[filled], packet)
        filled += 1
        packet = packet.next
    if taken.first != NULL:
        inbox_give_back(inbox, &taken)
    return filled


cdef void inbox_give_back(Inbox* inbox, PacketQueue* packets) noexcept nogil:
    """Free packets that inbox_take has copied from."""
    cdef Packet* packet = packets.first
    lock(inbox)
    while packet != NULL:
        inbox.held -= packet.capacity
        packet = packet.next
    packet_queue_release(&inbox.slab, packets)
    unlock(inbox)
