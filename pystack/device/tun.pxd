# TunDevice: packets to and from the Linux kernel, by a TUN interface with a virtio-net header.
# Called by: the drivers in engine/.
# RFCs: none.

from libc.stdint cimport uint32_t
from pystack.core.memory.packet cimport Packet, PacketSlab
from pystack.device.base cimport Device

cdef class TunDevice(Device):
    cdef int fd
    cdef uint32_t header_size           # of the virtio-net header before each packet; 0: none
    cdef readonly bint ours             # we made the interface, so we configure it
    cdef bint may_configure
    cdef tuple host_addresses
    cdef TunDevice first                # of the queues of one interface, if this is another one

    cdef int read_one(self, Packet* packet) noexcept nogil
    cdef int write_one(self, Packet* packet) noexcept nogil
    cdef bint takes(self, const Packet* packet) noexcept nogil
