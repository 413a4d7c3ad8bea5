# PipeDevice: one end of a wire in memory; at the other end is another stack.
# Called by: the drivers in engine/.
# RFCs: none.

from pystack.device.base cimport Device

cdef class PipeDevice(Device):
    cdef PipeDevice peer
    cdef bint cut                       # the wire carries single packets only
