# Datagrams that are written in pieces (UDP_CORK, MSG_MORE).
# Called by: datagram; engine (options).
# RFCs: 768; udp(7).

from libc.errno cimport EMSGSIZE, ENOMEM
from libc.stddef cimport size_t
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t
from libc.stdlib cimport calloc, free, realloc
from libc.string cimport memcpy
from pystack.core.ip.layer cimport IpSend
from pystack.core.udp.errors cimport too_big_report
from pystack.core.udp.layer cimport Cork, Datagram, UdpLayer
from pystack.core.udp.output cimport udp_limit, udp_output

cdef enum:
    LEAST_ROOM = 512            # bytes of memory


cdef int64_t cork_begin(
    UdpLayer* udp, Datagram* socket, const IpSend* send, uint16_t port, uint16_t gso_size,
    const uint8_t* data, size_t length
) noexcept nogil:
    cdef Cork* cork = <Cork*>calloc(1, sizeof(Cork))
    if cork == NULL:
        return -ENOMEM
    cork.send = send[0]
    cork.port = port
    cork.gso_size = gso_size
    socket.cork = cork
    return cork_add(udp, socket, data, length, True)


cdef bint has_room(Cork* cork, uint32_t length) noexcept nogil:
    """Make room for so many bytes more; False without memory."""
    cdef uint32_t room = max(cork.room, <uint32_t>LEAST_ROOM)
    cdef uint8_t* data
    while room < cork.length + length:
        room *= 2
    if room == cork.room:
        return True
    data = <uint8_t*>realloc(cork.data, room)
    if data == NULL:
        return False
    cork.data = data
    cork.room = room
    return True


cdef int64_t cork_add(
    UdpLayer* udp, Datagram* socket, const uint8_t* data, size_t length, bint more
) noexcept nogil:
    """As in Linux what does not fit costs all that there was."""
    cdef Cork* cork = socket.cork
    cdef int code
    if length > udp_limit(&cork.send) - cork.length:
        cork_release(socket)
        return -EMSGSIZE
    if not has_room(cork, <uint32_t>length):
        cork_release(socket)
        return -ENOMEM
    if length:
        memcpy(cork.data + cork.length, data, length)
    cork.length += <uint32_t>length
    if not more:
        code = cork_flush(udp, socket)
        if code < 0:
            return code
    return <int64_t>length


cdef int cork_flush(UdpLayer* udp, Datagram* socket) noexcept nogil:
    cdef Cork* cork = socket.cork
    cdef int64_t sent
    if cork == NULL:
        return 0
    sent = udp_output(
        udp, socket, &cork.send, cork.port, cork.data, cork.length, cork.gso_size)
    if sent == -EMSGSIZE:
        too_big_report(udp, socket, &cork.send, cork.port)
    cork_release(socket)
    return <int>min(sent, <int64_t>0)


cdef void cork_release(Datagram* socket) noexcept nogil:
    """Forget what is held back."""
    if socket.cork != NULL:
        free(socket.cork.data)
        free(socket.cork)
        socket.cork = NULL
