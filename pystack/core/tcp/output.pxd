# Segments out: data as trains, acknowledgments, SYNs, resets, probes.
# Called by: input, handshake, text, timers, calls, listen; stack (tcp_output, once per batch).
# RFCs: 9293 sections 3.7.4, 3.8.6 and 3.10, 1122 section 4.2.3.4, 6691, 7323, 2018, 3042.

from libc.stdint cimport uint32_t
from pystack.core.endpoint cimport Endpoint
from pystack.core.ip.layer cimport IpView
from pystack.core.memory.loan cimport Spans
from pystack.core.tcp.fast_open_cookie cimport FastOpenCookie
from pystack.core.tcp.layer cimport Tcb, TcpLayer
from pystack.core.wire.address cimport Addr
from pystack.core.wire.tcp cimport TcpOptions, TcpSegment

# Everything that is owed: retransmissions, new data, FIN, ACK; with output_forced also a segment
# that Nagle, cork or a small window hold back (override of RFC 9293 section 3.8.6.2.1). Its packets
# borrow from the send ring and from lenders: only the stack calls it, when nothing can enter before
# they are taken.
cdef void tcp_output(TcpLayer* tcp, Tcb* tcb) noexcept nogil
cdef void send_ack(TcpLayer* tcp, Tcb* tcb) noexcept nogil
# SYN, or SYN-ACK in SYN-RECEIVED.
cdef void send_syn(TcpLayer* tcp, Tcb* tcb) noexcept nogil
# The same for the first time: with a cookie or a request for one, if it is present, and the first
# `size` bytes of the send ring (RFC 7413).
cdef void send_first_syn(
        TcpLayer* tcp, Tcb* tcb, const FastOpenCookie* cookie, uint32_t size) noexcept nogil
cdef void send_reset(TcpLayer* tcp, Tcb* tcb) noexcept nogil
# A segment below SND.UNA that the peer must acknowledge: zero-window probe and keepalive.
cdef void send_probe(TcpLayer* tcp, Tcb* tcb) noexcept nogil
# The answer to a segment that belongs to no connection (RFC 9293 section 3.10.7.1).
cdef void send_reset_for(TcpLayer* tcp, const IpView* view, const TcpSegment* seg) noexcept nogil
# Header, options and checksum around a segment; text: its payload, unused without one. 0 or a
# negative errno.
cdef int segment_send(
        TcpLayer* tcp, const Endpoint* endpoint, TcpSegment* seg, const TcpOptions* options,
        const Spans* text) noexcept nogil
