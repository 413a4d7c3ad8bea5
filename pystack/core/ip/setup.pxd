# IP setup: makes and releases the IP layer.

from pystack.core.context cimport Context
from pystack.core.ip.layer cimport IpLayer

# 0, or -1 when out of memory.
cdef int ip_init(IpLayer* ip, Context* context) noexcept nogil
cdef void ip_release(IpLayer* ip) noexcept nogil
