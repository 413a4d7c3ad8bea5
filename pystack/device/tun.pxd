# TunDevice: packets to and from the Linux kernel, by a TUN interface with a virtio-net header.
# Called by: the drivers in engine/.
# RFCs: none.

from libc.stdint cimport uint32_t
from posix.uio cimport iovec
from pystack.core.memory.packet cimport Packet, PacketQueue, PacketSlab
from pystack.device.base cimport Device
from pystack.device.uring cimport Uring

cdef class TunDevice(Device):
    cdef int fd
    cdef uint32_t header_size           # of the virtio-net header before each packet; 0: none
    cdef readonly bint ours             # we made the interface, so we configure it
    cdef bint may_configure
    cdef tuple host_addresses
    cdef TunDevice first                # of the queues of one interface, if this is another one
    # Several packets by one call, where the kernel permits that. Two, as the one who reads does
    # not hold the stack's lock.
    cdef Uring reads
    cdef Uring writes
    cdef bint behind                    # the last read had no room for all that was there

    cdef ssize_t read_now(self, Packet* packet) noexcept nogil
    cdef int take(self, Packet* packet, ssize_t got) noexcept nogil
    cdef bint takes(self, const Packet* packet) noexcept nogil
    cdef int write_some(self, PacketSlab* slab, PacketQueue* queue) noexcept nogil
    cdef int gather(self, Packet* packet, iovec* parts) noexcept nogil
    cdef ssize_t write_now(self, const iovec* parts, int count) noexcept nogil
