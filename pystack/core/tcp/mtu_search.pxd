# Packetization layer path MTU discovery: which size of packet the path takes, found by sending.
# Called by: listen (start), timers (a black hole?), output (probes), ack and recovery (their fate),
# errors.
# RFCs: 4821, 8899; Linux's tcp_mtu_probing.

from libc.stdint cimport int32_t, uint32_t
from pystack.core.tcp.layer cimport Tcb, TcpLayer

# The handshake is done: with TcpConfig.mtu_probing 2 the search begins.
cdef void mtu_search_start(TcpLayer* tcp, Tcb* tcb) noexcept nogil
# Nothing arrives for long: the search begins, or goes on from half of what was thought to arrive.
cdef void mtu_search_black_hole(TcpLayer* tcp, Tcb* tcb) noexcept nogil
# Payload of a probe to be sent now; 0: none; negative: output waits until there is room for one.
cdef int32_t mtu_search_next(TcpLayer* tcp, Tcb* tcb) noexcept nogil
# [start, start + size) has left as a probe, as one segment of new data.
cdef void mtu_search_sent(TcpLayer* tcp, Tcb* tcb, uint32_t start, uint32_t size) noexcept nogil
# SND.UNA has moved: has the probe arrived?
cdef void mtu_search_acked(TcpLayer* tcp, Tcb* tcb) noexcept nogil
# Something is lost that begins at SND.UNA: True if it is the probe, which then was too large.
cdef bint mtu_search_lost(TcpLayer* tcp, Tcb* tcb) noexcept nogil
# A router says that packets may have `mtu` bytes: True if the probe has more.
cdef bint mtu_search_too_big(TcpLayer* tcp, Tcb* tcb, uint32_t mtu) noexcept nogil
