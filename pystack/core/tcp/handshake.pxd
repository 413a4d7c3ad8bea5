# The end of a handshake: the answer to our SYN, the ACK of our SYN-ACK.
# Called by: input.
# RFCs: 9293 sections 3.10.7.3 and 3.10.7.4 (SYN-RECEIVED), 7413 section 4.2.2.

from pystack.core.ip.layer cimport IpView
from pystack.core.tcp.layer cimport Tcb, TcpLayer
from pystack.core.wire.tcp cimport TcpOptions, TcpSegment

# TSecr, if it is there, is what one of our SYNs or SYN-ACKs said.
cdef bint echo_is_ours(
        const TcpLayer* tcp, const Tcb* tcb, const TcpOptions* options) noexcept nogil
# SYN-SENT.
cdef void syn_sent_input(
        TcpLayer* tcp, Tcb* tcb, IpView* view, const TcpSegment* seg) noexcept nogil
# The fifth step of a connection that is in use before its handshake is over, and of all others in
# SYN-RECEIVED; False: the segment is done with.
cdef bint early_established(
        TcpLayer* tcp, Tcb* tcb, const IpView* view, const TcpSegment* seg) noexcept nogil
cdef bint become_established(
        TcpLayer* tcp, Tcb* tcb, const IpView* view, const TcpSegment* seg,
        const TcpOptions* options) noexcept nogil
