# Owner: what the engine knows of a socket that is held: its endpoint, and who waits for it.
# Called by: engine (wakes), endpoint (waits). Everything with the stack's lock held.
# RFCs: none.

from libc.string cimport memset
from pystack.core.endpoint cimport (
    ENDPOINT_DOORMAN,
    ENDPOINT_TCP,
    READY_END,
    READY_ERROR,
    READY_HANGUP,
    READY_READ,
    READY_WRITE,
)
from pystack.core.error_queue cimport error_queue_is_empty
from pystack.core.ip.layer cimport Doorman
from pystack.core.tcp.calls cimport tcp_poll
from pystack.core.tcp.layer cimport Tcb
from pystack.core.udp.layer cimport Datagram
from pystack.engine.doorbell cimport doorbell_show

cdef enum:
    READY_FOR_ALL = READY_ERROR | READY_HANGUP


cdef void owner_init(Owner* owner) noexcept nogil:
    memset(owner, 0, sizeof(Owner))
    owner.bell.outer = owner.bell.inner = owner.bell.number = -1


cdef int datagram_poll(const Datagram* datagram) noexcept nogil:
    """A datagram socket is always writable: what the device cannot take is lost."""
    cdef int ready = READY_WRITE
    if datagram.queue.first != NULL or datagram.shut_read:
        ready |= READY_READ
    if datagram.endpoint.error or not error_queue_is_empty(datagram.endpoint.errors):
        ready |= READY_ERROR
    return ready


cdef int endpoint_poll(const Endpoint* endpoint) noexcept nogil:
    if endpoint.kind == ENDPOINT_TCP:
        return tcp_poll(<const Tcb*>endpoint)
    if endpoint.kind == ENDPOINT_DOORMAN:
        return READY_READ if (<const Doorman*>endpoint).unseen != NULL else 0
    return datagram_poll(<const Datagram*>endpoint)


cdef bint has_ended(const Tcb* tcb) noexcept nogil:
    """Nothing more can be read. An end cannot be taken back, but a socket whose connect has failed
    may connect again, and what was not read may have to pass through the descriptor (detach).
    """
    return (tcb.fin_received or tcb.shut_read) and (
        tcb.busy.received.length == 0 and tcb.endpoint.error == 0)


cdef void owner_show(Owner* owner) noexcept nogil:
    """Bring the doorbell up to date, if there is one; a call that would raise counts as ready."""
    cdef int ready
    if owner.bell.outer < 0:
        return
    ready = READY_FOR_ALL
    if owner.endpoint != NULL:
        ready = endpoint_poll(owner.endpoint)
    if ready & READY_END and not has_ended(<const Tcb*>owner.endpoint):
        ready &= ~READY_END
    if ready & READY_FOR_ALL:
        ready |= READY_READ | READY_WRITE
    elif not ready & READY_WRITE and owner.endpoint.kind == ENDPOINT_TCP:
        # Whoever looks at the fd waits for room, though the last send found all that it wanted.
        (<Tcb*>owner.endpoint).write_blocked = True
    doorbell_show(&owner.bell, ready)


cdef void wake(Owner* owner, int events) noexcept nogil:
    """Wake all who wait for any of the events: what one leaves, another may take."""
    cdef Waiter** at = &owner.waiters
    cdef Waiter* waiter = at[0]
    while waiter != NULL:
        if waiter.events & events:
            at[0] = waiter.next
            waiter.woken = True
            waiter.wake(waiter.context)
        else:
            at = &waiter.next
        waiter = at[0]


cdef void owner_ready(Owner* owner, int events) noexcept nogil:
    if owner.waiters != NULL:
        wake(owner, ~0 if events & READY_FOR_ALL else events)
    owner_show(owner)


cdef void owner_wake_all(Owner* owner) noexcept nogil:
    wake(owner, ~0)
    owner_show(owner)


cdef void owner_add_waiter(Owner* owner, Waiter* waiter) noexcept nogil:
    waiter.next = owner.waiters
    waiter.woken = False
    owner.waiters = waiter


cdef void owner_remove_waiter(Owner* owner, Waiter* waiter) noexcept nogil:
    cdef Waiter** at = &owner.waiters
    if waiter.woken:
        return
    while at[0] != waiter:
        at = &at[0].next
    at[0] = waiter.next
