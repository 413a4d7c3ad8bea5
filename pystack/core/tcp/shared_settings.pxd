# Settings as values: those that are alike are one, so that a connection need not have its own.
# Called by: tcb, listen, settings and its neighbours (window, user_timeout, configure,
#   congestion/interface); stack and engine.
# RFCs: none.

from pystack.core.tcp.config cimport TcpSettings
from pystack.core.tcp.layer cimport Tcb, TcpLayer

# A copy that may be written, until settings_settle; NULL when out of memory.
cdef TcpSettings* settings_edit(TcpLayer* tcp, Tcb* tcb) noexcept nogil
# The writing is over: share with whoever has the same.
cdef void settings_settle(TcpLayer* tcp, Tcb* tcb) noexcept nogil
# The child has its parent's.
cdef void settings_share(TcpLayer* tcp, Tcb* child, const Tcb* parent) noexcept nogil
cdef void settings_release(TcpLayer* tcp, Tcb* tcb) noexcept nogil
# For a TCB that has none yet: 0, or -1 when out of memory.
cdef int settings_start(TcpLayer* tcp, Tcb* tcb, const TcpSettings* settings) noexcept nogil


cdef inline TcpSettings* settings_of(Tcb* tcb) noexcept nogil:
    """Between settings_edit and settings_settle."""
    return <TcpSettings*>tcb.settings
