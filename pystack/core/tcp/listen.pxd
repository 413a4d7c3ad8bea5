# Passive opens: SYNs to a listener, half-open connections and their bound, SYN cookies, the accept
# queue.
# Called by: input, handshake, calls, timers.
# RFCs: 9293 sections 3.10.7.2 and 3.10.7.4, 4987 section 3.6, 7323, 6528.

from pystack.core.ip.layer cimport IpView
from pystack.core.tcp.layer cimport Tcb, TcpLayer
from pystack.core.wire.tcp cimport TcpOptions, TcpSegment

# A segment for a LISTEN TCB. `after`: the TIME-WAIT connection that a SYN replaces, or NULL (its
# ISN must be exceeded).
# Returns a TCB that is to process the segment further (a cookie became a connection), else NULL.
cdef Tcb* listen_input(
        TcpLayer* tcp, Tcb* listener, const IpView* view, const TcpSegment* seg,
        const Tcb* after) noexcept nogil
# A half-open connection got its ACK. False: the accept queue is full, drop the ACK (it will come
# again).
cdef bint listen_established(TcpLayer* tcp, Tcb* child) noexcept nogil
# A SYN that no listener is for, after somebody has decided: see core/ip/doorman.
cdef Tcb* listen_admit(TcpLayer* tcp, const IpView* view) noexcept nogil
cdef void listen_turn_away(TcpLayer* tcp, const IpView* view) noexcept nogil
# TCP_DEFER_ACCEPT lets this ACK of a half-open connection wait for text.
cdef bint listen_defers(Tcb* child, const TcpSegment* seg) noexcept nogil
# The listener goes: half-open and unaccepted connections are reset.
cdef void listen_close(TcpLayer* tcp, Tcb* listener) noexcept nogil
# Offer or take over what a SYN says; sets sizes, scale and windows of a new connection.
cdef void take_syn_options(TcpLayer* tcp, Tcb* tcb, const TcpOptions* options) noexcept nogil
cdef void open_window(TcpLayer* tcp, Tcb* tcb) noexcept nogil
cdef void connection_start(TcpLayer* tcp, Tcb* tcb) noexcept nogil
# After a SYN or SYN-ACK that was repeated.
cdef void handshake_was_slow(Tcb* tcb) noexcept nogil
