# The error queue of a socket: what ICMP said about packets that it sent, each with what was quoted.
# Called by: udp, tcp, which fill it; engine, which reads it for recvmsg with MSG_ERRQUEUE.
# RFCs: 4884; Linux's IP_RECVERR, IP_RECVERR_RFC4884 (ip(7)).

from libc.stdint cimport int16_t, uint8_t, uint16_t, uint32_t
from pystack.core.memory.packet cimport Packet, PacketQueue, PacketSlab
from pystack.core.wire.address cimport Addr

cdef enum ErrorOrigin:
    ORIGIN_LOCAL = 1            # Linux's SO_EE_ORIGIN_*
    ORIGIN_ICMP = 2
    ORIGIN_ICMP6 = 3

# One error: Packet.control of a packet in the queue, whose data is what was quoted of the payload.
ctypedef struct ErrorReport:
    Addr remote                 # whom the offending packet went to
    Addr offender               # who sent the error; unspecified if this stack itself
    uint32_t info               # an MTU, a pointer, or what else ICMP says in its second word
    uint16_t port               # the remote one
    uint16_t extension_at       # offset of RFC 4884's extensions in the data; 0: none
    int16_t error               # errno
    uint8_t origin              # ErrorOrigin
    uint8_t icmp_type
    uint8_t icmp_code
    uint8_t extension_invalid   # RFC 4884: they are there, but broken
    uint8_t ttl                 # of the packet that brought the error
    uint8_t tos

ctypedef struct ErrorQueue:
    PacketQueue packets
    uint32_t bytes              # of memory that they hold

# Copy an error and what it quotes into a queue, which is made if there is none. `room`: bytes of
# memory that the queue may hold in all. 0; -ENOBUFS: no room; -ENOMEM.
cdef int error_queue_add(
    PacketSlab* slab, ErrorQueue** queue, const ErrorReport* report, const uint8_t* data,
    uint32_t length, uint32_t room
) noexcept nogil
# The oldest error, from now on the caller's; NULL: none.
cdef Packet* error_queue_take(ErrorQueue* queue, ErrorReport* report) noexcept nogil
# Free a queue and what is in it.
cdef void error_queue_release(PacketSlab* slab, ErrorQueue** queue) noexcept nogil


cdef inline bint error_queue_is_empty(const ErrorQueue* queue) noexcept nogil:
    return queue == NULL or queue.packets.first == NULL


cdef inline int error_queue_next(const ErrorQueue* queue) noexcept nogil:
    """The errno of the oldest error that is left; 0: none."""
    if queue == NULL or queue.packets.first == NULL:
        return 0
    return (<const ErrorReport*>queue.packets.first.control).error
