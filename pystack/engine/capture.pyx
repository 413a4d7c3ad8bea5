# Capture: shows every packet to a Python object as on a wire: trains cut, checksums in full.
# Called by: engine, with the stack's lock held.
# RFCs: none.

from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.stdint cimport int64_t, uint8_t
from libc.string cimport memcpy
from pystack.core.memory.packet cimport (
    Packet,
    PacketQueue,
    PacketSlab,
    packet_free,
    packet_new,
    packet_pop,
    packet_push,
    packet_total,
)
from pystack.device.segmentation cimport packet_segment
from pystack.engine.pythread cimport PyThread_get_thread_ident

cdef extern from "Python.h":
    int PyThreadState_SetAsyncExc(unsigned long thread, object exception)


cdef Packet* packet_copy(PacketSlab* slab, const Packet* packet) noexcept nogil:
    """A packet of its own with the same bytes and offload metadata; NULL: out of memory."""
    cdef Packet* copy = packet_new(slab, packet_total(packet))
    cdef int part
    if copy == NULL:
        return NULL
    memcpy(copy.data, packet.data, packet.length)
    copy.length = packet.length
    for part in range(2):
        if packet.borrowed_length[part]:
            memcpy(copy.data + copy.length, packet.borrowed[part], packet.borrowed_length[part])
            copy.length += packet.borrowed_length[part]
    copy.csum = packet.csum
    copy.csum_start = packet.csum_start
    copy.csum_offset = packet.csum_offset
    copy.gso = packet.gso
    copy.gso_size = packet.gso_size
    return copy


cdef class Capture:
    """What a stack's packets are shown to."""

    def __cinit__(self, writer, int64_t epoch):
        self.writer = writer
        self.epoch = epoch

    cdef void see(self, PacketSlab* slab, const Packet* packet, bint outbound) noexcept nogil:
        cdef Packet* copy = packet_copy(slab, packet)
        cdef PacketQueue pieces
        if copy == NULL:
            return
        pieces.first = pieces.last = NULL
        pieces.count = 0
        packet_segment(slab, copy, &pieces)
        copy = packet_pop(&pieces)
        while copy != NULL:
            copy.control[0] = <uint8_t>outbound
            packet_push(&self.seen, copy)
            copy = packet_pop(&pieces)

    cdef void deliver(self, PacketSlab* slab, int64_t now) noexcept nogil:
        if self.seen.first != NULL:
            with gil:
                self.write(slab, now)

    cdef void write(self, PacketSlab* slab, int64_t now) noexcept:
        """Give all that was seen to the writer; after its first exception it gets nothing more."""
        cdef Packet* packet = packet_pop(&self.seen)
        cdef object whole, interrupt = None
        while packet != NULL:
            try:
                whole = PyBytes_FromStringAndSize(<char*>packet.data, packet.length)
                if self.writer is not None:
                    self.writer.write(whole, now + self.epoch, packet.control[0] != 0)
            except Exception as problem:
                self.writer = None
                import logging  # slow to import, and seldom needed

                logging.getLogger("pystack").error(
                    "pystack: capture ended, its writer failed", exc_info=problem
                )
            except BaseException as problem:  # Ctrl-C is not for the writer, but for whoever runs
                interrupt = type(problem)
            packet_free(slab, packet)
            packet = packet_pop(&self.seen)
        if interrupt is not None:
            PyThreadState_SetAsyncExc(PyThread_get_thread_ident(), interrupt)
