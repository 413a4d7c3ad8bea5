# TcpEndpoint: how a TCP socket gets its names, listens, is opened, and what it tells of itself.
# Called by: tcp, which adds the bytes and the end.
# RFCs: 9293 section 3.9.1; socket(7), tcp(7).

cimport cython
from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.errno cimport (
    EAGAIN,
    EALREADY,
    ECONNABORTED,
    ECONNRESET,
    EINPROGRESS,
    EINVAL,
    ENOMEM,
    ENOTCONN,
)
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport free
from pystack.core.endpoint cimport READY_READ, READY_WRITE
from pystack.core.memory.flow cimport FlowKey
from pystack.core.tcp.calls cimport (
    tcp_accept,
    tcp_bind,
    tcp_connect,
    tcp_fast_open,
    tcp_listen,
    tcp_open,
)
from pystack.core.tcp.config cimport TcpConfig
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
)
from pystack.core.tcp.settings cimport tcp_get_fast_open_keys, tcp_set_fast_open_keys
from pystack.core.tcp.shared_settings cimport settings_share
from pystack.core.tcp.urgent cimport urgent_at_mark
from pystack.core.wire.address cimport Addr, addr_any, addr_is_any, addr_is_v4
from pystack.engine.clock cimport AT_ONCE
from pystack.engine.doorbell cimport doorbell_renew
from pystack.engine.endpoint cimport Handle, addr_bytes
from pystack.engine.engine cimport Engine, addr_from, configured
from pystack.engine.errors cimport check
from pystack.engine.owner cimport owner_show


cdef bint choose_source(Engine engine, Tcb* tcb, const Addr* remote) noexcept nogil:
    """Of a socket that is not bound, the stack's own source, if it has one; True if not bound."""
    cdef const Addr* source = &engine.source[0 if addr_is_v4(remote) else 1]
    cdef bint unbound = tcb.state == STATE_CLOSED and tcb.endpoint.key.local_port == 0
    if unbound and not addr_is_any(source):
        tcb.endpoint.key.local = source[0]
    return unbound


@cython.no_gc_clear
cdef class TcpEndpoint(Handle):
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

    cdef int accept_into(self, TcpEndpoint child, int64_t until, FlowKey* key) noexcept nogil:
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
        """(one such, address, port) of the next connection."""
        cdef TcpEndpoint child = self.__class__.__new__(self.__class__, self.engine)
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
        self.lock()
        try:
            doorbell_renew(&self.owner.bell)
            owner_show(&self.owner)
        finally:
            self.unlock()

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
