# Is the window in use? One that is not must not grow, and what was not tried for long is forgotten.
# Called by: interface.
# RFCs: 7661, 5681 section 4.1, 2861; the arithmetic is Linux's.

from libc.stdint cimport int64_t
from pystack.core.tcp.layer cimport Tcb, TcpLayer

# May cwnd grow by what is acknowledged now?
cdef bint window_is_used(const Tcb* tcb) noexcept nogil
# Output is over: `sent` if there was new text, `full` if cwnd has no room for another segment.
cdef void validate_window(TcpLayer* tcp, Tcb* tcb, bint sent, bint full) noexcept nogil
# Text is about to be sent after `idle_ns` without any, and nothing is outstanding.
cdef void restart_window(TcpLayer* tcp, Tcb* tcb, int64_t idle_ns) noexcept nogil
