# IP networks: which addresses are ours, and which of them speaks to a destination (RFC 6724).

from pystack.core.ip.layer cimport IpLayer
from pystack.core.wire.address cimport Addr

# Our networks: prefix_length 0..128 (IPv4 adds 96). 0; -EINVAL host bits set; -EEXIST overlaps; -ENOMEM.
cdef int ip_add_network(IpLayer* ip, const Addr* prefix, int prefix_length) noexcept nogil
# An address inside our networks that is somebody else's (the kernel's end of a TUN).
cdef int ip_exclude_address(IpLayer* ip, const Addr* address) noexcept nogil
# Unicast address of ours that may be a source or a destination.
cdef bint ip_is_local(IpLayer* ip, const Addr* address) noexcept nogil
# Source for a destination (RFC 6724 rules 1, 2, 8): 0, or -EADDRNOTAVAIL / -ENETUNREACH.
cdef int ip_choose_source(IpLayer* ip, const Addr* destination, Addr* source) noexcept nogil
