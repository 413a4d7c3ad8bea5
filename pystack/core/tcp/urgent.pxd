# Urgent text: in line; reads end before its last byte, the mark, and begin there (as Linux).
# Called by: text (URG), transfer (reads).
# RFCs: 9293 section 3.8.5, 6093 section 4.

from libc.stdint cimport uint32_t
from pystack.core.tcp.layer cimport Tcb, TcpLayer
from pystack.core.wire.tcp cimport TcpSegment

cdef void urgent_input(TcpLayer* tcp, Tcb* tcb, const TcpSegment* seg) noexcept nogil
# So many of `length` bytes, from `offset` on behind what was read, come before the mark.
cdef uint32_t urgent_limit(const Tcb* tcb, uint32_t offset, uint32_t length) noexcept nogil
# Is the byte that is read next the marked one (SIOCATMARK)?
cdef bint urgent_at_mark(const Tcb* tcb) noexcept nogil
# The application has read.
cdef void urgent_read(Tcb* tcb) noexcept nogil
