# DatagramHandle: a UDP or echo socket as Python holds it.
# Called by: pystack.socket, which adds what is Python's: addresses as tuples, flags, constants.
# RFCs: 768; socket(7), udp(7), icmp(7).

from libc.stddef cimport size_t
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t
from pystack.core.udp.layer cimport Datagram, DatagramInfo
from pystack.core.wire.address cimport Addr
from pystack.engine.endpoint cimport Handle

# Where a datagram goes.
ctypedef struct Target:
    const Addr* address         # NULL: to whom the socket is connected
    const Addr* source          # NULL: the bound address, or the stack's choice
    uint16_t port
    uint16_t gso_size           # 0, or the size of the pieces to cut the data into
    bint more                   # of the same datagram (MSG_MORE)
    # For this one instead of the socket's:
    bint marked                 # any of these
    uint32_t flow_label         # or 0
    uint8_t ttl                 # or 0
    int tos                     # or -1

# How a socket marks its packets.
ctypedef struct Marks:
    uint32_t flow_label
    uint8_t tos
    uint8_t ttl
    uint8_t[2] multicast_ttl    # to groups, of IPv4 and IPv6

cdef class DatagramHandle(Handle):
    cdef uint16_t segment       # UDP_SEGMENT of the socket
    cdef Datagram* datagram(self) noexcept nogil
    cdef int64_t receive(
        self, uint8_t* target, size_t length, int flags, int64_t until, DatagramInfo* info
    ) noexcept nogil
    cdef int64_t transmit(
        self, const uint8_t* data, size_t length, const Target* to
    ) noexcept nogil
