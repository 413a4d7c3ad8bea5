# Engine: one stack in one process: core, lock, device, clock, and the sockets that are held.
# Called by: endpoint (socket calls), thread and caller (drivers), pystack.stack (the rest).
# RFCs: none.

cimport cython
from cpython.pystate cimport PyThreadState
from libc.errno cimport EBADF, ENETDOWN
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free, realloc
from libc.string cimport memcpy
from pystack.core.counters cimport COUNTER_COUNT
from pystack.core.endpoint cimport ENDPOINT_DOORMAN, ENDPOINT_TCP, Endpoint
from pystack.core.ip.doorman cimport doorman_close
from pystack.core.memory.loan cimport Lender, lender_repay
from pystack.core.memory.packet cimport (
    PACKET_MAX,
    Packet,
    PacketQueue,
    packet_free,
    packet_linearize,
    packet_pop,
    packet_push,
    packet_queue_release,
)
from pystack.core.stack cimport (
    CoreConfig,
    core_abort_all,
    core_deadline,
    core_default_config,
    core_enter,
    core_free,
    core_input,
    core_new,
    core_take_ready,
    core_take_strays,
    core_take_tx,
)
from pystack.core.tcp.calls cimport tcp_abort, tcp_close
from pystack.core.tcp.layer cimport Tcb
from pystack.core.tcp.metrics cimport metrics_forget
from pystack.core.udp.datagram cimport datagram_close
from pystack.core.udp.layer cimport Datagram
from pystack.core.wire.address cimport addr_any, addr_load16
from pystack.device.base cimport Device
from pystack.device.segmentation cimport packet_segment
from pystack.engine.bed cimport Bed, beds_release, roused_take
from pystack.engine.capture cimport Capture
from pystack.engine.clock cimport clock_ns
from pystack.engine.errors cimport EDEADLK, FORKED, check
from pystack.engine.lending cimport Lending, lending_drop, lending_new
from pystack.engine.mutex cimport (
    Mutex,
    mutex_close,
    mutex_lock,
    mutex_open,
    mutex_try,
    mutex_unlock,
)
from pystack.engine.owner cimport Owner, owner_ready, owner_show, owner_wake_all
from pystack.engine.pythread cimport (
    WAIT_LOCK,
    PyThread_acquire_lock,
    PyThread_allocate_lock,
    PyThread_get_thread_ident,
    PyThread_type_lock,
)
from pystack.engine.sleeper cimport (
    Sleeper,
    sleeper_close_fds,
    sleeper_open,
    sleeper_release,
    sleeper_wake,
)
from pystack.engine.world cimport Actor

cdef extern from "Python.h":
    int gil_is_held "PyGILState_Check" () noexcept nogil
    PyThreadState* gil_release "PyEval_SaveThread" () noexcept nogil
    void gil_take "PyEval_RestoreThread" (PyThreadState* state) noexcept nogil

import atexit
import os
import threading
import time
import weakref

from pystack.core.counters import NAMES

cdef enum:
    OUTBOUND_LIMIT = 16 << 20   # bytes of buffers that wait to be fetched; the rest is lost

engines = weakref.WeakSet()     # all that are open


def close_all():
    """Close what is still open when the interpreter ends: no driver may outlive it."""
    cdef Engine engine
    still_open = list(engines)
    for engine in still_open:
        engine.ending = PyThread_get_thread_ident()
    for engine in still_open:
        engine.close()


def forget_all():
    """In a forked child: the threads stayed in the parent, locks are perhaps taken for ever."""
    cdef Engine engine
    for engine in list(engines):
        engine.foreign = True
    engines.clear()


atexit.register(close_all)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=forget_all)


cdef void wake_driver(void* sleeper) noexcept nogil:
    """Notify of a device."""
    sleeper_wake(<Sleeper*>sleeper)


cdef void wait_for_lock(Mutex* mutex) noexcept nogil:
    """Not with the GIL, which who has the lock may want; what is short comes here with it.

    Nor for the GIL with the lock: that may take as long as some thread computes, and meanwhile
    nobody's packets would be taken in.
    """
    cdef PyThreadState* state
    if not gil_is_held():
        mutex_lock(mutex)
        return
    while True:
        state = gil_release()
        mutex_lock(mutex)
        mutex_unlock(mutex)
        gil_take(state)
        if mutex_try(mutex):
            return


cdef void endpoint_release(Core* core, Endpoint* endpoint, bint abort) noexcept nogil:
    """Give an endpoint back to the core."""
    endpoint.owner = NULL
    if endpoint.kind == ENDPOINT_DOORMAN:
        doorman_close(&core.ip)
    elif endpoint.kind != ENDPOINT_TCP:
        datagram_close(&core.udp, <Datagram*>endpoint)
    elif abort:
        tcp_abort(&core.tcp, <Tcb*>endpoint)
    else:
        tcp_close(&core.tcp, <Tcb*>endpoint)


cdef Addr addr_from(bytes address) except *:
    """16 bytes, IPv4 mapped."""
    if len(address) != 16:
        raise ValueError(f"an address has 16 bytes, not {len(address)}")
    return addr_load16(<const uint8_t*><char*>address)


cdef TcpConfig configured(TcpConfig config, dict changes) except *:
    """A configuration with some fields changed, by the names of tcp/config.pxd."""
    cdef dict values = config
    unknown = changes.keys() - values.keys()
    if unknown:
        raise TypeError(f"the core's TcpConfig has no {sorted(unknown)}")
    values.update(changes)
    return values


@cython.no_gc_clear     # sockets that are collected with it still need it whole
cdef class Engine:
    """The compiled part of pystack.Stack."""

    def __cinit__(
        self, Device device, uint32_t mtu, uint64_t seed_high, uint64_t seed_low, now=None,
        dict tcp=None, Actor crank=None,
    ):
        """now: time is the caller's, and begins here; None: the clock's, or that of the crank.

        tcp: fields of the core's TcpConfig that differ from its defaults.
        """
        cdef CoreConfig config
        self.device = device
        self.crank = crank
        self.capture = None
        self.wakes_at = AWAKE
        self.source[0] = addr_any(False)
        self.source[1] = addr_any(True)
        self.closing = threading.RLock()
        if mutex_open(&self.mutex) < 0 or sleeper_open(&self.sleeper) < 0 or (
            sleeper_open(&self.nap) < 0
        ):
            raise MemoryError
        if now is not None:
            self.told = True
            self.told_now = now
        core_default_config(&config)
        config.seed[0] = seed_high
        config.seed[1] = seed_low
        config.mtu = mtu
        config.max_train = PACKET_MAX
        config.other_shards = 0 if device is None else device.shard_count - 1
        if tcp:
            config.tcp = configured(config.tcp, tcp)
        self.core = core_new(&config, self.now())
        if self.core == NULL:
            raise MemoryError
        engines.add(self)

    def __dealloc__(self):
        if self.foreign:
            return
        if self.core != NULL:
            packet_queue_release(&self.core.context.slab, &self.outbound)
            core_free(self.core)
        lending_drop(self.repaid)
        free(self.buried)
        sleeper_release(&self.sleeper)
        sleeper_release(&self.nap)
        mutex_close(&self.mutex)

    # The lock.

    cdef int lock(self) noexcept nogil:
        cdef unsigned long me = PyThread_get_thread_ident()
        if self.foreign:
            return FORKED
        if self.inside == me:
            return -EDEADLK
        if not mutex_try(&self.mutex):
            wait_for_lock(&self.mutex)
        self.inside = me
        return 0

    cdef bint is_entered(self) noexcept nogil:
        return self.inside != 0

    cdef void unlock(self) noexcept nogil:
        """Give the lock back; wake the driver if it would sleep beyond the next deadline."""
        cdef Sleeper* sleeper = NULL
        cdef Bed* roused
        if self.buried_count:
            self.dig_in()
        if self.core != NULL and self.crank is not None:
            self.crank.due(core_deadline(self.core))
        elif self.core != NULL and not self.holding and core_deadline(self.core) < self.wakes_at:
            self.wakes_at = AWAKE
            sleeper = &self.nap if self.vacant else &self.sleeper
        roused = roused_take(&self.roused)
        self.inside = 0
        mutex_unlock(&self.mutex)
        if sleeper != NULL:
            sleeper_wake(sleeper)
        if roused != NULL:
            beds_release(roused)

    cdef void rouse(self) noexcept nogil:
        sleeper_wake(&self.sleeper)
        sleeper_wake(&self.nap)

    cdef int enter(self) noexcept nogil:
        """Begin a call of the core: 0, or a negative code, without the lock then."""
        cdef int code = self.lock()
        if code < 0:
            return code
        self.stay()
        if self.failure:
            code = -self.failure
            self.unlock()
            return code
        self.calls += 1
        core_enter(self.core, self.now())
        return 0

    cdef void leave(self, Owner* owner) noexcept nogil:
        """End a call: send what it caused, wake whom it concerns."""
        self.flush()
        if owner != NULL:
            owner_show(owner)
        self.unlock()

    cdef void leave_holding(self, Owner* owner) noexcept nogil:
        """End a call whose output leaves with the next one's, or when the stack is turned."""
        self.holding = True
        owner_show(owner)
        self.unlock()

    cdef void leave_to_driver(self, Owner* owner) noexcept nogil:
        """End a call whose output somebody else sends soon, if so, with that of other calls."""
        if self.driven or self.holding:
            self.leave_holding(owner)
        else:
            self.leave(owner)

    cdef Lender* begin_lending(self, object data, Py_ssize_t size):
        return <Lender*>lending_new(&self.repaid, data, size)

    cdef int end_lending(self, Lender* lender) except -1:
        cdef int code
        if lender == NULL:
            return 0
        code = self.lock()
        if code == FORKED:
            return 0            # who would repay is in the other process
        lender_repay(lender)
        if code == 0:
            self.unlock()
        return self.give_back()

    cdef int give_back(self) except -1:
        cdef Lending* repaid
        if self.repaid == NULL or self.lock() < 0:
            return 0
        repaid = self.repaid
        self.repaid = NULL
        self.unlock()
        lending_drop(repaid)
        return 0

    cdef void stay(self) noexcept nogil:
        """While the interpreter ends, a daemon thread stays in its call, as in one of the kernel's:
        an exception would be told to a stderr that is being taken down.

        With the lock, perhaps with the GIL. A thread that stays gives back both.
        """
        cdef PyThread_type_lock gate
        if self.ending == 0 or self.ending == PyThread_get_thread_ident():
            return
        self.unlock()
        if gil_is_held():
            gil_release()
        gate = PyThread_allocate_lock()
        while gate != NULL:
            PyThread_acquire_lock(gate, WAIT_LOCK)

    cdef int64_t now(self) noexcept nogil:
        if self.crank is not None:
            return self.crank.world.now
        return self.told_now if self.told else clock_ns()

    cdef int64_t wait_clock(self) noexcept nogil:
        return clock_ns() if self.crank is None else self.crank.world.now

    # Packets.

    cdef void input(self, Packet* packet, int64_t now) noexcept nogil:
        """Takes a packet that came from outside."""
        if self.capture is not None and not packet.handed_on:
            self.capture.see(&self.core.context.slab, packet, False)
        core_input(self.core, packet, now)

    cdef void flush(self) noexcept nogil:
        """Hand what the core wants to send to the device, and tell owners what has happened.

        Under the lock: what packets have borrowed is theirs until the core is entered again.
        """
        cdef PacketQueue queue
        cdef Packet* packet
        cdef Endpoint* endpoint
        cdef int events = 0
        cdef int error = 0
        queue.first = queue.last = NULL
        queue.count = 0
        self.holding = False
        core_take_tx(self.core, &queue)
        if self.capture is not None:
            packet = queue.first
            while packet != NULL:
                self.capture.see(&self.core.context.slab, packet, True)
                packet = packet.next
            self.capture.deliver(&self.core.context.slab, self.core.context.now)
        if queue.first != NULL:
            if self.device is not None:
                error = self.device.write(&self.core.context.slab, &queue)
            else:
                self.keep_outbound(&queue)
        if self.core.context.strays.first != NULL:
            core_take_strays(self.core, &queue)
            self.device.hand_on(&self.core.context.slab, &queue)
        endpoint = core_take_ready(self.core, &events)
        while endpoint != NULL:
            owner_ready(<Owner*>endpoint.owner, events)
            endpoint = core_take_ready(self.core, &events)
        if error < 0:
            self.fail(-error)

    cdef void keep_outbound(self, PacketQueue* queue) noexcept nogil:
        """Cut and complete packets, and keep them until transmit() fetches them."""
        cdef PacketQueue pieces
        cdef Packet* packet
        pieces.first = pieces.last = NULL
        pieces.count = 0
        while queue.first != NULL:
            packet_segment(&self.core.context.slab, packet_pop(queue), &pieces)
        while pieces.first != NULL:
            packet = packet_linearize(&self.core.context.slab, packet_pop(&pieces))
            if packet == NULL or self.outbound_bytes + packet.capacity > OUTBOUND_LIMIT:
                self.outbound_lost += 1
                if packet != NULL:
                    packet_free(&self.core.context.slab, packet)
            else:
                self.outbound_bytes += packet.capacity
                packet_push(&self.outbound, packet)

    # Owners.

    cdef void add_owner(self, Owner* owner, Endpoint* endpoint) noexcept nogil:
        """Say who holds an endpoint."""
        endpoint.owner = owner
        owner.endpoint = endpoint
        owner.previous = NULL
        owner.next = self.owners
        if self.owners != NULL:
            self.owners.previous = owner
        self.owners = owner

    cdef void forget_owner(self, Owner* owner) noexcept nogil:
        owner.endpoint = NULL
        if owner.previous != NULL:
            owner.previous.next = owner.next
        else:
            self.owners = owner.next
        if owner.next != NULL:
            owner.next.previous = owner.previous

    cdef void release_owner(self, Owner* owner, bint abort) noexcept nogil:
        """Close what an owner holds; its blocked calls end with EBADF."""
        cdef Endpoint* endpoint = owner.endpoint
        if endpoint == NULL:
            return
        self.forget_owner(owner)
        endpoint_release(self.core, endpoint, abort)
        owner_wake_all(owner)

    cdef void bury_owner(self, Owner* owner) noexcept nogil:
        """Close what an owner holds as soon as the lock is given back.

        For a socket that the garbage collector finds while this thread runs Python code of a
        device: the packets that are being sent may still borrow its bytes.
        """
        cdef Endpoint* endpoint = owner.endpoint
        cdef Endpoint** larger = self.buried
        if endpoint == NULL:
            return
        self.forget_owner(owner)
        endpoint.owner = NULL
        if self.buried_count == self.buried_room:
            larger = <Endpoint**>realloc(
                self.buried, (self.buried_room + 16) * sizeof(Endpoint*))
            if larger == NULL:
                return      # an orphan until the stack is closed
            self.buried = larger
            self.buried_room += 16
        self.buried[self.buried_count] = endpoint
        self.buried_count += 1

    cdef void dig_in(self) noexcept nogil:
        """Close what was buried; sending what that causes may bury more."""
        while self.buried_count and self.core != NULL:
            self.buried_count -= 1
            endpoint_release(self.core, self.buried[self.buried_count], False)
            if not self.buried_count and not self.failure:
                self.flush()

    # The end.

    cdef void fail(self, int error) noexcept nogil:
        cdef Owner* owner = self.owners
        if self.failure:
            return
        self.failure = ENETDOWN
        self.device_error = error
        while owner != NULL:
            owner_wake_all(owner)
            owner = owner.next
        self.rouse()

    cdef void shut(self) noexcept nogil:
        """Reset what is open, close what is held, refuse what follows, stop the driver."""
        if self.lock() < 0:
            return
        if not self.failure:
            core_enter(self.core, self.now())
            core_abort_all(self.core)
            self.flush()
        self.failure = EBADF
        while self.owners != NULL:
            self.release_owner(self.owners, True)
        self.stopping = True
        self.unlock()
        self.rouse()

    def close(self):
        """Reset all connections, end the driver, close the device. Closing again does nothing.

        Python code that the stack itself calls (a device's, or a finalizer that runs there) only
        begins it; the driver completes it.
        """
        if self.foreign:
            return
        if self.inside == PyThread_get_thread_ident() or self.thread is threading.current_thread():
            if self.thread is None:
                check(-EDEADLK)
            self.stopping = True
            self.rouse()
            return
        with self.closing:
            if self.core != NULL:
                with nogil:
                    self.shut()
                if self.thread is not None:
                    self.thread.join()
                self.finish()

    cdef int driver_ended(self) except -1:
        """At the end of the driver's thread: complete what close() began there."""
        self.log_gone()
        if self.stopping and self.closing.acquire(blocking=False):
            try:
                with nogil:
                    self.shut()
                self.finish()
            finally:
                self.closing.release()
        return 0

    cdef int finish(self) except -1:
        """Free everything, once no driver runs any more."""
        cdef Core* core = self.core
        if core == NULL:
            return 0
        engines.discard(self)
        self.last_counters = self.read_counters()
        self.capture = None
        with nogil:
            mutex_lock(&self.mutex)
            packet_queue_release(&core.context.slab, &self.outbound)
            self.core = NULL
            core_free(core)
            mutex_unlock(&self.mutex)
        self.give_back()
        try:
            if self.attached:
                self.attached = False
                self.device.detach()
                self.device.close()
        finally:
            sleeper_close_fds(&self.sleeper)
        return 0

    def attach(self):
        """Take the device; from now on it is closed with the stack."""
        self.device.attach(wake_driver, &self.sleeper)
        self.attached = True

    cdef int log_gone(self) except -1:
        """Say once why all sockets fail."""
        if self.failure == ENETDOWN and not self.logged:
            self.logged = True
            import logging  # slow to import, and seldom needed

            logging.getLogger("pystack").error(
                "pystack: device %s is gone (%s); all sockets fail with ENETDOWN, close the stack",
                self.device.name, os.strerror(self.device_error),
            )
        return 0

    @property
    def closed(self):
        return self.failure == EBADF

    def configure_tcp(self, dict tcp):
        """Change the core's TcpConfig, as far as that is read when something happens."""
        cdef int code
        cdef TcpConfig config
        with nogil:
            code = self.lock()
        check(code)
        try:
            if self.core != NULL:
                config = configured(self.core.tcp.config, tcp)
                self.core.tcp.config = config
        finally:
            with nogil:
                self.unlock()

    def forget_metrics(self):
        """What is remembered of destinations, fast open cookies included."""
        cdef int code
        with nogil:
            code = self.lock()
            if code == 0:
                if self.core != NULL:
                    metrics_forget(&self.core.tcp)
                self.unlock()
        check(code)

    # What it tells.

    cdef dict read_counters(self):
        cdef uint64_t[<int>COUNTER_COUNT] values
        cdef int code
        with nogil:
            code = self.lock()
            if code == 0:
                memcpy(values, self.core.context.counters, sizeof(values))
                self.unlock()
        check(code)
        return dict(zip(NAMES, values))

    def counters(self):
        """All counters by name; of a closed stack, as they were at the end."""
        if self.core == NULL:
            return dict(self.last_counters)
        return self.read_counters()

    @property
    def live_packets(self):
        """Packets that are somewhere in the stack, those aside that the driver reads into."""
        cdef uint64_t live = 0
        cdef int code
        with nogil:
            code = self.lock()
            if code == 0:
                if self.core != NULL:
                    live = self.core.context.slab.live - self.lent
                self.unlock()
        check(code)
        return live

    cdef int64_t epoch(self) except? -1:
        """What makes the core's times those since 1970, of the caller, or of the virtual world."""
        if self.told or self.crank is not None:
            return -self.told_offset
        return time.time_ns() - clock_ns()

    def set_capture(self, writer):
        """Show every packet from now on to writer.write(packet, time_ns, outbound); None: nobody.

        time_ns: since 1970, or in the caller's time if that is told, or in virtual time.
        """
        cdef Capture capture = None
        cdef int code
        if writer is not None:
            capture = Capture(writer, self.epoch())
        with nogil:
            code = self.lock()
        check(code)
        self.capture = capture
        with nogil:
            self.unlock()
