# SYN cookies: a handshake that needs no memory, for listeners under a flood.
# Called by: listen.
# RFCs: 4987 section 3.6; the options travel in the timestamp as in Linux.

from pystack.core.ip.layer cimport IpView
from pystack.core.tcp.layer cimport Tcb, TcpLayer
from pystack.core.wire.tcp cimport TcpOptions, TcpSegment

cdef void cookie_send(
        TcpLayer* tcp, Tcb* listener, const IpView* view, const TcpSegment* seg, const TcpOptions*
        options) noexcept nogil
# True if seg acknowledges a cookie of ours; *syn is what the peer's SYN offered.
cdef bint cookie_accept(
        TcpLayer* tcp, Tcb* listener, const IpView* view, const TcpSegment* seg,
        TcpOptions* syn) noexcept nogil
cdef bint cookie_ecn(const Tcb* listener, const TcpSegment* seg) noexcept nogil
