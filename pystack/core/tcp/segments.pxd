# Segments out: how each kind is made: text as trains, acknowledgments, SYNs, resets, probes.
# Called by: output (text), input, handshake, text, timers, calls, listen, cookie and others.
# RFCs: 9293 sections 3.1, 3.5 and 3.10, 7323, 2018, 7413.

from libc.stdint cimport uint8_t, uint32_t
from pystack.core.endpoint cimport Endpoint
from pystack.core.ip.layer cimport IpView
from pystack.core.memory.loan cimport Spans
from pystack.core.tcp.fast_open_cookie cimport FastOpenCookie
from pystack.core.tcp.layer cimport Tcb, TcpLayer
from pystack.core.wire.tcp cimport TcpOptions, TcpSegment

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
# [seq, seq + length) of what is to be sent as one segment or train; sent: SENT_FIN and SENT_PUSHED
# of its record. Its packet borrows the text: for output only.
cdef int send_data(
        TcpLayer* tcp, Tcb* tcb, uint32_t seq, uint32_t length, uint8_t sent, bint fresh,
        uint32_t mss) noexcept nogil
cdef uint32_t text_room(const Tcb* tcb) noexcept nogil
# Header, options and checksum around a segment; text: its payload, unused without one. 0 or a
# negative errno.
cdef int segment_send(
        TcpLayer* tcp, const Endpoint* endpoint, TcpSegment* seg, const TcpOptions* options,
        const Spans* text) noexcept nogil
