# Receive queues of datagram sockets: bounded by the memory that they hold.
# Called by: udp.
# RFCs: 1122 section 4.1.

from libc.stdint cimport uint16_t, uint32_t
from pystack.core.context cimport Context
from pystack.core.memory.packet cimport Packet
from pystack.core.udp.layer cimport Datagram, DatagramInfo

# Both take the packet, whose data and length are the payload, and queue or drop it.
cdef void datagram_deliver(
    Context* context, Datagram* socket, Packet* packet, const DatagramInfo* info
) noexcept nogil
# A train: as it is if the socket has UDP_GRO, otherwise cut into datagrams of gso_size.
cdef void datagram_deliver_train(
    Context* context, Datagram* socket, Packet* packet, DatagramInfo* info, uint16_t gso_size
) noexcept nogil
# A copy in a buffer of its own, metadata and all; NULL: out of memory (counted).
cdef Packet* datagram_copy(Context* context, const Packet* packet) noexcept nogil
# What a packet counts for against queue_limit.
cdef uint32_t true_size(const Packet* packet) noexcept nogil
