# Socket options by Linux's numbers, on every system: IP's and datagrams'; TCP's are in tcp/.
# Called by: endpoint.
# RFCs: 3493, 3542; socket(7), ip(7), ipv6(7), udp(7).

from libc.stdint cimport int64_t, uint32_t
from pystack.core.endpoint cimport Endpoint
from pystack.core.stack cimport Core

cdef enum:
    SOL_SOCKET = 1
    SO_REUSEADDR = 2
    SO_TYPE = 3
    SO_ERROR = 4
    SO_BROADCAST = 6
    SO_SNDBUF = 7
    SO_RCVBUF = 8
    SO_LINGER = 13
    SO_ACCEPTCONN = 30
    SO_PROTOCOL = 38
    SO_DOMAIN = 39

# 0, or -ENOPROTOOPT, -EINVAL.
cdef int option_set(
    Core* core, Endpoint* endpoint, int level, int option, int64_t value
) noexcept nogil
cdef int option_get(
    Core* core, Endpoint* endpoint, int level, int option, int64_t* value
) noexcept nogil
# Of IPv6: under which flow label it sends; 0: the stack chooses.
cdef void endpoint_label(Core* core, Endpoint* endpoint, uint32_t label) noexcept nogil
