# After a timeout: was it spurious (F-RTO), and what is to be sent.
# Called by: recovery.
# RFCs: 5682, 6298 section 5, 4015.

from pystack.core.tcp.layer cimport Tcb, TcpLayer
from pystack.core.tcp.news cimport AckNews

# The timer has fired, whose repetition is `again` if nothing was heard in between.
cdef void frto_start(TcpLayer* tcp, Tcb* tcb, bint new_episode) noexcept nogil
# An ACK in the state Loss.
cdef void loss_acked(
        TcpLayer* tcp, Tcb* tcb, const AckNews* news, bint duplicate) noexcept nogil
