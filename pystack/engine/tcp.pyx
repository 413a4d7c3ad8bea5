# TcpHandle: a TCP socket as Python holds it.
# Called by: pystack.socket, which adds what is Python's: addresses as tuples, flags, constants.
# RFCs: 9293 section 3.9.1; socket(7), tcp(7).

cimport cython
from cpython.buffer cimport (
    PyBUF_SIMPLE,
    PyBUF_WRITABLE,
    PyBuffer_Release,
    PyObject_GetBuffer,
)
from cpython.bytes cimport PyBytes_FromStringAndSize
from cpython.object cimport PyObject
from cpython.ref cimport Py_XDECREF
from libc.errno cimport (
    EAGAIN,
    EALREADY,
    ECONNABORTED,
    ECONNRESET,
    EINPROGRESS,
    EINVAL,
    ENOMEM,
    ENOTCONN,
    EPIPE,
)
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport free
from pystack.core.endpoint cimport READY_LITTLE, READY_READ, READY_WRITE
from pystack.core.memory.flow cimport FlowKey
from pystack.core.memory.loan cimport Lender
from pystack.core.tcp.calls cimport (
    tcp_accept,
    tcp_bind,
    tcp_connect,
    tcp_drained,
    tcp_fast_open,
    tcp_listen,
    tcp_open,
    tcp_peek,
    tcp_receive,
    tcp_send,
    tcp_shutdown,
)
from pystack.core.tcp.configure cimport config_share, tcp_configure
from pystack.core.tcp.congestion.bbr cimport BbrInfo
from pystack.core.tcp.info cimport TcpInfo, tcp_congestion_info, tcp_info
from pystack.core.tcp.layer cimport (
    FAST_OPEN_DEFERRED,
    STATE_CLOSED,
    STATE_FIN_WAIT_2,
    STATE_LISTEN,
    STATE_SYN_RECEIVED,
    STATE_SYN_SENT,
    STATE_TIME_WAIT,
    FastOpenKeys,
    SavedSyn,
    Tcb,
    TcpConfig,
)
from pystack.core.tcp.receive cimport text_is_ready
from pystack.core.tcp.settings cimport tcp_get_fast_open_keys, tcp_set_fast_open_keys
from pystack.core.tcp.shared_settings cimport settings_share
from pystack.core.tcp.urgent cimport urgent_at_mark
from pystack.core.wire.address cimport Addr, addr_any, addr_is_any, addr_is_v4
from pystack.engine.clock cimport AT_ONCE
from pystack.engine.endpoint cimport Handle, addr_bytes, until_from
from pystack.engine.engine cimport Engine, addr_from, configured
from pystack.engine.errors cimport RAISED, check
from pystack.engine.flags cimport (
    MSG_DONTWAIT,
    MSG_FASTOPEN,
    MSG_MORE,
    MSG_OOB,
    MSG_PEEK,
    MSG_WAITALL,
)
from pystack.engine.owner cimport endpoint_poll
from pystack.engine.pybytes cimport bytes_start, filled_bytes, unfilled_bytes

cdef enum:
    SHUT_WR = 1
    SHORT = 16 << 10            # bytes that are copied without giving up the GIL
    ANY_EVENT = ~0
    WORTH_A_LOOK = 4096


cdef bint choose_source(Engine engine, Tcb* tcb, const Addr* remote) noexcept nogil:
    """Of a socket that is not bound, the stack's own source, if it has one; True if not bound."""
    cdef const Addr* source = &engine.source[0 if addr_is_v4(remote) else 1]
    cdef bint unbound = tcb.state == STATE_CLOSED and tcb.endpoint.key.local_port == 0
    if unbound and not addr_is_any(source):
        tcb.endpoint.key.local = source[0]
    return unbound


@cython.no_gc_clear
cdef class TcpHandle(Handle):
    """A connection, a listener, or neither yet."""

    def __init__(self, Engine engine, bint v6, bint fresh=True):
        """fresh: with a TCB of its own; otherwise accept provides one."""
        cdef Tcb* tcb
        cdef int code
        if not fresh:
            return
        with nogil:
            code = engine.enter()
            if code == 0:
                tcb = tcp_open(&engine.core.tcp, v6)
                if tcb != NULL:
                    engine.add_owner(&self.owner, &tcb.endpoint)
                else:
                    code = -ENOMEM
                engine.leave(&self.owner)
        check(code)

    cdef Tcb* tcb(self) noexcept nogil:
        return <Tcb*>self.owner.endpoint

    def configure(self, dict tcp):
        """Fields of the core's TcpConfig, of this socket and what it accepts; before it begins."""
        cdef TcpConfig config
        cdef int code
        with nogil:
            code = self.enter()
        check(code)
        try:
            config = configured(self.engine.core.tcp.config, tcp)
            code = tcp_configure(&self.engine.core.tcp, self.tcb(), &config)
        finally:
            with nogil:
                self.leave()
        check(code)

    # Names and listening.

    def bind(self, bytes address, uint16_t port):
        cdef Addr addr = addr_from(address)
        cdef int code
        with nogil:
            code = self.enter()
            if code == 0:
                code = tcp_bind(&self.engine.core.tcp, self.tcb(), &addr, port)
                self.leave()
        check(code)

    def listen(self, int backlog):
        cdef int code
        with nogil:
            code = self.enter()
            if code == 0:
                code = tcp_listen(&self.engine.core.tcp, self.tcb(), backlog)
                self.leave()
        check(code)

    cdef int accept_into(self, TcpHandle child, int64_t until, FlowKey* key) noexcept nogil:
        """Take the next connection and its names; 0 or a negative code."""
        cdef Tcb* tcb
        cdef int code = self.enter()
        if code < 0:
            return code
        while True:
            tcb = tcp_accept(&self.engine.core.tcp, self.tcb())
            if tcb != NULL:
                self.engine.add_owner(&child.owner, &tcb.endpoint)
                child.inherit(self)
                key[0] = tcb.endpoint.key
                break
            if self.tcb().state != STATE_LISTEN:
                code = -EINVAL
                break
            code = self.wait(READY_READ, until)
            if code < 0:
                return code
        self.leave()
        return code

    def accept(self, timeout):
        """(TcpHandle, address, port) of the next connection."""
        cdef TcpHandle child = TcpHandle.__new__(TcpHandle, self.engine)
        cdef int64_t until = self.until_read(timeout)
        cdef FlowKey key
        cdef int code
        with nogil:
            code = self.accept_into(child, until, &key)
        check(code)
        return child, addr_bytes(&key.remote), key.remote_port

    def getpeername(self):
        """(address, port); OSError unless connected."""
        cdef Addr address
        cdef uint16_t port = 0
        cdef int code
        address.hi = address.lo = 0
        with nogil:
            code = self.enter()
            if code == 0:
                if self.tcb().state in (STATE_CLOSED, STATE_LISTEN, STATE_SYN_SENT):
                    code = -ENOTCONN
                address = self.owner.endpoint.key.remote
                port = self.owner.endpoint.key.remote_port
                self.leave()
        check(code)
        return addr_bytes(&address), port

    # Connecting.

    cdef int begin_connect(self, const Addr* address, uint16_t port) noexcept nogil:
        """Send the SYN, from the stack's own source if the application has not bound another."""
        cdef Tcb* tcb = self.tcb()
        cdef bint unbound = choose_source(self.engine, tcb, address)
        cdef int code
        code = tcp_connect(&self.engine.core.tcp, tcb, address, port)
        if code == 0:
            tcb.endpoint.error = 0      # of what it was before disconnect()
        if code < 0 and unbound:
            tcb.endpoint.key.local = addr_any(tcb.v6)
        return code

    cdef bint in_handshake(self) noexcept nogil:
        return self.tcb().state in (STATE_SYN_SENT, STATE_SYN_RECEIVED) and not (
            self.tcb().fast_open & FAST_OPEN_DEFERRED)

    cdef int64_t begin_fast_open(
        self, const Addr* address, uint16_t port, const uint8_t* data, size_t length
    ) noexcept nogil:
        """The SYN, with what it carries of the data; or the end of a handshake that was begun."""
        cdef Tcb* tcb = self.tcb()
        cdef int64_t taken
        if self.connecting and not self.in_handshake() and tcb.state != STATE_CLOSED:
            self.connecting = False
            return 0
        if address != NULL:
            choose_source(self.engine, tcb, address)
        taken = tcp_fast_open(&self.engine.core.tcp, tcb, address, port, data, length)
        if taken < 0 and tcb.state == STATE_CLOSED and tcb.endpoint.key.local_port == 0:
            tcb.endpoint.key.local = addr_any(tcb.v6)
        return taken

    cdef int64_t open_fast(
        self, const Addr* address, uint16_t port, const uint8_t* data, size_t length, int64_t until
    ) noexcept nogil:
        """In a call: what the SYN took of the data, once the handshake is over if there is time to
        wait for that; or a negative code, out of the call.
        """
        cdef int code
        cdef int64_t taken = self.begin_fast_open(address, port, data, length)
        if taken == -EALREADY and until != AT_ONCE:
            taken = 0
        if taken < 0:
            self.leave()
            return taken
        if until == AT_ONCE:
            self.connecting = self.in_handshake()
            if taken or not self.connecting:
                return taken
            self.leave()
            return -EINPROGRESS
        code = self.finish_connect(until)
        self.connecting = code == -EINPROGRESS
        if code == 0:
            code = self.enter()
        return code if code < 0 else taken

    cdef int finish_connect(self, int64_t until) noexcept nogil:
        """Wait for the handshake, in a call; 0, or a negative code, out of the call either way."""
        cdef int code
        cdef Tcb* tcb = self.tcb()
        while self.in_handshake():
            if until == AT_ONCE:
                self.leave()
                return -EINPROGRESS
            code = self.wait(READY_WRITE, until)
            if code < 0:
                return -EINPROGRESS if code == -EAGAIN else code
        code = -tcb.endpoint.error
        tcb.endpoint.error = 0
        if code == 0 and tcb.state == STATE_CLOSED:
            code = -ECONNABORTED
        self.leave()
        return code

    def connect(self, bytes address, uint16_t port, timeout):
        """BlockingIOError (EINPROGRESS) without time to wait: the handshake goes on."""
        cdef Addr addr = addr_from(address)
        cdef int64_t until = self.until_written(timeout)
        cdef int code
        with nogil:
            code = self.enter()
            if code == 0:
                if self.connecting and not self.in_handshake():
                    code = 0
                else:
                    code = self.begin_connect(&addr, port)
                if code == 0 or (code == -EALREADY and until != AT_ONCE):
                    code = self.finish_connect(until)
                    self.connecting = code == -EINPROGRESS
                else:
                    self.leave()
        check(code)

    cdef int start_anew(self) noexcept nogil:
        """Reset the connection, and take a TCB that knows nothing of it but the settings."""
        cdef Tcb* before = self.tcb()
        cdef Tcb* tcb = tcp_open(&self.engine.core.tcp, before.v6)
        if tcb == NULL:
            return -ENOMEM
        config_share(&self.engine.core.tcp, tcb, before)
        settings_share(&self.engine.core.tcp, tcb, before)
        tcb.receive_buffer = before.receive_buffer
        tcb.send_buffer = before.send_buffer
        tcb.endpoint.marking = before.endpoint.marking
        tcb.endpoint.v6only = before.endpoint.v6only
        tcb.endpoint.manners = before.endpoint.manners
        if before.state not in (STATE_CLOSED, STATE_LISTEN, STATE_TIME_WAIT):
            tcb.endpoint.error = ECONNRESET     # as Linux
        self.engine.release_owner(&self.owner, True)
        self.engine.add_owner(&self.owner, &tcb.endpoint)
        return 0

    def disconnect(self):
        """As connect to AF_UNSPEC: a reset, and the socket is as if it were new."""
        cdef int code
        with nogil:
            code = self.enter()
            if code == 0:
                code = self.start_anew()
                self.leave()
        check(code)
        self.connecting = False

    def set_fast_open_keys(self, bytes keys):
        """TCP_FASTOPEN_KEY: 16 bytes, or 32 with the key before."""
        cdef uint64_t[4] words
        cdef uint32_t count = <uint32_t>(len(keys) // 16)
        cdef int code
        cdef int i
        if len(keys) not in (16, 32):
            check(-EINVAL)
        for i in range(2 * count):
            words[i] = int.from_bytes(keys[8 * i:8 * i + 8], "little")
        with nogil:
            code = self.enter()
            if code == 0:
                code = tcp_set_fast_open_keys(self.tcb(), words, count)
                self.leave()
        check(code)

    def fast_open_keys(self):
        """As they were set, or the stack's."""
        cdef FastOpenKeys keys
        cdef int code
        keys.count = 0
        with nogil:
            code = self.enter()
            if code == 0:
                tcp_get_fast_open_keys(&self.engine.core.tcp, self.tcb(), &keys)
                self.leave()
        check(code)
        return b"".join([keys.words[i].to_bytes(8, "little") for i in range(2 * keys.count)])

    def info(self):
        """Linux's struct tcp_info."""
        cdef TcpInfo info
        cdef int code
        with nogil:
            code = self.enter()
            if code == 0:
                tcp_info(&self.engine.core.tcp, self.tcb(), &info)
                self.leave()
        check(code)
        return PyBytes_FromStringAndSize(<const char*>&info, sizeof(TcpInfo))

    def congestion_info(self):
        """What its congestion control tells of itself, in Linux's structs; most say nothing."""
        cdef BbrInfo info
        cdef uint32_t length = 0
        cdef int code
        with nogil:
            code = self.enter()
            if code == 0:
                length = tcp_congestion_info(self.tcb(), &info)
                self.leave()
        check(code)
        return PyBytes_FromStringAndSize(<const char*>&info, length)

    def text_at(self):
        """When text last arrived, in the core's time; 0: none has."""
        cdef int64_t at = 0
        cdef int code
        with nogil:
            code = self.enter()
            if code == 0:
                if self.tcb().totals.bytes_received:
                    at = self.tcb().last_text_at
                self.leave()
        check(code)
        return at

    def queues(self):
        """Bytes: received and not read; not acknowledged; not sent for the first time."""
        cdef Tcb* tcb
        cdef int64_t received = 0, sent = 0, unsent = 0
        cdef int code
        with nogil:
            code = self.enter()
            if code == 0:
                tcb = self.tcb()
                received = tcb.busy.received.length
                sent = tcb.busy.send_ring.length
                if tcb.fin_queued and tcb.state not in (
                        STATE_CLOSED, STATE_FIN_WAIT_2, STATE_TIME_WAIT):
                    sent += 1       # a FIN counts, as in Linux
                unsent = sent - min(sent, <int64_t>(tcb.snd_nxt - tcb.snd_una))
                self.leave()
        check(code)
        return received, sent, unsent

    def at_mark(self):
        """Whether the next byte is the last one of urgent text (SIOCATMARK)."""
        cdef bint there = False
        cdef int code
        with nogil:
            code = self.enter()
            if code == 0:
                there = urgent_at_mark(self.tcb())
                self.leave()
        check(code)
        return there

    def saved_syn(self, Py_ssize_t room):
        """The headers of the peer's SYN (TCP_SAVED_SYN), once; EINVAL if they do not fit."""
        cdef Tcb* tcb
        cdef SavedSyn* saved = NULL
        cdef bytes found = b""
        cdef int code
        with nogil:
            code = self.enter()
            if code == 0:
                tcb = self.tcb()
                saved = tcb.rare.saved_syn
                if saved != NULL and saved.length > <size_t>max(room, <Py_ssize_t>0):
                    code = -EINVAL
                elif saved != NULL:
                    tcb.rare.saved_syn = NULL
                self.leave()
        check(code)
        if saved != NULL:
            found = PyBytes_FromStringAndSize(<const char*>saved.headers, saved.length)
            free(saved)
        return found

    # Receiving.

    cdef int64_t receive(
        self, uint8_t* target, size_t length, int flags, int64_t until
    ) noexcept nogil:
        """What is there, or with MSG_WAITALL everything; 0 at the end, or a negative code."""
        cdef size_t done = 0
        cdef int64_t count
        cdef bint peek = flags & MSG_PEEK
        cdef bint all_of_it = flags & MSG_WAITALL and not peek
        cdef size_t least
        if flags & MSG_OOB:
            return -EINVAL      # urgent data is in line (RFC 6093)
        if flags & MSG_DONTWAIT:
            until = AT_ONCE
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
                    &self.engine.core.tcp, self.tcb(), target + done, length - done, peek)
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
                count = self.wait(READY_READ | READY_LITTLE, until)
                if count < 0:
                    return done if done and count != RAISED else count
        self.leave()
        return done if done else count

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
        self.leave()
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
        if self.engine.crank is not None:
            return self.transmit(data, length, flags, until, everything, NULL, 0, lender)
        with nogil:
            count = self.transmit(data, length, flags, until, everything, NULL, 0, lender)
        return count

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
            lender = self.engine.lend(data, view.len)
            count = self.transmit_released(
                <const uint8_t*>view.buf, view.len, flags, until, everything, lender)
            self.engine.lent_all(lender)
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
