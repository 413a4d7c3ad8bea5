# Flow labels of IPv6: the same for all packets of a flow, and hard to guess.
# Called by: udp (a socket), tcp (a connection).
# RFCs: 6437 section 3.

from libc.stdint cimport uint32_t
from pystack.core.context cimport Context
from pystack.core.memory.random cimport random_below

cdef enum:
    FLOW_LABELS = 0x100000      # 20 bits


cdef uint32_t flow_label_new(Context* context) noexcept nogil:
    """Draw a label; never 0, which says that there is none."""
    return 1 + random_below(&context.random, FLOW_LABELS - 1)
