# What an acceptable segment carries: urgent pointer, text and FIN.
# Called by: input, handshake.
# RFCs: 9293 section 3.10.7.4, sixth to eighth step.

from pystack.core.ip.layer cimport IpView
from pystack.core.tcp.layer cimport Tcb, TcpLayer
from pystack.core.wire.tcp cimport TcpSegment

# Cut a segment to the window, as text_steps wants it.
cdef void text_trim(TcpLayer* tcp, Tcb* tcb, TcpSegment* seg) noexcept nogil
cdef void text_steps(
        TcpLayer* tcp, Tcb* tcb, const IpView* view, TcpSegment* seg) noexcept nogil
