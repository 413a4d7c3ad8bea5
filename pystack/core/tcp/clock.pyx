# The timestamp clock and the initial sequence numbers: what the core derives from time and secrets.
# Called by: segments, ack, listen, calls.
# RFCs: 7323 section 5.4, 6528, 9293 section 3.4.1.

from libc.stdint cimport int64_t, uint8_t, uint32_t
from pystack.core.memory.flow cimport FlowKey, siphash
from pystack.core.tcp.layer cimport Tcb, TcpLayer
from pystack.core.wire.address cimport Addr


cdef uint32_t timestamp_now(const TcpLayer* tcp, const Tcb* tcb) noexcept nogil:
    """TS.Val of a segment sent now: 1 ms ticks (RFC 7323 section 5.4)."""
    return timestamp_at(tcb, tcp.context.now)


cdef uint32_t timestamp_at(const Tcb* tcb, int64_t ns) noexcept nogil:
    return <uint32_t>(ns // 1_000_000) + tcb.ts_offset


cdef uint32_t timestamp_offset(const TcpLayer* tcp, const FlowKey* key) noexcept nogil:
    """The same for all connections between two addresses, so that a later one is newer (RFC 6191).
    """
    return <uint32_t>siphash(tcp.timestamp_secret, <const uint8_t*>key, 2 * sizeof(Addr))


cdef uint32_t initial_sequence(const TcpLayer* tcp, const FlowKey* key) noexcept nogil:
    """ISN = M + F(addresses, ports, secret); M ticks every 4 microseconds (RFC 6528 section 3)."""
    cdef uint32_t f = <uint32_t>siphash(tcp.isn_secret, <const uint8_t*>key, sizeof(FlowKey))
    return <uint32_t>(tcp.context.now // 4_000) + f
