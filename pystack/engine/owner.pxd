# Owner: what the engine knows of a socket that is held: its endpoint, and who waits for it.
# Called by: engine (wakes), endpoint (waits). Everything with the stack's lock held.
# RFCs: none.

from pystack.core.endpoint cimport Endpoint
from pystack.engine.doorbell cimport Doorbell

# One blocked call; lives on its stack.
ctypedef struct Waiter:
    Waiter* next
    void (*wake)(void* context) noexcept nogil
    void* context
    int events                  # Ready bits that it waits for; errors and hang-ups wake everyone
    bint woken                  # and taken off the list

# endpoint.owner points to it.
ctypedef struct Owner:
    Endpoint* endpoint          # NULL: closed
    Waiter* waiters
    Owner* previous             # all owners of one engine
    Owner* next
    Doorbell bell

cdef void owner_init(Owner* owner) noexcept nogil
# What poll() would say: Ready bits.
cdef int endpoint_poll(const Endpoint* endpoint) noexcept nogil
# The core says that something happened: wake whom it concerns, show it on the doorbell.
cdef void owner_ready(Owner* owner, int events) noexcept nogil
# The owner's own call may have changed what the doorbell should show.
cdef void owner_show(Owner* owner) noexcept nogil
cdef void owner_wake_all(Owner* owner) noexcept nogil
cdef void owner_add_waiter(Owner* owner, Waiter* waiter) noexcept nogil
# Does nothing if the waiter was woken.
cdef void owner_remove_waiter(Owner* owner, Waiter* waiter) noexcept nogil
