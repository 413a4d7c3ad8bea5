# What is remembered of destinations beyond the life of a connection, as Linux's tcp_metrics.
# Called by: listen (a connection begins), timers and input (it has ended), fast_open (cookies).
# RFCs: 9040.

from pystack.core.tcp.layer cimport Tcb, TcpLayer
from pystack.core.tcp.metrics_cache cimport Metrics

cdef void metrics_init(TcpLayer* tcp) noexcept nogil
# Of the connection's addresses; NULL: nothing is known.
cdef Metrics* metrics_find(TcpLayer* tcp, const Tcb* tcb) noexcept nogil
# As metrics_find, but makes an entry, in place of the least recently used; NULL: out of memory.
cdef Metrics* metrics_get(TcpLayer* tcp, const Tcb* tcb) noexcept nogil
# The handshake is done: ssthresh, reordering and the first RTO from what is known.
cdef void metrics_apply(TcpLayer* tcp, Tcb* tcb) noexcept nogil
# The connection ends in order: what it has learned stays.
cdef void metrics_save(TcpLayer* tcp, const Tcb* tcb) noexcept nogil
# All of it, cookies too.
cdef void metrics_forget(TcpLayer* tcp) noexcept nogil
