# Watch: how an event loop hears of a socket: one call back, made in the loop's own thread.
# Called by: pystack.aio (arms, takes), owner (fires).
# RFCs: none.

from cpython.ref cimport Py_DECREF, Py_INCREF
from libc.string cimport memset
from pystack.core.endpoint cimport (
    ENDPOINT_TCP,
    READY_ERROR,
    READY_HANGUP,
    READY_READ,
    READY_WRITE,
)
from pystack.core.tcp.layer cimport Tcb
from pystack.engine.clock cimport clock_ns
from pystack.engine.corking cimport corking_start, corking_waits
from pystack.engine.endpoint cimport Handle
from pystack.engine.errors cimport check
from pystack.engine.mutex cimport mutex_close, mutex_lock, mutex_open, mutex_unlock
from pystack.engine.owner cimport endpoint_poll, owner_add_waiter, owner_remove_waiter
from pystack.engine.sleeper cimport (
    sleeper_close_fds,
    sleeper_open,
    sleeper_release,
    sleeper_sleep,
    sleeper_use_fds,
    sleeper_wake,
)
from pystack.engine.world cimport Task, turn_call

READ = READY_READ
WRITE = READY_WRITE

cdef enum:
    READY_FOR_ALL = READY_ERROR | READY_HANGUP


cdef void ring_bell(void* bell) noexcept nogil:
    sleeper_wake(<Sleeper*>bell)


cdef void link_fire(void* context) noexcept nogil:
    """Put a link into the queue; ring if nobody has for those before it. With the stack's lock."""
    cdef Link* link = <Link*>context
    cdef Queue* queue = link.queue
    cdef bint ring
    mutex_lock(&queue.guard)
    ring = queue.first == NULL and not queue.attended
    link.state = LINK_FIRED
    link.next = NULL
    if queue.first == NULL:
        queue.first = link
    else:
        queue.last.next = link
    queue.last = link
    mutex_unlock(&queue.guard)
    if ring:
        queue.ring(queue.context)


cdef Link* queue_take(Queue* queue) noexcept nogil:
    """All that have fired, in their order; whatever fires from now on rings."""
    cdef Link* first
    mutex_lock(&queue.guard)
    first = queue.first
    queue.first = queue.last = NULL
    queue.attended = False
    mutex_unlock(&queue.guard)
    return first


cdef class Watcher:
    """What has become ready among the sockets that one event loop watches."""

    def __cinit__(self):
        memset(&self.queue, 0, sizeof(self.queue))
        if mutex_open(&self.queue.guard) < 0 or sleeper_open(&self.bell) < 0:
            raise MemoryError
        self.ring_with(ring_bell, &self.bell)
        corking_start(&self.corking)

    def __dealloc__(self):
        sleeper_close_fds(&self.bell)
        sleeper_release(&self.bell)
        mutex_close(&self.queue.guard)

    cdef void ring_with(self, void (*ring)(void*) noexcept nogil, void* context) noexcept:
        self.queue.ring = ring
        self.queue.context = context

    cdef void attend(self) noexcept nogil:
        """The loop is about to take: do not ring."""
        mutex_lock(&self.queue.guard)
        self.queue.attended = True
        mutex_unlock(&self.queue.guard)

    def use_fds(self, int wake_read, int wake_write):
        """Ring by writing to an fd; they are an eventfd twice, or the ends of a pipe; now ours."""
        sleeper_use_fds(&self.bell, wake_read, wake_write)

    def cork(self, int64_t pause):
        """Have writes to many connections wait for each other if they follow each other within so
        many ns.
        """
        self.corking.pause = pause

    def call_task(self, Task task):
        """Ring by calling a function that waits in virtual time."""
        self.task = task
        self.ring_with(turn_call, &task.turn)

    cpdef list take(self):
        """The watches that have fired, as they did, perhaps cancelled since; the bell is silent."""
        cdef Link* link
        cdef Link* next
        cdef Watch watch
        cdef list taken
        if self.bell.rung:
            sleeper_sleep(&self.bell, -1, 0)
        taken = []
        link = queue_take(&self.queue)
        while link != NULL:
            next = link.next
            link.state = LINK_IDLE
            watch = <Watch>link.watch
            taken.append(watch)
            Py_DECREF(watch)
            link = next
        return taken

    def deliver(self, complain):
        """Call back whom it concerns; complain(exception) of a callback that raises."""
        cdef list taken = self.take()
        cdef Watch watch
        if taken:
            self.corking.crowd = len(taken)
        for watch in taken:
            try:
                watch.deliver()
            except (SystemExit, KeyboardInterrupt):
                raise
            except BaseException as problem:
                complain(problem)

    cdef bint may_hold(self, bint more) except -1:
        if self.settle is None or not (corking_waits(&self.corking, clock_ns()) or more):
            return False
        try:
            self.settle()
        except RuntimeError:        # the loop is closed
            return False
        return True


cdef class Watch:
    """One socket, and whom to call when something happens to it.

    The callback gets the Ready bits of the socket: 1 read, 2 write, 4 error, 8 hang-up. To be
    called by the loop's thread only.
    """

    def __cinit__(self, Watcher watcher, Handle handle, callback, context):
        """context: contextvars.Context in which the callback is to run."""
        self.watcher = watcher
        self.handle = handle
        self.callback = callback
        self.context = context
        memset(&self.link, 0, sizeof(self.link))
        self.link.queue = &watcher.queue
        self.link.watch = <void*>self
        self.link.waiter.wake = link_fire
        self.link.waiter.context = &self.link

    def arm(self, int events):
        """Call back once, when one of the events is there, or an error; perhaps it is already.

        Armed again, it waits for these events instead.
        """
        cdef int code
        if self.link.state == LINK_IDLE:
            Py_INCREF(self)
        self.events = events
        code = self.register()
        if code < 0:
            if self.link.state == LINK_IDLE:
                Py_DECREF(self)
            check(code)

    cdef int register(self) noexcept nogil:
        """A closed socket counts as ready: the call that follows raises. 0 or a negative code."""
        cdef int ready
        cdef int code = self.handle.engine.lock()
        if code < 0:
            return code
        if self.link.state == LINK_ARMED:
            owner_remove_waiter(&self.handle.owner, &self.link.waiter)
        if self.link.state != LINK_FIRED:
            ready = self.look()
            if ready:
                link_fire(&self.link)
            else:
                self.link.state = LINK_ARMED
                self.link.waiter.events = self.events
                owner_add_waiter(&self.handle.owner, &self.link.waiter)
        self.handle.engine.unlock()
        return 0

    cdef int look(self) noexcept nogil:
        """Which of the events are there, and errors; with the lock."""
        cdef int ready
        if self.handle.owner.endpoint == NULL or self.handle.engine.failure:
            return READY_FOR_ALL
        ready = endpoint_poll(self.handle.owner.endpoint) & (self.events | READY_FOR_ALL)
        if (
            self.events & READY_WRITE
            and not ready & READY_WRITE
            and self.handle.owner.endpoint.kind == ENDPOINT_TCP
        ):
            (<Tcb*>self.handle.owner.endpoint).write_blocked = True
        return ready

    def cancel(self):
        """Do not call back any more."""
        cdef bint idle = self.link.state == LINK_IDLE
        self.events = 0
        if idle:
            return
        if self.handle.engine.lock() == 0:
            if self.link.state == LINK_ARMED:
                owner_remove_waiter(&self.handle.owner, &self.link.waiter)
                self.link.state = LINK_IDLE
                idle = True
            self.handle.engine.unlock()
        if idle:
            Py_DECREF(self)

    def forget(self):
        """Cancel, and let go of the callback."""
        self.cancel()
        self.callback = None

    cpdef deliver(self):
        """Call back, if it was not cancelled meanwhile, nor somebody else was faster."""
        cdef int ready = 0
        if not self.events or self.link.state != LINK_IDLE:
            return
        if self.handle.engine.lock() == 0:
            ready = self.look()
            self.handle.engine.unlock()
        if ready:
            self.events = 0
            self.context.run(self.callback, ready)
        else:
            self.arm(self.events)

    @property
    def armed(self):
        """The events that it waits for; 0: it does not."""
        return self.events
