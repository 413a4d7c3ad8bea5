# Socket options of multicast that are numbers, by Linux's numbers.
# Called by: datagram.
# RFCs: 3493 section 5.2; ip(7), ipv6(7).

from libc.stdint cimport int64_t
from pystack.core.udp.layer cimport Datagram

# 0, -EINVAL; -ENOPROTOOPT: none of these.
cdef int multicast_set(Datagram* socket, int level, int option, int64_t value) noexcept nogil
cdef int multicast_get(
    const Datagram* socket, int level, int option, int64_t* value
) noexcept nogil
