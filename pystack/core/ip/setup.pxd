# IP setup: makes and releases the IP layer.

from pystack.core.ip.layer cimport IpLayer
from pystack.core.context cimport Context

cdef int ip_init(IpLayer* ip, Context* context) noexcept nogil          # 0, or -1 when out of memory
cdef void ip_release(IpLayer* ip) noexcept nogil
