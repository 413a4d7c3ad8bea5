# Flow labels of IPv6: the same for all packets of a flow, and hard to guess.
# Called by: udp (a socket), tcp (a connection).
# RFCs: 6437 section 3.

from libc.stdint cimport uint32_t
from pystack.core.context cimport Context

# 1..0xFFFFF
cdef uint32_t flow_label_new(Context* context) noexcept nogil
