# Configurations of single sockets, where they differ from the stack's.
# Called by: tcb, listen, settings; stack's callers (engine).
# RFCs: none; each field of TcpConfig names its own.

from pystack.core.tcp.config cimport TcpConfig
from pystack.core.tcp.layer cimport Tcb, TcpLayer

# The child is configured as its parent.
cdef void config_share(TcpLayer* tcp, Tcb* child, const Tcb* parent) noexcept nogil
# Back to the stack's.
cdef void config_release(TcpLayer* tcp, Tcb* tcb) noexcept nogil
# A configuration of this TCB alone, which may be written; NULL when out of memory.
cdef TcpConfig* config_own(TcpLayer* tcp, Tcb* tcb) noexcept nogil
# Configure a socket before it is connected or listens. 0, -EISCONN or -ENOMEM.
cdef int tcp_configure(TcpLayer* tcp, Tcb* tcb, const TcpConfig* config) noexcept nogil
