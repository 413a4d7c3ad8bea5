# What happens when time passes: retransmission, zero-window probe, delayed ACK, keepalive, TIME-
# WAIT, orphans.
# Called by: stack (tcp_timer), input, handshake, text and calls (entering the states that wait).
# RFCs: 6298 section 5, 1122 sections 4.2.2.17, 4.2.3.5 and 4.2.3.6, 9293 section 3.8, 5482.

from pystack.core.tcp.layer cimport Tcb, TcpLayer

# The TCB's deadline has fired; `deadline` is not queued any more.
cdef void tcp_timer(TcpLayer* tcp, Tcb* tcb) noexcept nogil
# In TIME-WAIT (again): wait 2 MSL from now.
cdef void enter_time_wait(TcpLayer* tcp, Tcb* tcb) noexcept nogil
# In FIN-WAIT-2: if nobody holds the connection, it is not waited for forever.
cdef void fin_wait_2_timer(TcpLayer* tcp, Tcb* tcb) noexcept nogil
# SO_KEEPALIVE was switched on, or the connection is established; or its idle time was changed.
cdef void keepalive_restart(TcpLayer* tcp, Tcb* tcb) noexcept nogil
cdef void keepalive_retime(TcpLayer* tcp, Tcb* tcb) noexcept nogil
