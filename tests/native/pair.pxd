# Two stacks in virtual time with a wire between them, for what is said of one of them: `near`.
# Called by: instructions, crowd.
# RFCs: none.

from libc.stddef cimport size_t
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from pystack.core.memory.packet cimport Packet, PacketQueue
from pystack.core.stack cimport Core
from pystack.core.tcp.layer cimport Tcb
from pystack.core.udp.layer cimport Datagram

cdef enum:
    NEAR = 0x0A000101           # 10.0.1.1
    FAR = 0x0A000201            # 10.0.2.1
    FLIGHT_NS = 100_000         # that a packet takes from one stack to the other
    ECHO_PORT = 7
    DISCARD_PORT = 9
    MSS = 1448                  # MTU 1500, with timestamps
    TRAIN = 44 * MSS            # the most that fits a packet of 64 KiB

ctypedef struct Side:
    Core* core
    Tcb* tcb                    # the connection, NULL: none, or a service's
    Datagram* socket
    # What the works take and give.
    int64_t now
    Packet* packet
    PacketQueue out
    uint8_t* buffer
    size_t length
    int64_t result

ctypedef void (*Work)(void*) noexcept nogil

cdef void take_in(void* argument) noexcept nogil
# What a driver does after a batch of packets, or a caller after a call.
cdef void settle(void* argument) noexcept nogil
cdef void send(void* argument) noexcept nogil
cdef void receive(void* argument) noexcept nogil
# A packet of one side as the other's device has it: a train as from one with offloads, a packet
# with its checksum. NULL: out of memory, or its checksum cannot be made.
cdef Packet* handed_over(Side* source, Side* target, Packet* packet) noexcept
# OSError for a negative errno.
cdef int64_t check(int64_t result) except -1
# A call of the near side that callgrind is to see.
cdef void counted(Work work, void* argument) noexcept nogil
# What has been counted up to here is a part of the profile.
cdef void end_part() noexcept nogil


cdef class Pair:

    cdef Side near
    cdef Side far
    cdef int64_t now
    cdef uint8_t[TRAIN] buffer

    cdef begin_side(self, Side* side, uint32_t address, uint64_t seed)
    cdef void end_side(self, Side* side) noexcept
    cdef void close(self, Side* side) noexcept
    # A work on one of the sides, with so many bytes of the buffer; the near side's is counted.
    cdef int64_t call(self, Side* side, Work work, size_t length=*) except -1
    # What one side has to send, to the other; False when that was nothing.
    cdef bint carry(self, Side* source, Side* target) except -1
    # First what the far side has to say, then what the near one answers.
    cdef bint round_trip(self) except -1
    cdef settled(self)
    # Begin to connect; a held connection of a side is `tcb`.
    cdef connect(self, Side* side, int port, int which=*)
    cdef connect_datagrams(self, int protocol, int port)
