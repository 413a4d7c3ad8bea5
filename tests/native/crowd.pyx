# What a request costs a stack that has many connections: those of a second stack, to its echo.
# Called by: tools/bench/trial.py, tests/unit/test_bench.py.
# RFCs: none.

from libc.stdint cimport int64_t
from libc.stdlib cimport calloc, free
from native.pair cimport (
    ECHO_PORT, FLIGHT_NS, Pair, check, handed_over, receive, send, settle, take_in,
)
from posix.time cimport CLOCK_MONOTONIC, clock_gettime, timespec
from pystack.core.endpoint cimport SERVICE_ECHO
from pystack.core.ip.layer cimport PROTOCOL_TCP
from pystack.core.memory.packet cimport Packet, packet_pop
from pystack.core.stack cimport core_abort_all, core_serve, core_take_ready
from pystack.core.tcp.calls cimport tcp_bind, tcp_listen, tcp_open
from pystack.core.tcp.layer cimport Tcb
from pystack.core.wire.address cimport Addr, addr_any

cdef enum:
    BUSY = 64                   # connections that requests come on; the others are idle
    ADDRESSES = 200             # of the near side, so that there are ports enough
    BLOCKS = 20


cdef int64_t clock_ns() noexcept:
    cdef timespec time
    clock_gettime(CLOCK_MONOTONIC, &time)
    return <int64_t>time.tv_sec * 1_000_000_000 + time.tv_nsec


cdef class Crowd(Pair):
    """A number of established connections."""

    cdef Tcb** all
    cdef int number

    def __init__(self, int number):
        self.begin(number)
        self.all = <Tcb**>calloc(number, sizeof(Tcb*))
        if self.all == NULL:
            raise MemoryError
        for i in range(number):
            self.connect(&self.far, ECHO_PORT, i % ADDRESSES)
            self.round_trip()
            self.round_trip()
            self.all[i] = self.far.tcb
            self.far.tcb = NULL
            self.number += 1

    def begin(self, int number):
        """Have the near side listen."""
        check(core_serve(self.near.core, SERVICE_ECHO, PROTOCOL_TCP, ECHO_PORT))

    def __dealloc__(self):
        cdef int events
        core_abort_all(self.far.core)
        while core_take_ready(self.far.core, &events) != NULL:
            pass
        for i in range(self.number):
            self.far.tcb = self.all[i]
            self.close(&self.far)
        free(self.all)

    cdef int64_t request(self, Tcb* tcb) except -1:
        """One byte and its echo; ns that the near side has worked."""
        cdef int64_t start, used
        self.carry(&self.far, &self.near)   # acknowledgments that were delayed until now
        self.far.tcb = tcb
        self.call(&self.far, send, 1)
        self.call(&self.far, settle)
        self.now += FLIGHT_NS
        self.near.packet = handed_over(&self.far, &self.near, packet_pop(&self.far.out))
        if self.near.packet == NULL:
            raise MemoryError
        self.near.now = self.now
        start = clock_ns()
        take_in(&self.near)
        settle(&self.near)
        used = clock_ns() - start
        self.carry(&self.near, &self.far)
        if self.call(&self.far, receive, 1) != 1:
            raise RuntimeError("a request was not answered")
        self.far.tcb = NULL
        return used

    def cost(self, int times):
        """ns for each request: the mean of the fastest block of so many."""
        cdef int busy = min(BUSY, self.number)
        cdef int distance = self.number // busy
        cdef int64_t used, least = 0
        for block in range(BLOCKS):
            used = 0
            for i in range(times):
                used += self.request(self.all[i % busy * distance])
            least = used if block == 0 else min(least, used)
        return <double>least / times


cdef class Farewell(Crowd):
    """Connections that nobody accepts, and that end in one batch."""

    def begin(self, int number):
        cdef Addr here = addr_any(False)
        self.near.core.tcp.config.max_backlog = number
        self.near.tcb = tcp_open(&self.near.core.tcp, False)
        if self.near.tcb == NULL:
            raise MemoryError
        self.near.tcb.endpoint.owner = <void*>self
        check(tcp_bind(&self.near.core.tcp, self.near.tcb, &here, ECHO_PORT))
        check(tcp_listen(&self.near.core.tcp, self.near.tcb, number))

    @property
    def connections(self):
        """How many the near side has."""
        return self.near.core.tcp.connection_count - 1

    cdef int hand_over(self) except -1:
        """What the far side has to say; it is all one batch."""
        cdef Packet* packet
        self.call(&self.far, settle)
        packet = packet_pop(&self.far.out)
        while packet != NULL:
            self.near.packet = handed_over(&self.far, &self.near, packet)
            if self.near.packet == NULL:
                raise MemoryError
            self.call(&self.near, take_in)
            packet = packet_pop(&self.far.out)
        return 0

    def end(self):
        """A byte on each of them, which it has to acknowledge and to tell of; then resets."""
        for i in range(self.number):
            self.far.tcb = self.all[i]
            self.call(&self.far, send, 1)
        self.far.tcb = NULL
        self.hand_over()
        core_abort_all(self.far.core)
        self.hand_over()
        self.call(&self.near, settle)
