# TcpHandle: a TCP socket as Python holds it: what is sent and received, and the end.
# Called by: pystack.socket, which adds what is Python's: addresses as tuples, flags, constants.
# RFCs: 9293 section 3.9.1; socket(7), tcp(7).

cimport cython
from cpython.buffer cimport PyBUF_SIMPLE, PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.object cimport PyObject
from cpython.ref cimport Py_XDECREF
from libc.errno cimport EAGAIN, EINVAL, ENOTCONN, EPIPE
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint64_t
from libc.string cimport memset
from pystack.core.endpoint cimport READY_LITTLE, READY_READ, READY_WRITE
from pystack.core.memory.loan cimport Lender
from pystack.core.tcp.calls cimport tcp_drained, tcp_shutdown
from pystack.core.tcp.layer cimport FAST_OPEN_DEFERRED, Tcb, TcpLayer
from pystack.core.tcp.receive cimport text_is_ready
from pystack.core.tcp.transfer cimport (
    tcp_drop_begin,
    tcp_drop_end,
    tcp_peek,
    tcp_receive,
    tcp_send,
)
from pystack.core.tcp.urgent cimport urgent_at_mark
from pystack.core.wire.address cimport Addr
from pystack.engine.clock cimport AT_ONCE
from pystack.engine.endpoint cimport until_from
from pystack.engine.engine cimport addr_from
from pystack.engine.errors cimport RAISED, check
from pystack.engine.flags cimport (
    MSG_DONTWAIT,
    MSG_FASTOPEN,
    MSG_MORE,
    MSG_OOB,
    MSG_PEEK,
    MSG_TRUNC,
    MSG_WAITALL,
)
from pystack.engine.owner cimport endpoint_poll
from pystack.engine.pybytes cimport bytes_start, filled_bytes, unfilled_bytes
from pystack.engine.tcp_endpoint cimport TcpEndpoint

cdef enum:
    SHUT_WR = 1
    SHORT = 16 << 10            # bytes that are copied without giving up the GIL
    ANY_EVENT = ~0
    WORTH_A_LOOK = 4096


@cython.no_gc_clear
cdef class TcpHandle(TcpEndpoint):
    """A connection, a listener, or neither yet."""

    # Receiving.

    cdef int64_t receive(
        self, uint8_t* target, size_t length, int flags, int64_t until
    ) noexcept nogil:
        """What is there, or with MSG_WAITALL everything; 0 at the end, or a negative code.

        With MSG_TRUNC the bytes are dropped, as tcp(7) says, and the target stays as it was.
        """
        cdef size_t done = 0
        cdef int64_t count
        cdef bint peek = flags & MSG_PEEK
        cdef bint all_of_it = flags & MSG_WAITALL and not peek
        cdef size_t least
        if flags & MSG_OOB:
            return -EINVAL      # urgent data is in line (RFC 6093)
        if flags & MSG_DONTWAIT:
            until = AT_ONCE
        if flags & MSG_TRUNC:
            target = NULL
        count = self.enter()
        if count < 0:
            return count
        least = length if all_of_it else min(length, <size_t>self.tcb().settings.receive_low)
        while True:
            # As Linux: what was taken is told first, the mark or the error with the next call.
            if done and (urgent_at_mark(self.tcb()) or (
                    self.tcb().endpoint.error and self.tcb().busy.received.length == 0)):
                break
            if peek and self.peek_at > 0:
                count = tcp_peek(&self.engine.core.tcp, self.tcb(), target, length, self.peek_at)
            else:
                count = tcp_receive(
                    &self.engine.core.tcp, self.tcb(), target + done if target != NULL else NULL,
                    length - done, peek)
            if count > 0:
                done += count
                if self.peek_at >= 0:
                    if peek:
                        self.peeked(count)
                    else:
                        self.consumed(count)
            if count == 0 or done >= least or (done and peek):
                break
            if count < 0 and count != -EAGAIN:
                break
            if count == -EAGAIN:
                # What has been taken already counts towards SO_RCVLOWAT.
                if target == NULL and all_of_it:
                    count = self.wait_and_drop(length, &done, until)
                else:
                    count = self.wait(READY_READ | READY_LITTLE, until)
                if count < 0:
                    return done if done and count != RAISED else count
        self.engine.leave_to_driver(&self.owner)
        return done if done else count

    cdef int wait_and_drop(self, size_t length, size_t* done, int64_t until) noexcept nogil:
        """wait() until `length` bytes have come, which are dropped without waking anybody, or
        something else has happened.
        """
        cdef TcpLayer* tcp = &self.engine.core.tcp
        cdef Tcb* tcb = self.tcb()
        cdef uint64_t dropped
        cdef int code
        if not tcp_drop_begin(tcp, tcb, length - done[0]):
            return self.wait(READY_READ | READY_LITTLE, until)
        code = self.wait(READY_READ | READY_LITTLE, until)
        if code < 0 and self.engine.lock() < 0:     # the wait has given it back
            return code
        if self.owner.endpoint == &tcb.endpoint:
            dropped = tcp_drop_end(tcp, tcb)
            done[0] += dropped
            self.consumed(dropped)
        if code < 0:
            self.engine.unlock()
        return code

    cdef int64_t receive_released(
        self, uint8_t* target, size_t length, int flags, int64_t until
    ) noexcept:
        """The same without the GIL; but in virtual time nobody else runs who could want it, and to
        give it back costs as much as a packet.
        """
        cdef int64_t count
        if self.engine.crank is not None:
            return self.receive(target, length, flags, until)
        with nogil:
            count = self.receive(target, length, flags, until)
        return count

    cdef size_t waiting(self) noexcept nogil:
        """Bytes that a read finds without waiting."""
        cdef size_t count = 0
        if self.engine.lock() == 0:
            if self.owner.endpoint != NULL and text_is_ready(self.tcb()):
                count = self.tcb().busy.received.length
            self.engine.unlock()
        return count

    def recv(self, Py_ssize_t length, int flags, timeout):
        """1 to `length` bytes; b"" at the end of the stream."""
        cdef int64_t until = self.until_read(timeout)
        cdef int64_t count
        cdef PyObject* target
        cdef uint8_t* start
        if length < 0:
            raise ValueError("negative buffersize in recv")
        if length == 0:
            return b""
        if length > WORTH_A_LOOK and not flags & MSG_WAITALL:
            # Memory for just what there is costs less than much that is cut.
            with nogil:
                count = self.waiting()
            if count or until == AT_ONCE:
                length = min(length, max(count, <int64_t>WORTH_A_LOOK))
        target = unfilled_bytes(NULL, length)
        start = bytes_start(target)
        if flags & MSG_TRUNC:
            memset(start, 0, length)
        count = self.receive_released(start, length, flags, until)
        if count < 0:
            Py_XDECREF(target)
            check(count)
        return filled_bytes(target, count)

    cdef bytes take(self, size_t most):
        """For event loops: one hold of the lock to look and to read."""
        cdef PyObject* target
        cdef size_t length
        cdef int64_t count
        if self.enter() < 0:
            return None         # whoever reads then is told why
        length = min(<size_t>self.tcb().busy.received.length, most)
        if endpoint_poll(self.owner.endpoint) & ~READY_WRITE != READY_READ or length == 0:
            self.engine.unlock()
            return None
        try:
            target = unfilled_bytes(NULL, length)
        except MemoryError:
            self.engine.unlock()
            raise
        if length <= SHORT:
            count = self.take_into(bytes_start(target), length)
        else:
            with nogil:
                count = self.take_into(bytes_start(target), length)
        if count < 0:
            Py_XDECREF(target)
            check(count)
        return filled_bytes(target, count)

    cdef int64_t take_into(self, uint8_t* target, size_t length) noexcept nogil:
        cdef int64_t count = tcp_receive(
            &self.engine.core.tcp, self.tcb(), target, length, False)
        self.consumed(count)
        self.engine.leave_to_driver(&self.owner)
        return count

    def recv_into(self, buffer, Py_ssize_t length, int flags, timeout):
        """How many bytes were put into the buffer; length 0: as many as it holds."""
        cdef int64_t until = self.until_read(timeout)
        cdef int64_t count = 0
        cdef Py_buffer view
        if length < 0:
            raise ValueError("negative buffersize in recv_into")
        PyObject_GetBuffer(buffer, &view, PyBUF_WRITABLE)
        try:
            if length > view.len:
                raise ValueError("buffer too small for requested bytes")
            if length == 0:
                length = view.len
            if length > 0:
                count = self.receive_released(<uint8_t*>view.buf, length, flags, until)
                check(count)
        finally:
            PyBuffer_Release(&view)
        return count

    # Sending.

    cdef int64_t transmit(
        self, const uint8_t* data, size_t length, int flags, int64_t until, bint everything,
        const Addr* address, uint16_t port, Lender* lender
    ) noexcept nogil:
        """How many bytes were taken: at least one, or everything; or a negative code.

        With MSG_FASTOPEN it opens the connection, and a call that may wait takes all.
        """
        cdef size_t done = 0
        cdef int64_t count
        if flags & MSG_DONTWAIT:
            until = AT_ONCE
        count = self.enter()
        if count < 0:
            return count
        if flags & MSG_FASTOPEN or self.tcb().fast_open & FAST_OPEN_DEFERRED:
            count = self.open_fast(address, port, data, length, until)
            if count < 0:
                return count
            done = count
            everything = everything or until != AT_ONCE
            if done == length or not everything:
                self.leave()
                return count
        while True:
            count = tcp_send(&self.engine.core.tcp, self.tcb(), data + done, length - done,
                             flags & MSG_MORE != 0, flags & MSG_OOB != 0, lender)
            if count >= 0:
                done += count
                if done == length or not everything:
                    break
            elif count == -EAGAIN:
                count = self.wait(READY_WRITE, until)
                if count < 0:
                    return count
            else:
                break
        if length <= SHORT:
            self.engine.leave_to_driver(&self.owner)
        else:
            self.leave()
        if count == -ENOTCONN:
            return -EPIPE       # as Linux says it
        return <int64_t>done if count >= 0 else count

    cdef int64_t transmit_released(
        self, const uint8_t* data, size_t length, int flags, int64_t until, bint everything,
        Lender* lender
    ) noexcept:
        """The same without the GIL, as receive_released."""
        cdef int64_t count
        cdef size_t done = 0
        if self.engine.crank is not None:
            return self.transmit(data, length, flags, until, everything, NULL, 0, lender)
        if length <= SHORT and not flags:
            count = self.transmit_short(data, length)
            if count != -EAGAIN:
                if count < 0 or count == <int64_t>length or not everything:
                    return count
                done = count
        with nogil:
            count = self.transmit(
                data + done, length - done, flags, until, everything, NULL, 0, lender)
        return <int64_t>done + count if count >= 0 else count

    cdef int64_t transmit_short(self, const uint8_t* data, size_t length) noexcept:
        """How many bytes were taken at once, or a negative code; -EAGAIN: transmit() is to do it.

        With the GIL if the lock is free and a driver sends them: to take it again would cost more
        than all the rest. But to send takes longer than other threads should be kept waiting.
        """
        cdef int64_t count
        if self.engine.is_entered():
            return -EAGAIN
        count = self.enter()
        if count < 0:
            return count
        if self.tcb().fast_open & FAST_OPEN_DEFERRED:
            self.engine.unlock()
            return -EAGAIN
        count = tcp_send(&self.engine.core.tcp, self.tcb(), data, length, False, False, NULL)
        if self.engine.driven:
            self.engine.leave_holding(&self.owner)
        else:
            with nogil:
                self.leave()
        return -EPIPE if count == -ENOTCONN else count      # as Linux says it

    cdef int64_t submit(
        self, const uint8_t* data, size_t length, bint hold, Lender* lender
    ) noexcept nogil:
        """For event loops."""
        cdef int64_t count = self.enter()
        if count < 0:
            return count
        if self.tcb().fast_open & FAST_OPEN_DEFERRED:
            self.engine.unlock()
            return self.transmit(data, length, 0, AT_ONCE, False, NULL, 0, lender)
        count = tcp_send(&self.engine.core.tcp, self.tcb(), data, length, False, False, lender)
        if hold and count == <int64_t>length:
            self.engine.leave_holding(&self.owner)
        else:
            self.leave()
        return -EPIPE if count == -ENOTCONN else count

    def fast_open(self, data, int flags, bytes address, uint16_t port, timeout):
        """Open the connection with data in the SYN (MSG_FASTOPEN); how many bytes were taken.

        BlockingIOError (EINPROGRESS) without time to wait if the SYN carries nothing: without a
        cookie it asks for one.
        """
        cdef Addr addr = addr_from(address)
        cdef int64_t until = self.until_written(timeout)
        cdef int64_t count
        cdef Py_buffer view
        PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
        try:
            with nogil:
                count = self.transmit(
                    <const uint8_t*>view.buf, view.len, flags, until, False, &addr, port, NULL)
            check(count)
        finally:
            PyBuffer_Release(&view)
        return count

    cdef int64_t transmit_from(self, data, int flags, timeout, bint everything) except -1:
        cdef int64_t until = self.until_written(timeout)
        cdef int64_t count
        cdef Lender* lender
        cdef Py_buffer view
        PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
        try:
            lender = self.engine.begin_lending(data, view.len)
            count = self.transmit_released(
                <const uint8_t*>view.buf, view.len, flags, until, everything, lender)
            self.engine.end_lending(lender)
            check(count)
        finally:
            PyBuffer_Release(&view)
        return count

    def send(self, data, int flags, timeout):
        """How many bytes were taken, at least one."""
        return self.transmit_from(data, flags, timeout, False)

    def sendall(self, data, int flags, timeout):
        """Everything within the timeout; after an error nobody knows how much."""
        self.transmit_from(data, flags, timeout, True)

    # The end.

    def shutdown(self, int how):
        """how: 0 read, 1 write, 2 both."""
        cdef int code
        with nogil:
            code = self.enter()
            if code == 0:
                code = tcp_shutdown(&self.engine.core.tcp, self.tcb(), how)
                self.leave()
        check(code)

    cdef int linger(self, bint may_wait) noexcept nogil:
        """With SO_LINGER, wait as long as it says until the peer has everything (socket(7)).

        Not if unread data makes the close a reset, nor if the socket does not block.
        """
        cdef Tcb* tcb
        cdef bint lingers
        cdef int64_t until
        cdef int code = self.enter()
        if code < 0:
            return 0
        tcb = self.tcb()
        lingers = may_wait and tcb.settings.linger and tcb.settings.linger_s
        if lingers and not tcb.busy.received.length:
            until = self.engine.wait_clock() + <int64_t>tcb.settings.linger_s * 1_000_000_000
            if tcp_shutdown(&self.engine.core.tcp, tcb, SHUT_WR) == 0:
                while not tcp_drained(tcb):
                    code = self.wait(ANY_EVENT, until)
                    if code < 0:
                        return code
        self.leave()
        return 0

    def close(self, timeout=None):
        """Let go: data that was sent still goes out. Calls that wait end with EBADF."""
        cdef bint may_wait = until_from(self.engine, timeout) != AT_ONCE
        cdef int code
        with nogil:
            code = self.linger(may_wait)
            self.release(False)
        self.engine.give_back()
        if code == RAISED:
            check(code)

    def abort(self):
        """Let go with a reset; what is queued is lost."""
        with nogil:
            self.release(True)
        self.engine.give_back()
