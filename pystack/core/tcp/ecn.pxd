# Explicit congestion notification: agreed on in the handshake; marks received are echoed until the
# peer says that it has slowed down, marks echoed to us slow us down once in a window.
# Called by: input, handshake, text, listen, cookie, segments.
# RFCs: 3168 section 6.1, 5562 (not done), 8511 by way of congestion/.

from libc.stdint cimport uint8_t, uint32_t
from pystack.core.tcp.config cimport TcpConfig
from pystack.core.tcp.layer cimport Tcb, TcpLayer
from pystack.core.wire.tcp cimport TcpSegment

cdef enum EcnCodepoint:
    ECN_NOT_ECT = 0
    ECN_ECT_1 = 1
    ECN_ECT_0 = 2
    ECN_CE = 3
    ECN_MASK = 3

# ECE and CWR of our SYN, or ECE of our SYN-ACK; 0 without ECN.
cdef uint8_t ecn_syn_flags(TcpLayer* tcp, Tcb* tcb) noexcept nogil
# Does this SYN to a listener ask for ECN, and do we agree?
cdef bint ecn_is_agreed(const TcpConfig* config, const TcpSegment* syn) noexcept nogil
# The peer's SYN or SYN-ACK arrived at a connection in SYN-SENT.
cdef void ecn_handshake(Tcb* tcb, const TcpSegment* seg) noexcept nogil
# This segment echoes a congestion mark.
cdef bint ecn_is_echoed(const Tcb* tcb, const TcpSegment* seg) noexcept nogil
# The flags and the IP header of an acceptable segment of a connection with ECN, before its ACK is
# looked at.
cdef void ecn_input(TcpLayer* tcp, Tcb* tcb, const TcpSegment* seg) noexcept nogil
# Its text, if it has any, is in the window.
cdef void ecn_text_input(TcpLayer* tcp, Tcb* tcb, const TcpSegment* seg) noexcept nogil
# Flags and codepoint of a segment about to leave; `fresh`: it has text that was never sent before.
cdef void ecn_output(Tcb* tcb, TcpSegment* seg, bint fresh) noexcept nogil
