# Watch: how an event loop hears of a socket: one call back, made in the loop's own thread.
# Called by: pystack.aio (arms, takes), owner (fires).
# RFCs: none.
#
# A watch is armed with events and fires once, in whatever thread the core has run; it then waits in
# the queue of its watcher, whose loop is rung once however many there are. No socket needs an fd.

from libc.stdint cimport int64_t
from pystack.engine.corking cimport Corking
from pystack.engine.endpoint cimport Handle
from pystack.engine.mutex cimport Mutex
from pystack.engine.owner cimport Waiter
from pystack.engine.sleeper cimport Sleeper
from pystack.engine.world cimport Task

cdef enum LinkState:
    LINK_IDLE
    LINK_ARMED                  # its waiter is at the owner
    LINK_FIRED                  # it is in the queue

# The part of a watch that code without the GIL sees. While it is not idle, it owns a reference to
# its watch.
ctypedef struct Link:
    Waiter waiter
    Link* next
    Queue* queue
    void* watch
    LinkState state

ctypedef struct Queue:
    Mutex guard                 # of everything here
    Link* first
    Link* last
    bint attended               # the loop will take what comes, without being rung
    void (*ring)(void* context) noexcept nogil
    void* context

cdef class Watcher:
    cdef Queue queue
    cdef Sleeper bell           # its own; rung unless ring_with has been called
    cdef Task task              # that is called instead, in virtual time; None
    # Of a loop that turns the stack itself:
    cdef int64_t turns          # how often it has; else 0
    cdef object settle          # have it turned after the callbacks that are due now; None
    # Ring in another way; from any thread, with the lock of a stack.
    cdef void ring_with(self, void (*ring)(void*) noexcept nogil, void* context) noexcept
    cdef void attend(self) noexcept nogil
    cdef Corking corking        # of what its connections write
    # Whether what is written now may wait; the stack will be turned then. more: more comes.
    cdef bint may_hold(self, bint more) except -1
    cpdef list take(self)

cdef class Watch:
    cdef Link link
    cdef Watcher watcher
    cdef Handle handle
    cdef int events             # that it is armed with; 0: it was cancelled
    cdef object callback, context
    cdef int register(self) noexcept nogil
    cdef int look(self) noexcept nogil
    cpdef deliver(self)
