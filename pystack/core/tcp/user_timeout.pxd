# The TCP user timeout option: ours is told, the peer's is taken over.
# Called by: segments (their options), listen and input (options that arrive), settings.
# RFCs: 5482.

from libc.stdint cimport uint16_t, uint32_t
from pystack.core.tcp.layer cimport Tcb, TcpLayer
from pystack.core.wire.tcp cimport TcpOptions

# Put our timeout into the options of a segment.
cdef void user_timeout_offer(
        const TcpLayer* tcp, const Tcb* tcb, TcpOptions* options) noexcept nogil
# The peer's option has arrived.
cdef void user_timeout_adopt(TcpLayer* tcp, Tcb* tcb, uint16_t option) noexcept nogil
# The application chooses (TCP_USER_TIMEOUT).
cdef void user_timeout_choose(TcpLayer* tcp, Tcb* tcb, uint32_t ms) noexcept nogil
