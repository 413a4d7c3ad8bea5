# How much text a segment carries: the MSS that we announce, and the one that we send by.
# Called by: output, segments, listen, acknowledge, info, errors, mtu_search.
# RFCs: 6691, 9293 section 3.7.1.

from libc.stdint cimport uint16_t, uint32_t
from pystack.core.tcp.layer cimport Tcb, TcpLayer
from pystack.core.wire.address cimport Addr

# The MSS that we announce: what our device can receive (RFC 6691).
cdef uint32_t announced_mss(TcpLayer* tcp, const Tcb* tcb) noexcept nogil
cdef uint32_t announced_mss_to(TcpLayer* tcp, const Tcb* tcb, const Addr* remote) noexcept nogil
# What a peer takes that does not say: 536 or 1220 (RFC 9293 section 3.7.1).
cdef uint16_t default_mss(const Tcb* tcb) noexcept nogil
# SMSS: payload of a segment to this peer with the options that all of them carry.
cdef void sync_mss(TcpLayer* tcp, Tcb* tcb) noexcept nogil
# That payload, in IP packets of `mtu` bytes; and the packet around a payload of `mss` bytes.
cdef uint32_t mss_of(const TcpLayer* tcp, const Tcb* tcb, uint32_t mtu) noexcept nogil
cdef uint32_t mtu_of(const Tcb* tcb, uint32_t mss) noexcept nogil
# The largest packet that the peer's MSS option and TCP_MAXSEG allow.
cdef uint32_t largest_mtu(const Tcb* tcb) noexcept nogil
