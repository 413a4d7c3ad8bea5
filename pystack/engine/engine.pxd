# Engine: one stack in one process: core, lock, device, clock, and the sockets that are held.
# Called by: endpoint (socket calls), thread and caller (drivers), pystack.stack (the rest).
# RFCs: none.
#
# Who waits for the lock must not hold the GIL. Who has the lock takes the GIL only where Python
# code runs inside (Python devices, captures, calls that are seldom made): he may have to wait, and
# so may all connections. Python code that runs inside and calls the same stack gets EDEADLK.

from libc.stdint cimport int64_t, uint64_t
from pystack.core.endpoint cimport Endpoint
from pystack.core.memory.loan cimport Lender
from pystack.core.memory.packet cimport Packet, PacketQueue
from pystack.core.stack cimport Core
from pystack.core.tcp.config cimport TcpConfig
from pystack.core.wire.address cimport Addr
from pystack.device.base cimport Device
from pystack.engine.bed cimport Roused
from pystack.engine.capture cimport Capture
from pystack.engine.lending cimport Lending
from pystack.engine.mutex cimport Mutex
from pystack.engine.owner cimport Owner
from pystack.engine.sleeper cimport Sleeper
from pystack.engine.world cimport Actor

cdef enum:
    AWAKE = -0x7FFFFFFFFFFFFFFF     # wakes_at of a driver that needs no waking

cdef class Engine:
    cdef object __weakref__
    cdef Mutex mutex
    cdef unsigned long inside   # thread that has the lock; 0: nobody
    cdef bint foreign           # we are in a child of the process that made this

    # with the lock
    cdef Core* core             # NULL once closed
    cdef readonly Device device     # None: packets come and go by hand
    cdef Capture capture        # None: nobody looks
    cdef Owner* owners          # the sockets that are held
    cdef int failure            # errno of all further calls; 0 while all is well
    cdef int device_error       # why the device is gone
    cdef Endpoint** buried      # to be closed before the lock is given back
    cdef size_t buried_count
    cdef size_t buried_room
    cdef Lending* repaid        # bytes that were sent from where they are, and may go
    cdef Addr source[2]         # of sockets that are not bound: IPv4, IPv6; unspecified: any

    # time, with the lock
    cdef bint told              # by the caller, not by the clock
    cdef int64_t told_now       # in the core's time
    cdef int64_t told_offset    # core's time less the caller's
    cdef Actor crank            # what turns us in virtual time; None: time is real, or told

    # the drivers
    cdef Sleeper sleeper
    cdef readonly object thread     # of the thread driver; None
    cdef int64_t wakes_at       # with the lock: when its sleep ends by itself; AWAKE
    cdef uint64_t calls         # with the lock: how often sockets were used
    cdef size_t lent            # with the lock: packets that the driver holds to read into
    cdef Roused roused          # with the lock: calls that slept and were woken

    # the seat (seat.pyx), with the lock; without a thread it is never vacant
    cdef void* turning          # Turning of the thread; NULL: calls may not sit here
    cdef bint vacant            # the thread sleeps at `nap`, and no call sits here
    cdef readonly uint64_t sittings     # how often calls have sat down and stood up
    cdef int64_t naps_until
    cdef Sleeper nap

    cdef bint stopping          # with the lock
    cdef bint holding           # with the lock: something waits for more, until the next flush
    cdef bint driven            # with the lock: a driver is awake, and flushes before it sleeps
    cdef PacketQueue outbound   # with the lock: without a device, packets to be fetched
    cdef uint64_t outbound_bytes
    cdef uint64_t outbound_lost

    cdef object closing         # RLock of close()
    cdef unsigned long ending   # the thread in which the interpreter ends; 0: it does not
    cdef bint attached
    cdef bint logged
    cdef dict last_counters     # once closed

    # 0, or EDEADLK, FORKED, negative: the lock is not held then.
    cdef int lock(self) noexcept nogil
    cdef void unlock(self) noexcept nogil
    # Whether somebody has the lock just now.
    cdef bint is_entered(self) noexcept nogil
    # lock for calls of the core: fails also when the stack is closed or its device gone.
    cdef int enter(self) noexcept nogil
    # Send, wake whom it concerns, unlock; owner: whose doorbell the call may have changed, or NULL.
    cdef void leave(self, Owner* owner) noexcept nogil
    # Without sending: the caller sees to it that the stack is turned soon.
    cdef void leave_holding(self, Owner* owner) noexcept nogil
    # Without sending, if a driver that is awake will do it, or who holds what waits already.
    cdef void leave_to_driver(self, Owner* owner) noexcept nogil
    # After a call has failed, without the lock: may never return, if the interpreter ends.
    cdef void stay(self) noexcept nogil
    # Around one call that sends, without the lock: lend the bytes of `data`; NULL: they are copied.
    cdef Lender* begin_lending(self, object data, Py_ssize_t size)
    cdef int end_lending(self, Lender* lender) except -1
    # Give up the bytes that were sent and acknowledged: whoever has the GIL, but not the lock, now
    # and then.
    cdef int give_back(self) except -1
    cdef void flush(self) noexcept nogil
    cdef void input(self, Packet* packet, int64_t now) noexcept nogil
    cdef int64_t now(self) noexcept nogil
    cdef int64_t epoch(self) except? -1
    # By which the time-outs of blocked calls count.
    cdef int64_t wait_clock(self) noexcept nogil
    # Wake who turns the crank, and the thread that leaves that to calls.
    cdef void rouse(self) noexcept nogil
    # The device is gone: everything fails from now on.
    cdef void fail(self, int error) noexcept nogil
    cdef void add_owner(self, Owner* owner, Endpoint* endpoint) noexcept nogil
    # Takes the endpoint from its owner and closes it; abort: with a reset.
    cdef void forget_owner(self, Owner* owner) noexcept nogil
    cdef void release_owner(self, Owner* owner, bint abort) noexcept nogil
    # The same from within the lock's holder's own Python code.
    cdef void bury_owner(self, Owner* owner) noexcept nogil
    cdef void dig_in(self) noexcept nogil
    cdef void keep_outbound(self, PacketQueue* queue) noexcept nogil
    cdef void shut(self) noexcept nogil
    cdef int finish(self) except -1
    cdef int driver_ended(self) except -1
    cdef int log_gone(self) except -1
    cdef dict read_counters(self)

# The configuration with some fields changed, by the names of tcp/config.pxd.
cdef TcpConfig configured(TcpConfig config, dict changes) except *
# 16 bytes, IPv4 mapped.
cdef Addr addr_from(bytes address) except *
