# Handle: a socket as Python holds it: what streams, listeners and datagram sockets share.
# Called by: tcp and datagram, which extend it; pystack.socket.
# RFCs: none; socket(7), ip(7), ipv6(7).

cimport cython
from cpython.bytes cimport PyBytes_FromStringAndSize
from cpython.object cimport PyObject
from cpython.ref cimport Py_XDECREF
from libc.errno cimport EAGAIN, EBADF
from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t
from libc.string cimport memcpy
from pystack.core.endpoint cimport ENDPOINT_TCP, Endpoint
from pystack.core.error_queue cimport (
    ORIGIN_LOCAL,
    ErrorReport,
    error_queue_next,
    error_queue_take,
)
from pystack.core.memory.packet cimport Packet, packet_free
from pystack.core.stack cimport core_enter
from pystack.core.wire.address cimport Addr, addr_store16
from pystack.engine.clock cimport AT_ONCE, NEVER
from pystack.engine.doorbell cimport doorbell_close, doorbell_open, doorbell_quiet
from pystack.engine.engine cimport Engine
from pystack.engine.errors cimport EDEADLK, FORKED, TIMED_OUT, check
from pystack.engine.options cimport endpoint_label, option_get, option_set
from pystack.engine.owner cimport (
    Waiter,
    endpoint_poll,
    owner_add_waiter,
    owner_init,
    owner_remove_waiter,
    owner_show,
)
from pystack.engine.pybytes cimport bytes_start, filled_bytes, unfilled_bytes
from pystack.engine.seat cimport seat_wait
from pystack.engine.world cimport turn_call, world_block

import os

cdef enum:
    SOL_SOCKET = 1
    SO_RCVTIMEO = 20
    SO_SNDTIMEO = 21
    SO_PEEK_OFF = 42


cdef int64_t until_from(Engine engine, object timeout) except -2:
    """The time at which a call with this timeout, seconds or None, gives up: of wait_clock."""
    cdef double seconds
    if timeout is None:
        return NEVER
    seconds = timeout
    if seconds <= 0:
        return AT_ONCE
    if seconds > 9e9:
        return NEVER
    return engine.wait_clock() + <int64_t>(seconds * 1e9)


cdef int64_t until_own(Engine engine, object timeout, int64_t own) except? -2:
    """own: SO_RCVTIMEO, SO_SNDTIMEO, of who has no timeout of Python's, as its socket blocks."""
    if timeout is not None or own == 0:
        return until_from(engine, timeout)
    return AT_ONCE if own < 0 else ~(engine.wait_clock() + own)


cdef bytes addr_bytes(const Addr* address):
    cdef uint8_t[16] octets
    addr_store16(octets, address)
    return PyBytes_FromStringAndSize(<char*>octets, 16)


@cython.no_gc_clear     # __dealloc__ needs the engine
cdef class Handle:
    """A socket of an engine.

    Addresses are 16 bytes, IPv4 as ::ffff:a.b.c.d; timeouts are seconds, None for ever.
    """

    def __cinit__(self, Engine engine, *args):
        self.engine = engine
        self.holders = 1
        owner_init(&self.owner)
        self.peek_at = -1

    def __dealloc__(self):
        if self.engine is not None and self.owner.endpoint != NULL:
            with nogil:
                self.release(False)
        doorbell_close(&self.owner.bell)    # also in a forked child

    cdef int enter(self) noexcept nogil:
        cdef int code = self.engine.enter()
        if code == 0 and self.owner.endpoint == NULL:
            self.engine.unlock()
            return -EBADF
        return code

    cdef void leave(self) noexcept nogil:
        self.engine.leave(&self.owner)

    cdef int wait(self, int events, int64_t until) noexcept nogil:
        """Sleep without the lock; the waiter was registered under the hold that found nothing."""
        cdef bint kernels = until < AT_ONCE
        cdef int code
        if kernels:
            until = ~until
        if until == AT_ONCE:
            self.leave()
            return -EAGAIN
        if self.engine.crank is not None:
            code = self.wait_in_world(events, until)
        else:
            code = seat_wait(self.engine, &self.owner, events, until)
        if code == FORKED:
            return FORKED
        self.engine.stay()
        if code == 0 and self.owner.endpoint == NULL:
            code = -EBADF
        if code == 0 and self.engine.failure:
            code = -self.engine.failure
        if code < 0:
            self.engine.unlock()
            return -EAGAIN if kernels and code == TIMED_OUT else code
        core_enter(self.engine.core, self.engine.now())
        return 0

    cdef int wait_in_world(self, int events, int64_t until) noexcept nogil:
        """The same in virtual time: seat_wait's contract."""
        cdef Waiter waiter
        cdef int code
        waiter.wake = turn_call
        waiter.context = &self.engine.crank.world.current.turn
        waiter.events = events
        owner_add_waiter(&self.owner, &waiter)
        self.leave()
        code = world_block(self.engine.crank.world, until)
        if self.engine.lock() < 0:
            return FORKED
        owner_remove_waiter(&self.owner, &waiter)
        return 0 if code == TIMED_OUT and waiter.woken else code

    cdef int64_t until_read(self, object timeout) except? -2:
        return until_own(self.engine, timeout, self.receive_timeout)

    cdef int64_t until_written(self, object timeout) except? -2:
        return until_own(self.engine, timeout, self.send_timeout)

    cdef void inherit(self, Handle parent) noexcept nogil:
        """What a connection takes over from its listener, beside what the TCB does."""
        self.receive_timeout = parent.receive_timeout
        self.send_timeout = parent.send_timeout
        self.peek_at = parent.peek_at

    cdef void peeked(self, int64_t count) noexcept nogil:
        """SO_PEEK_OFF: the next look goes on where this one ended."""
        if self.peek_at >= 0 and count > 0:
            self.peek_at = <int32_t>min(self.peek_at + count, <int64_t>0x7FFFFFFF)

    cdef void consumed(self, int64_t count) noexcept nogil:
        if self.peek_at >= 0 and count > 0:
            self.peek_at = <int32_t>max(self.peek_at - count, <int64_t>0)

    cdef void release(self, bint abort) noexcept nogil:
        """Let go of the endpoint, whoever waits for it."""
        cdef int code = self.engine.lock()
        if code == -EDEADLK:
            self.engine.bury_owner(&self.owner)
            doorbell_close(&self.owner.bell)
            return
        if code < 0:
            return
        if self.owner.endpoint != NULL:
            core_enter(self.engine.core, self.engine.now())
            self.engine.release_owner(&self.owner, abort)
            if not self.engine.failure:
                self.engine.flush()
        doorbell_close(&self.owner.bell)
        self.engine.unlock()

    cdef int set_option(self, int level, int option, int64_t value) noexcept nogil:
        if level == SOL_SOCKET and option == SO_RCVTIMEO:
            self.receive_timeout = value
        elif level == SOL_SOCKET and option == SO_SNDTIMEO:
            self.send_timeout = value
        elif level == SOL_SOCKET and option == SO_PEEK_OFF:
            self.peek_at = <int32_t>value
        else:
            return option_set(self.engine.core, self.owner.endpoint, level, option, value)
        return 0

    cdef int get_option(self, int level, int option, int64_t* value) noexcept nogil:
        if level == SOL_SOCKET and option == SO_RCVTIMEO:
            value[0] = max(self.receive_timeout, <int64_t>0)
        elif level == SOL_SOCKET and option == SO_SNDTIMEO:
            value[0] = max(self.send_timeout, <int64_t>0)
        elif level == SOL_SOCKET and option == SO_PEEK_OFF:
            value[0] = self.peek_at
        else:
            return option_get(self.engine.core, self.owner.endpoint, level, option, value)
        return 0

    def setsockopt(self, int level, int option, int64_t value):
        """Levels and options by Linux's numbers; SO_LINGER: seconds, negative for off; SO_RCVTIMEO
        and SO_SNDTIMEO: ns, 0 for none.
        """
        cdef int code
        with nogil:
            code = self.enter()
            if code == 0:
                code = self.set_option(level, option, value)
                self.leave()
        check(code)

    def getsockopt(self, int level, int option):
        """As setsockopt."""
        cdef int64_t value = 0
        cdef int code
        with nogil:
            code = self.enter()
            if code == 0:
                code = self.get_option(level, option, &value)
                self.leave()
        check(code)
        return value

    def set_flow_label(self, uint32_t label):
        """Of IPv6; 0: the stack chooses."""
        cdef int code
        with nogil:
            code = self.enter()
            if code == 0:
                endpoint_label(self.engine.core, self.owner.endpoint, label)
                self.leave()
        check(code)

    def take_error(self, Py_ssize_t length):
        """The oldest error of the error queue (IP_RECVERR), with up to `length` bytes quoted.

        (data, whole length, remote address, port, offender, errno, origin, type, code, info,
        offset of extensions, are they invalid, TTL, TOS). BlockingIOError: there is none.
        """
        cdef ErrorReport report
        cdef Packet* packet = NULL
        cdef Endpoint* endpoint
        cdef PyObject* target
        cdef uint8_t* start
        cdef Py_ssize_t count = 0
        cdef int code
        if length < 0:
            raise ValueError("negative buffer size in recvmsg()")
        length = min(length, 0xFFFF)    # no packet is larger
        target = unfilled_bytes(NULL, length + 1)   # of length 0 or 1 they would be shared
        start = bytes_start(target)
        with nogil:
            code = self.enter()
            if code == 0:
                endpoint = self.owner.endpoint
                packet = error_queue_take(endpoint.errors, &report)
                if packet == NULL:
                    code = -EAGAIN
                else:
                    # As Linux: the pending error is that of the next report.
                    if report.origin != ORIGIN_LOCAL:
                        endpoint.error = error_queue_next(endpoint.errors)
                    count = packet.length
                    memcpy(start, packet.data, min(count, length))
                    packet_free(&self.engine.core.context.slab, packet)
                self.leave()
        if code < 0:
            Py_XDECREF(target)
            check(code)
        return (
            filled_bytes(target, min(count, length)), count,
            addr_bytes(&report.remote), report.port, addr_bytes(&report.offender), report.error,
            report.origin, report.icmp_type, report.icmp_code, report.info, report.extension_at,
            bool(report.extension_invalid), report.ttl, report.tos,
        )

    def getsockname(self):
        """(address, port); the unspecified address and 0 where none is known yet."""
        cdef Addr address
        cdef uint16_t port = 0
        cdef int code
        address.hi = address.lo = 0
        with nogil:
            code = self.enter()
            if code == 0:
                address = self.owner.endpoint.key.local
                port = self.owner.endpoint.key.local_port
                self.leave()
        check(code)
        return addr_bytes(&address), port

    def epoch(self):
        """What makes the core's times those since 1970, of the caller, or of the virtual world."""
        return self.engine.epoch()

    def poll(self):
        """Ready bits (1 read, 2 write, 4 error, 8 hang-up)."""
        cdef int ready = 0
        cdef int code
        with nogil:
            code = self.enter()
            if code == 0:
                ready = endpoint_poll(self.owner.endpoint)
                self.leave()
        check(code)
        return ready

    def fileno(self):
        """An fd that is readable and writable when the socket is; -1: closed."""
        cdef int code
        if self.owner.endpoint == NULL:
            return -1
        with nogil:
            code = self.enter()
        check(code)
        try:
            if self.owner.bell.outer < 0:
                doorbell_open(&self.owner.bell, self.owner.endpoint.kind == ENDPOINT_TCP)
                owner_show(&self.owner)
        finally:
            with nogil:
                self.leave()
        return self.owner.bell.outer

    @property
    def own_fileno(self):
        """What fileno() has returned, which is closed with the handle, or has been; -1: nothing."""
        return self.owner.bell.number

    def lend_fileno(self):
        """A number for one more socket: that of fileno(), then duplicates of it."""
        fd = self.fileno()
        if fd < 0 or self.owner.bell.lent:
            return os.dup(fd)
        self.owner.bell.lent = True
        return fd

    def move_fileno(self, int fd):
        """Use a duplicate of fileno() in its place, which is not lent; return what that was."""
        self.lock()
        before = self.owner.bell.outer
        self.owner.bell.outer = self.owner.bell.number = fd
        self.owner.bell.lent = False
        self.unlock()
        return before

    def take_bell(self):
        """Give away the pair of fileno(), with nothing in it: (what that returned, the other)."""
        self.lock()
        try:
            doorbell_quiet(&self.owner.bell)
            pair = self.owner.bell.outer, self.owner.bell.inner
            self.owner.bell.outer = self.owner.bell.inner = self.owner.bell.number = -1
        finally:
            self.unlock()
        return pair

    def give_bell(self, int outer, int inner):
        """A pair that take_bell gave away: fileno() returns `outer`, which is lent."""
        self.lock()
        try:
            doorbell_close(&self.owner.bell)
            self.owner.bell.outer = self.owner.bell.number = outer
            self.owner.bell.inner = inner
            self.owner.bell.lent = True
            doorbell_quiet(&self.owner.bell)
            owner_show(&self.owner)
        finally:
            self.unlock()

    cdef int lock(self) except -1:
        """The stack's, also if that is closed."""
        cdef int code
        with nogil:
            code = self.engine.lock()
        check(code)
        return 0

    cdef int unlock(self) except -1:
        with nogil:
            self.engine.unlock()
        return 0

    @property
    def closed(self):
        return self.owner.endpoint == NULL

    def hold(self):
        """One more socket for it: each is to let go."""
        if self.owner.endpoint == NULL:
            check(-EBADF)
        self.holders += 1

    def let_go(self):
        """Whether that was the last socket that held it, which is to close it."""
        self.holders -= 1
        return self.holders <= 0

    def clock(self):
        """The time by which timeouts of its calls count, ns."""
        return self.engine.wait_clock()

    def close(self, timeout=None):
        """Let go of the socket; calls that wait for it end with EBADF."""
        with nogil:
            self.release(False)
