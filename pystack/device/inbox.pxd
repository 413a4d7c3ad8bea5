# Inbox: packets that other threads hand to a device, until its stack reads them; bounded,
# thread-safe, no OS calls.
# Called by: base (packets delivered by Python, or handed on by another shard), tun, pipe (packets
# of the stack at the other end).
# RFCs: none.

from cpython.pythread cimport PyThread_type_lock
from libc.stdint cimport uint64_t
from pystack.core.memory.packet cimport Packet, PacketQueue, PacketSlab

# Wakes whoever reads. Called from any thread, with the inbox locked: it may set flags and write
# to an eventfd, but neither enter a stack nor touch the inbox.
ctypedef void (*Notify)(void* context) noexcept nogil

cdef enum:
    INBOX_LIMIT = 16 << 20      # bytes of buffers; beyond it packets are lost, as on any full link

# Everything belongs to who holds the lock.
ctypedef struct Inbox:
    PyThread_type_lock lock
    PacketSlab slab
    PacketQueue queue
    uint64_t held               # bytes of buffers of the packets in the queue
    uint64_t dropped            # packets lost because the inbox was full
    Notify notify               # NULL: nobody is attached
    void* context

# 0, or -1 when out of memory. This and inbox_release need the GIL.
cdef int inbox_open(Inbox* inbox) noexcept
cdef void inbox_release(Inbox* inbox) noexcept
# Drop what is queued, and free memory; the inbox stays usable.
cdef void inbox_clear(Inbox* inbox) noexcept nogil
# Say whom to wake (NULL: nobody); told at once if packets wait already. On return, who was
# attached before is told no more.
cdef void inbox_attach(Inbox* inbox, Notify notify, void* context) noexcept nogil
cdef void inbox_wake(Inbox* inbox) noexcept nogil
# Copy a list of packets, their borrowed bytes and metadata included; the originals stay the
# caller's. Tells whoever is attached.
cdef void inbox_put(Inbox* inbox, const Packet* first) noexcept nogil
# Move up to `room` packets into the empty ones, and return how many.
cdef int inbox_take(Inbox* inbox, Packet** empty, int room) noexcept nogil
