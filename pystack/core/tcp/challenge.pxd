# Challenge ACKs, limited per connection and per stack.
# Called by: input, ack.
# RFCs: 5961 sections 3.2, 4.2, 5.2 and 7.

from pystack.core.tcp.layer cimport Tcb, TcpLayer

cdef void challenge_ack(TcpLayer* tcp, Tcb* tcb) noexcept nogil
