# SEGMENT ARRIVES: one function per step of RFC 9293 section 3.10.7.
# Called by: stack.
# RFCs: 9293 section 3.10.7, 5961, 7323 section 5, 6191, 1337.

from pystack.core.ip.layer cimport IpView
from pystack.core.tcp.layer cimport TcpLayer

# Takes view.packet.
cdef void tcp_input(TcpLayer* tcp, IpView* view) noexcept nogil
