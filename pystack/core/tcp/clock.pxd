# The timestamp clock and the initial sequence numbers: what the core derives from time and secrets.
# Called by: segments, ack, listen, calls.
# RFCs: 7323 section 5.4, 6528, 9293 section 3.4.1.

from libc.stdint cimport int64_t, uint32_t
from pystack.core.memory.flow cimport FlowKey
from pystack.core.tcp.layer cimport Tcb, TcpLayer

# Milliseconds, as Linux, plus an offset of each pair of addresses that peers cannot predict.
cdef uint32_t timestamp_now(const TcpLayer* tcp, const Tcb* tcb) noexcept nogil
# The TS.Val of a segment that was sent at `ns`.
cdef uint32_t timestamp_at(const Tcb* tcb, int64_t ns) noexcept nogil
cdef uint32_t timestamp_offset(const TcpLayer* tcp, const FlowKey* key) noexcept nogil
cdef uint32_t initial_sequence(const TcpLayer* tcp, const FlowKey* key) noexcept nogil
