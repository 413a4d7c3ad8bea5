# DatagramHandle: a UDP or echo socket as Python holds it.
# Called by: pystack.socket, which adds what is Python's: addresses as tuples, flags, constants.
# RFCs: 768; socket(7), udp(7), icmp(7).

cimport cython
from cpython.buffer cimport (
    PyBUF_SIMPLE,
    PyBUF_WRITABLE,
    PyBuffer_Release,
    PyObject_GetBuffer,
)
from cpython.object cimport PyObject
from cpython.ref cimport Py_XDECREF
from libc.errno cimport (
    EADDRNOTAVAIL,
    EINVAL,
    ENOBUFS,
    ENODEV,
    ENOMEM,
    ENOPROTOOPT,
    ENOTCONN,
    EOPNOTSUPP,
)
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t
from libc.string cimport memcpy, memset
from pystack.core.endpoint cimport READY_READ
from pystack.core.ip.networks cimport ip_is_local
from pystack.core.memory.packet cimport Packet, packet_free
from pystack.core.udp.datagram cimport (
    datagram_bind,
    datagram_connect,
    datagram_disconnect,
    datagram_open,
    datagram_peek,
    datagram_peek_at,
    datagram_shut_read,
    datagram_shut_write,
    datagram_take,
    datagram_write,
)
from pystack.core.udp.layer cimport Datagram, DatagramInfo
from pystack.core.udp.multicast cimport multicast_call, multicast_filter
from pystack.core.wire.address cimport Addr, addr_is_any, addr_is_multicast, addr_is_v4
from pystack.engine.clock cimport AT_ONCE
from pystack.engine.endpoint cimport Handle, addr_bytes
from pystack.engine.engine cimport Engine, addr_from
from pystack.engine.errors cimport check
from pystack.engine.flags cimport MSG_DONTWAIT, MSG_MORE, MSG_OOB, MSG_PEEK
from pystack.engine.multicast cimport multicast_get, multicast_set
from pystack.engine.pybytes cimport bytes_start, filled_bytes, unfilled_bytes

cdef enum:
    SHUT_RD = 0
    SHUT_WR = 1
    SHUT_RDWR = 2
    LEVEL_UDP = 17
    UDP_SEGMENT = 103


cdef bint speaks_from_any(const Datagram* socket, const Addr* remote) noexcept nogil:
    """The socket leaves it to the stack from which address to speak."""
    if not addr_is_any(&socket.endpoint.key.local):
        return False
    return not addr_is_multicast(remote) or (
        addr_is_any(&socket.multicast[not addr_is_v4(remote)].source))


cdef Marks marks_of(const Datagram* socket) noexcept nogil:
    cdef Marks marks
    marks.flow_label = socket.endpoint.marking.flow_label
    marks.tos = socket.endpoint.marking.tos
    marks.ttl = socket.endpoint.marking.ttl
    marks.multicast_ttl[0] = socket.multicast[0].ttl
    marks.multicast_ttl[1] = socket.multicast[1].ttl
    return marks


cdef void marks_set(Datagram* socket, const Marks* marks) noexcept nogil:
    socket.endpoint.marking.flow_label = marks.flow_label
    socket.endpoint.marking.tos = marks.tos
    socket.endpoint.marking.ttl = marks.ttl
    socket.multicast[0].ttl = marks.multicast_ttl[0]
    socket.multicast[1].ttl = marks.multicast_ttl[1]


cdef void marks_override(Datagram* socket, const Target* to) noexcept nogil:
    """Mark what is sent next as sendmsg's control messages say."""
    if to.flow_label:
        socket.endpoint.marking.flow_label = to.flow_label
    if to.tos >= 0:
        socket.endpoint.marking.tos = <uint8_t>to.tos
    if to.ttl:
        socket.endpoint.marking.ttl = to.ttl
        socket.multicast[0].ttl = socket.multicast[1].ttl = to.ttl


cdef tuple arrival_of(const DatagramInfo* info):
    return (
        addr_bytes(&info.destination), info.gso_size, info.ttl, info.tos, info.destination_port,
        info.dropped, info.received_at, <uint32_t>info.tos << 20 | info.flow_label,
    )


@cython.no_gc_clear
cdef class DatagramHandle(Handle):
    """A datagram socket; protocol: 17, or 1 and 58 for echo."""

    def __init__(self, Engine engine, bint v6, uint8_t protocol):
        cdef Datagram* socket
        cdef int code
        with nogil:
            code = engine.enter()
            if code == 0:
                socket = datagram_open(&engine.core.udp, protocol, v6)
                if socket != NULL:
                    engine.add_owner(&self.owner, &socket.endpoint)
                else:
                    code = -ENOMEM
                engine.leave(&self.owner)
        check(code)

    cdef Datagram* datagram(self) noexcept nogil:
        return <Datagram*>self.owner.endpoint

    # Names.

    def bind(self, bytes address, uint16_t port):
        cdef Addr addr = addr_from(address)
        cdef int code
        with nogil:
            code = self.enter()
            if code == 0:
                code = datagram_bind(&self.engine.core.udp, self.datagram(), &addr, port)
                self.leave()
        check(code)

    def connect(self, bytes address, uint16_t port, timeout):
        cdef Addr addr = addr_from(address)
        cdef const Addr* source = &self.engine.source[0 if addr_is_v4(&addr) else 1]
        cdef int code
        with nogil:
            code = self.enter()
            if code == 0:
                if not self.datagram().bound and not addr_is_any(source):
                    datagram_bind(&self.engine.core.udp, self.datagram(), source, 0)
                code = datagram_connect(&self.engine.core.udp, self.datagram(), &addr, port)
                self.leave()
        check(code)

    def disconnect(self):
        cdef int code
        with nogil:
            code = self.enter()
            if code == 0:
                code = datagram_disconnect(&self.engine.core.udp, self.datagram())
                self.leave()
        check(code)

    def getpeername(self):
        """(address, port); OSError unless connected."""
        cdef Addr address
        cdef uint16_t port = 0
        cdef int code
        address.hi = address.lo = 0
        with nogil:
            code = self.enter()
            if code == 0:
                if not self.datagram().connected:
                    code = -ENOTCONN
                address = self.owner.endpoint.key.remote
                port = self.owner.endpoint.key.remote_port
                self.leave()
        check(code)
        return addr_bytes(&address), port

    # Receiving.

    cdef int64_t receive(
        self, uint8_t* target, size_t length, int flags, int64_t until, DatagramInfo* info
    ) noexcept nogil:
        """Copy the oldest datagram, as far as it fits; its whole length, or a negative code.

        With SO_PEEK_OFF and MSG_PEEK, what is left of the datagram at that place.
        """
        cdef Datagram* socket
        cdef Packet* packet
        cdef uint32_t offset
        cdef int64_t count
        cdef int code
        if flags & MSG_OOB:
            return -EOPNOTSUPP
        if flags & MSG_DONTWAIT:
            until = AT_ONCE
        memset(info, 0, sizeof(DatagramInfo))
        code = self.enter()
        if code < 0:
            return code
        while True:
            socket = self.datagram()
            if socket.endpoint.error:
                count = -socket.endpoint.error
                socket.endpoint.error = 0
                break
            offset = 0
            if flags & MSG_PEEK and self.peek_at >= 0:
                offset = self.peek_at
                packet = datagram_peek_at(socket, &offset, info)
            else:
                packet = datagram_peek(socket, info)
            if packet != NULL:
                count = packet.length - offset
                memcpy(target, packet.data + offset, min(<size_t>count, length))
                if flags & MSG_PEEK:
                    self.peeked(min(count, <int64_t>length))
                else:
                    self.consumed(min(count, <int64_t>length))
                    packet_free(&self.engine.core.context.slab, datagram_take(socket, info))
                break
            if socket.shut_read:
                count = 0
                break
            code = self.wait(READY_READ, until)
            if code < 0:
                return code
        self.leave()
        return count

    def recvmsg(self, Py_ssize_t length, int flags, timeout):
        """(data, address, port, whole length, (own address, size of pieces, TTL, TOS, own port,
        datagrams lost before it, when it came, IPv6's flow information)).

        size of pieces: of a train that is delivered whole (UDP_GRO), else 0. When: in the core's
        time, see epoch().
        """
        cdef int64_t until = self.until_read(timeout)
        cdef int64_t count
        cdef DatagramInfo info
        cdef PyObject* target
        cdef uint8_t* start
        if length < 0:
            raise ValueError("negative buffersize in recvfrom")
        length = min(length, 0xFFFF)    # no datagram or train is larger
        target = unfilled_bytes(NULL, length + 1)   # of length 0 or 1 they would be shared
        start = bytes_start(target)
        with nogil:
            count = self.receive(start, length, flags, until, &info)
        if count < 0:
            Py_XDECREF(target)
            check(count)
        return (
            filled_bytes(target, min(<Py_ssize_t>count, length)),
            addr_bytes(&info.source), info.source_port, count,
            arrival_of(&info),
        )

    def recvmsg_into(self, buffer, Py_ssize_t length, int flags, timeout):
        """As recvmsg, with the count of bytes in the buffer for data; length 0: all of it."""
        cdef int64_t until = self.until_read(timeout)
        cdef int64_t count
        cdef DatagramInfo info
        cdef Py_buffer view
        if length < 0:
            raise ValueError("negative buffersize in recvfrom_into")
        PyObject_GetBuffer(buffer, &view, PyBUF_WRITABLE)
        try:
            if length > view.len:
                raise ValueError("nbytes is greater than the length of the buffer")
            if length == 0:
                length = view.len
            with nogil:
                count = self.receive(<uint8_t*>view.buf, length, flags, until, &info)
            check(count)
        finally:
            PyBuffer_Release(&view)
        return (
            min(count, <int64_t>length),
            addr_bytes(&info.source), info.source_port, count,
            arrival_of(&info),
        )

    def recv(self, Py_ssize_t length, int flags, timeout):
        return self.recvmsg(length, flags, timeout)[0]

    def recv_into(self, buffer, Py_ssize_t length, int flags, timeout):
        return self.recvmsg_into(buffer, length, flags, timeout)[0]

    def queues(self):
        """As a stream's: bytes of the next datagram; what is sent does not wait."""
        cdef int64_t received = 0
        cdef int code
        with nogil:
            code = self.enter()
            if code == 0:
                if self.datagram().queue.first != NULL:
                    received = self.datagram().queue.first.length
                self.leave()
        check(code)
        return received, 0, 0

    # Sending.

    cdef int64_t transmit(
        self, const uint8_t* data, size_t length, const Target* to
    ) noexcept nogil:
        """Send one datagram, or the train that it is cut into; never blocks."""
        cdef Datagram* socket
        cdef const Addr* source = to.source
        cdef int64_t count = self.enter()
        cdef Marks before
        if count < 0:
            return count
        socket = self.datagram()
        if to.marked:
            before = marks_of(socket)
            marks_override(socket, to)
        if source == NULL and to.address != NULL and speaks_from_any(socket, to.address):
            source = &self.engine.source[0 if addr_is_v4(to.address) else 1]
        count = datagram_write(&self.engine.core.udp, socket, to.address, to.port, source,
                               data, length, to.gso_size, to.more)
        if to.marked:
            marks_set(socket, &before)
        self.leave()
        return count

    def sendto(
        self, data, int flags, bytes address, uint16_t port, bytes source=None, segment=None,
        uint32_t flow_label=0, uint8_t ttl=0, int tos=-1
    ):
        """Send one datagram; address: None for the connected one.

        source: the address of ours to send from. segment: the size of the pieces to cut the data
        into, otherwise that of UDP_SEGMENT. flow_label: of IPv6, 0 for that of the socket; so ttl,
        and tos -1.
        """
        cdef Addr to_address, from_address
        cdef Target to
        cdef Py_buffer view
        cdef int64_t count
        if flags & MSG_OOB:
            check(-EOPNOTSUPP)
        memset(&to, 0, sizeof(to))
        to.port = port
        to.more = flags & MSG_MORE != 0
        to.marked = flow_label != 0 or ttl != 0 or tos >= 0
        to.flow_label = flow_label
        to.ttl = ttl
        to.tos = tos
        to.gso_size = self.segment if segment is None else segment
        if address is not None:
            to_address = addr_from(address)
            to.address = &to_address
        if source is not None:
            from_address = addr_from(source)
            to.source = &from_address
        PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
        try:
            with nogil:
                count = self.transmit(<const uint8_t*>view.buf, view.len, &to)
            check(count)
        finally:
            PyBuffer_Release(&view)
        return count

    def send(self, data, int flags, timeout):
        return self.sendto(data, flags, None, 0)

    def sendall(self, data, int flags, timeout):
        self.sendto(data, flags, None, 0)

    def shutdown(self, int how):
        """how: 0 read, 1 write, 2 both."""
        cdef int code
        if how not in (SHUT_RD, SHUT_WR, SHUT_RDWR):
            check(-EINVAL)
        with nogil:
            code = self.enter()
            if code == 0:
                if how != SHUT_WR:
                    code = datagram_shut_read(&self.engine.core.udp, self.datagram())
                if how != SHUT_RD:
                    code = datagram_shut_write(&self.engine.core.udp, self.datagram())
                self.leave()
        check(code)

    # Groups.

    def member(self, int call, bytes group, bytes source, bytes interface):
        """Join or leave a group, or change which sources are heard: a MembershipCall.

        interface: an address of ours, or an unspecified one.
        """
        cdef Addr of = addr_from(group)
        cdef Addr sender = addr_from(source)
        cdef Addr at = addr_from(interface)
        cdef int code
        with nogil:
            code = self.enter()
            if code == 0:
                if addr_is_any(&at) or ip_is_local(&self.engine.core.ip, &at):
                    code = multicast_call(
                        &self.engine.core.udp, self.datagram(), call, &of, &sender)
                else:
                    code = -ENODEV
                self.leave()
        check(code)

    def filter(self, bytes group, bint only, list sources, bytes interface):
        """Hear only these sources of a group, or all but these; IP_MSFILTER."""
        cdef Addr of = addr_from(group)
        cdef Addr at = addr_from(interface)
        cdef Addr[64] listed
        cdef uint32_t number = <uint32_t>len(sources)
        cdef int code
        cdef uint32_t i
        if number > 64:
            check(-ENOBUFS)
        for i in range(number):
            listed[i] = addr_from(sources[i])
        with nogil:
            code = self.enter()
            if code == 0:
                if addr_is_any(&at) or ip_is_local(&self.engine.core.ip, &at):
                    code = multicast_filter(
                        &self.engine.core.udp, self.datagram(), &of, only, listed, number)
                else:
                    code = -ENODEV
                self.leave()
        check(code)

    def set_multicast_source(self, bytes address):
        """Speak to IPv4 groups from an address of ours; an unspecified one: the stack's choice."""
        cdef Addr source = addr_from(address)
        cdef int code
        with nogil:
            code = self.enter()
            if code == 0:
                if addr_is_any(&source) or ip_is_local(&self.engine.core.ip, &source):
                    self.datagram().multicast[0].source = source
                else:
                    code = -EADDRNOTAVAIL
                self.leave()
        check(code)

    def multicast_source(self):
        """As set_multicast_source."""
        cdef Addr source
        cdef int code
        source.hi = source.lo = 0
        with nogil:
            code = self.enter()
            if code == 0:
                source = self.datagram().multicast[0].source
                self.leave()
        check(code)
        return addr_bytes(&source)

    cdef int set_option(self, int level, int option, int64_t value) noexcept nogil:
        cdef int code
        if level == LEVEL_UDP and option == UDP_SEGMENT:
            if not 0 <= value <= 0xFFFF:
                return -EINVAL
            self.segment = <uint16_t>value
            return 0
        code = multicast_set(self.datagram(), level, option, value)
        if code != -ENOPROTOOPT:
            return code
        return Handle.set_option(self, level, option, value)

    cdef int get_option(self, int level, int option, int64_t* value) noexcept nogil:
        if level == LEVEL_UDP and option == UDP_SEGMENT:
            value[0] = self.segment
            return 0
        if multicast_get(self.datagram(), level, option, value) == 0:
            return 0
        return Handle.get_option(self, level, option, value)
