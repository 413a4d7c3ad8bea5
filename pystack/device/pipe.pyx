# PipeDevice: one end of a wire in memory; at the other end is another stack.
# Called by: the drivers in engine/ (read, write), applications (pair).
# RFCs: none.

from libc.errno cimport EBADF
from libc.stdint cimport uint32_t
from libc.string cimport memset
from pystack.core.context cimport (
    FEATURE_CSUM,
    FEATURE_TSO4,
    FEATURE_TSO6,
    FEATURE_USO4,
    FEATURE_USO6,
)
from pystack.core.memory.packet cimport PacketQueue, PacketSlab, packet_pop, packet_queue_release
from pystack.device.base cimport Device, device_gone
from pystack.device.inbox cimport inbox_put
from pystack.device.segmentation cimport packet_segment

cdef enum:
    FEATURE_ALL = FEATURE_CSUM | FEATURE_TSO4 | FEATURE_TSO6 | FEATURE_USO4 | FEATURE_USO6


cdef class PipeDevice(Device):
    """One end of a wire in memory between two stacks of this process, in one thread or in two.

    What is sent while the other end is closed, or while 16 MiB wait there, is lost.
    """

    def __init__(self):
        raise TypeError("a wire has two ends: use PipeDevice.pair()")

    @staticmethod
    def pair(mtu=1500, *, cut=False):
        """Return both ends of a new wire.

        cut: True: trains are cut and checksums completed, as on a wire of copper; False: they pass
        as they are, which is faster.
        """
        cdef PipeDevice a = PipeDevice.__new__(PipeDevice)
        cdef PipeDevice b = PipeDevice.__new__(PipeDevice)
        for end, name in ((a, "pipe-a"), (b, "pipe-b")):
            Device.__init__(end, mtu)
            end.name = name
        a.peer, b.peer = b, a
        a.cut = b.cut = cut
        a.features = b.features = <uint32_t>0 if cut else FEATURE_ALL
        return a, b

    cdef int write(self, PacketSlab* slab, PacketQueue* queue) noexcept nogil:
        cdef PacketQueue pieces
        if self.closed:
            return device_gone(slab, queue, EBADF)
        memset(&pieces, 0, sizeof(pieces))
        if self.cut:
            while queue.first != NULL:
                if packet_segment(slab, packet_pop(queue), &pieces) < 0:
                    self.lost += 1
        else:
            pieces, queue[0] = queue[0], pieces
        if self.peer.closed:
            self.lost += pieces.count
        else:
            inbox_put(&self.peer.inbox, pieces.first)
        packet_queue_release(slab, &pieces)
        return 0
