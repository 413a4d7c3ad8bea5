# Datagrams that are written in pieces (UDP_CORK, MSG_MORE).
# Called by: datagram; engine (options).
# RFCs: 768; udp(7).

from libc.stddef cimport size_t
from libc.stdint cimport int64_t, uint8_t, uint16_t
from pystack.core.ip.layer cimport IpSend
from pystack.core.udp.layer cimport Datagram, UdpLayer

# Hold back the first piece of a datagram, which goes where `send` and `port` say. As cork_add.
cdef int64_t cork_begin(
    UdpLayer* udp, Datagram* socket, const IpSend* send, uint16_t port, uint16_t gso_size,
    const uint8_t* data, size_t length
) noexcept nogil
# One more piece; without `more` the last. How much was taken: all; or a negative errno, and nothing
# is held back any more.
cdef int64_t cork_add(
    UdpLayer* udp, Datagram* socket, const uint8_t* data, size_t length, bint more
) noexcept nogil
# Send what is held back, if there is something: 0, or a negative errno.
cdef int cork_flush(UdpLayer* udp, Datagram* socket) noexcept nogil
cdef void cork_release(Datagram* socket) noexcept nogil
