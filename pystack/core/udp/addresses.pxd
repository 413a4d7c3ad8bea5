# Which addresses a socket may have and speak to, and which one it speaks from.
# Called by: udp/datagram.
# RFCs: 3493 sections 3.7 and 5.3 (mapped addresses, IPV6_V6ONLY), 6724 (by ip_choose_source).

from pystack.core.udp.layer cimport Datagram, UdpLayer
from pystack.core.wire.address cimport Addr

# 0, or a negative errno: that of Linux in the same case.
cdef int local_check(UdpLayer* udp, const Datagram* socket, const Addr* address) noexcept nogil
cdef int remote_check(UdpLayer* udp, const Datagram* socket, const Addr* remote) noexcept nogil
cdef bint is_of_many(UdpLayer* udp, const Addr* address) noexcept nogil
cdef int source_check(
    UdpLayer* udp, const Datagram* socket, const Addr* source, const Addr* remote
) noexcept nogil
cdef int source_find(
    UdpLayer* udp, const Datagram* socket, const Addr* bound, const Addr* remote, Addr* source
) noexcept nogil
