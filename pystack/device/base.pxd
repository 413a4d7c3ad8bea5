# Device: where a stack's packets come from and go to. Compiled devices override read and write,
# Python ones send and perhaps receive.
# Called by: the drivers in engine/, each method as said here.
# RFCs: none.
#
# Python sees other methods than the engine: def send and receive, of a device written in Python,
# take and return lists of bytes; cdef write and read are what the engine calls, and for such a
# device they call those.

from libc.stdint cimport int64_t, uint32_t, uint64_t
from pystack.core.memory.packet cimport Packet, PacketQueue, PacketSlab
from pystack.device.inbox cimport Inbox, Notify

cdef enum:
    MTU_MIN = 68                # RFC 791: what every link has to carry
    MTU_MIN_IPV6 = 1280         # RFC 8200 section 5
    MTU_MAX = 65535
    SHARDS_MAX = 256            # MAX_TAP_QUEUES of Linux; a packet's handed_on is one byte
    # When the core reads what has come, it should still be in the cache, where read has left it.
    BATCH_BYTES = 256 << 10

cdef class Device:
    cdef readonly uint32_t mtu
    cdef readonly uint32_t features     # DeviceFeature bits: what write takes as it is
    cdef readonly bint closed
    cdef public str name
    cdef public bint trusted            # what is delivered has good checksums: do not look
    cdef public tuple local_addresses   # ipaddress objects on the other side: not for the stack
    cdef bint without_gil               # read and write run no Python code
    cdef int64_t batch_bytes            # how much it is good to read at once
    cdef int poll_fd                    # wait for input on this; -1: wait for notify. Set by attach
    cdef bint attached
    cdef bint released
    cdef bint logged                    # a failure of the Python methods was logged; others are not
    cdef uint64_t lost                  # packets dropped, those of the inbox aside
    cdef Inbox inbox
    cdef Device next_shard              # to whose stack ours hands what it does not know; None
    cdef readonly uint32_t shard_count  # of those that share one interface, this one included

    # Before the first read, with the GIL. From now on `notify(context)` is called when read has
    # something to return though poll_fd is not readable, and when the device is closed; from any
    # thread, with or without the GIL, perhaps with another stack's lock held. It may set flags and
    # write to an eventfd; it must not enter a stack.
    # OSError if the device is closed or attached already.
    cdef int attach(self, Notify notify, void* context) except -1
    # After the last read and write, with the GIL; on return, notify is called no more.
    cdef int detach(self) except -1

    # Fill up to `room` packets, each fresh from packet_new with room for PACKET_MAX bytes; return
    # how many. `room`: ask again before waiting. Fewer: wait. Negative errno: the device is gone.
    # Runs without the stack's lock and without the GIL, in one thread at a time; never blocks.
    cdef int read(self, Packet** empty, int room) noexcept nogil
    # Send everything in the queue, in order, and free it into slab. 0, or a negative errno: the
    # device is gone. Runs under the stack's lock and without the GIL, which a Python device takes:
    # so nobody may wait for the stack's lock with the GIL held.
    cdef int write(self, PacketSlab* slab, PacketQueue* queue) noexcept nogil

    # Give the next shard's stack packets of ours, to be freed into slab.
    cdef void hand_on(self, PacketSlab* slab, PacketQueue* strays) noexcept nogil
    # Give back what the OS lent; called once, with the GIL, when closed and attached no more.
    cdef int release(self) except -1
    cdef int pull(self) noexcept
    cdef void push(self, PacketSlab* slab, PacketQueue* pieces) noexcept
    cdef void log_once(self, str what, object problem)


# Free a queue that a device which is gone cannot send; returns -errno for write to return.
cdef int device_gone(PacketSlab* slab, PacketQueue* queue, int errno) noexcept nogil
