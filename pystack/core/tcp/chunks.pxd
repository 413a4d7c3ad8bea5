# Into which buffers Linux would put what is written: where a segment of its own ends with PSH, and
# what a train waits for, follows from that.
# Called by: transfer (writes), output.
# RFCs: 9293 section 3.9.1.2 (PSH).

from libc.stdint cimport uint32_t
from pystack.core.tcp.layer cimport Tcb, TcpLayer

# `size` bytes are to be written behind what is there, with more to follow or not; returns how many
# of them there is room for (TCP_NOTSENT_LOWAT).
cdef uint32_t chunks_write(TcpLayer* tcp, Tcb* tcb, uint32_t size, bint more) noexcept nogil
# So much may be sent at once: the first buffer takes it from the next ones.
cdef void chunks_grow(Tcb* tcb, uint32_t size) noexcept nogil
# Everything below SND.NXT has been sent.
cdef void chunks_sent(Tcb* tcb) noexcept nogil
# Does a buffer that ends at `end` ask for PSH? -1: nothing is known.
cdef int chunks_pushed(const Tcb* tcb, uint32_t end) noexcept nogil
# End of the first that is not sent, and whether it is the last one. False: nothing is known.
cdef bint chunks_first(const Tcb* tcb, uint32_t* end, bint* last) noexcept nogil
