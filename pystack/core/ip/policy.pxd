# IP policy: the address policy table, longest prefix first.

from libc.stdint cimport uint8_t, uint16_t, uint32_t
from pystack.core.ip.layer cimport IpLayer, PolicyAction
from pystack.core.wire.address cimport Addr

# Set what happens to packets to prefix/protocol/ports (protocol 0: all; ports inclusive). Longest
# prefix wins, within a prefix the last rule that was set. token is handed back by policy_find. 0,
# -EINVAL, -ENOMEM.
cdef int policy_set(
    IpLayer* ip, const Addr* prefix, int prefix_length, uint8_t protocol, uint16_t first_port,
    uint16_t last_port, PolicyAction action, uint32_t token
) noexcept nogil
cdef PolicyAction policy_find(
    IpLayer* ip, const Addr* destination, uint8_t protocol, uint16_t port, uint32_t* token
) noexcept nogil
# What a rule says about a whole address, whatever protocol and port; POLICY_ACCEPT where that
# matters.
cdef PolicyAction policy_find_whole(IpLayer* ip, const Addr* destination) noexcept nogil
cdef void policy_init(IpLayer* ip) noexcept nogil
cdef void policy_release(IpLayer* ip) noexcept nogil
