# World: virtual time, and the functions that live in it, of which exactly one runs at a time.
# Called by: endpoint (blocked calls), virtual (stacks), link/ (wires), testing/.
# RFCs: none.
#
# A function runs until it blocks. Then those run that are ready, in the order in which they became
# so; when there is none, whoever blocked last turns the crank: time jumps to what is due first. So
# most of the time no thread has to be woken, and the order of everything follows from the seed.

from libc.stdint cimport int64_t
from libc.string cimport memset
from pystack.core.memory.deadline cimport (
    deadline_first,
    deadline_pop,
    deadline_queue_release,
    deadline_register,
    deadline_set,
    deadline_unregister,
)
from pystack.engine.clock cimport NEVER
from pystack.engine.errors cimport RAISED, TIMED_OUT
from pystack.engine.pythread cimport (
    NOWAIT_LOCK,
    PY_LOCK_ACQUIRED,
    PY_LOCK_INTR,
    PyLockStatus,
    PyThread_acquire_lock,
    PyThread_allocate_lock,
    PyThread_free_lock,
    PyThread_get_thread_ident,
    PyThread_release_lock,
    lock_wait,
)

import sys
import threading

cdef extern from "Python.h":
    int check_signals "PyErr_CheckSignals" () except -1
    void set_exception "PyErr_SetObject" (object kind, object value)

cdef enum:
    STANDSTILL = 1_000_000      # events in one instant: then something wakes itself for ever
    SIGNALS_EVERY = 1024        # events between two looks for Ctrl-C
    SECOND = 1_000_000_000


class Deadlock(RuntimeError):
    """Somebody waits, and nothing will ever happen again."""


class TimeLimit(RuntimeError):
    """Virtual time has reached the limit of its world."""


class Closed(BaseException):
    """Ends a function whose world is being closed while it waits."""


cdef void turn_call(void* context) noexcept nogil:
    """Put a task into the queue of those that may run, once."""
    cdef Turn* turn = <Turn*>context
    if turn.waits:
        return
    turn.waits = True
    turn.next = NULL
    if turn.queue.last != NULL:
        turn.queue.last.next = turn
    else:
        turn.queue.first = turn
    turn.queue.last = turn


cdef Turn* turn_pop(TurnQueue* queue) noexcept nogil:
    cdef Turn* turn = queue.first
    if turn != NULL:
        queue.first = turn.next
        if queue.first == NULL:
            queue.last = NULL
        turn.waits = False
    return turn


cdef bint is_ours(frame) except -1:
    """Whether it runs code of pystack, which tells a user nothing."""
    return frame.f_globals.get("__name__", "").split(".")[0] in ("pystack", "threading")


cdef int world_block(World world, int64_t until) noexcept with gil:
    cdef int code = 0
    problem = None
    try:
        code = world.block(until)
    except BaseException as caught:
        problem = caught
    if problem is not None:
        set_exception(type(problem), problem)
        code = RAISED
    return code


cdef class Actor:
    """Something that virtual time wakes."""

    cdef void due(self, int64_t when) noexcept nogil:
        deadline_set(&self.world.queue, &self.place, when)

    cdef int act(self) except -1:
        raise NotImplementedError


cdef class Call(Actor):
    """A function to be called at a time."""

    cdef object function, arguments

    cdef int act(self) except -1:
        self.world.remove(self)
        self.function(*self.arguments)
        return 0

    def cancel(self):
        """Do not call it, if it was not called yet."""
        if self.world is not None:
            self.world.remove(self)


cdef class Task(Actor):
    """A function that runs in virtual time."""

    def __cinit__(self, World world, str name):
        self.world = world
        self.name = name
        self.joiners = []
        self.turn.queue = &world.ready
        self.turn.task = <void*>self
        self.baton = PyThread_allocate_lock()
        if self.baton == NULL:
            raise MemoryError
        PyThread_acquire_lock(self.baton, NOWAIT_LOCK)

    def __dealloc__(self):
        if self.baton != NULL:
            PyThread_free_lock(self.baton)

    def __repr__(self):
        return f"<Task {self.name}{' done' if self.done else ''}>"

    cdef int act(self) except -1:
        """Its time-out has come."""
        if not self.turn.waits:
            self.timed_out = True
            turn_call(&self.turn)
        return 0

    cdef int start(self) except -1:
        self.thread = threading.Thread(target=self._run, name=self.name, daemon=True)
        self.thread.start()
        turn_call(&self.turn)
        return 0

    def _run(self):
        """What its thread does; it begins when it is first handed the baton."""
        with nogil:
            PyThread_acquire_lock(self.baton, 1)
        self.ident = PyThread_get_thread_ident()
        try:
            if self.pending is None:
                self.value = self.function(*self.arguments, **self.options)
        except Closed:
            pass
        except BaseException as problem:
            self.problem = problem
        self.function = self.arguments = self.options = None
        self.end()

    cdef int end(self) except -1:
        """Tell who waits for it, then let others run."""
        cdef Task joiner
        self.done = True
        self.world.tasks.remove(self)
        if self.problem is not None and not self.joiners:
            self.world.fail(self.problem)
        for joiner in self.joiners:
            turn_call(&joiner.turn)
        self.joiners.clear()
        self.world.remove(self)
        self.world.hand_over(self.world.next_task())
        return 0

    def result(self, timeout=None):
        """Wait until it has returned, and return that, or raise what it raised.

        timeout: virtual nanoseconds; TimeoutError.
        """
        cdef World world = self.world
        cdef Task me = world.current
        cdef int64_t until = NEVER if timeout is None else world.now + <int64_t>timeout
        if me is self:
            raise RuntimeError("pystack: a task cannot wait for itself")
        while not self.done:
            self.joiners.append(me)
            try:
                if world.block(until) == TIMED_OUT:
                    raise TimeoutError(f"pystack: {self.name} still runs")
            finally:
                if me in self.joiners:
                    self.joiners.remove(me)
        if self.problem is not None:
            if world.root.pending is self.problem:
                world.root.pending = None
            raise self.problem
        return self.value


cdef class World:
    """Virtual time in ns from 0 on, and what happens in it."""

    def __cinit__(self, limit=None):
        """limit: the time, in ns, that is never reached: TimeLimit is raised instead."""
        memset(&self.queue, 0, sizeof(self.queue))
        self.actors = []
        self.tasks = []
        self.watching = []
        self.limit = NEVER if limit is None else limit
        self.root = Task.__new__(Task, self, "main")
        self.root.ident = PyThread_get_thread_ident()
        self.current = self.root
        self.add(self.root)

    def __dealloc__(self):
        deadline_queue_release(&self.queue)

    cdef int add(self, Actor actor) except -1:
        """Give an actor a place in time; it lives as long as the world, or until it is removed."""
        actor.world = self
        if deadline_register(&self.queue, &actor.place, <void*>actor, 0) < 0:
            raise MemoryError
        self.actors.append(actor)
        return 0

    cdef int remove(self, Actor actor) except -1:
        if actor in self.actors:
            self.actors.remove(actor)
            deadline_unregister(&self.queue, &actor.place)
        return 0

    # Time.

    @property
    def time_ns(self):
        return self.now

    @property
    def events(self):
        """How many there have been."""
        return self.steps

    @property
    def next_ns(self):
        """When something will happen next; None: never."""
        cdef int64_t when = deadline_first(&self.queue)
        return None if when == NEVER else max(when, self.now)

    cdef int step(self) except -1:
        """Let the next thing happen."""
        cdef int64_t when = deadline_first(&self.queue)
        cdef Actor actor
        if when == NEVER:
            raise Deadlock(f"pystack: nothing will ever happen again, but\n{self.who_waits()}")
        if when > self.now:
            if when >= self.limit:
                raise TimeLimit(f"pystack: the time limit of {self.limit / SECOND:g} s is reached")
            self.now = when
            self.steps_at_now = 0
        self.steps += 1
        self.steps_at_now += 1
        if self.steps_at_now > STANDSTILL:
            self.steps_at_now = 0
            raise RuntimeError("pystack: time stands still: something happens again and again "
                               "without delay; does a link have none?")
        if not self.steps % SIGNALS_EVERY:
            with nogil:
                pass            # others may want the GIL, the thread that hears Ctrl-C among them
            check_signals()
        actor = <Actor>deadline_pop(&self.queue, self.now).owner
        actor.act()     # which may remove it from here
        if self.watching:
            self.watch()
        return 0

    cdef int watch(self) except -1:
        """Call those whose predicate has become true."""
        cdef Task task
        for task in list(self.watching):
            if task.predicate is not None and task.predicate():
                turn_call(&task.turn)
        return 0

    @property
    def running(self):
        """The function that runs now."""
        return self.current

    def who_waits(self):
        """A line for each function that waits: its name, and where in its code it does so."""
        cdef Task task
        frames = sys._current_frames()
        lines = []
        for task in [self.root, *self.tasks]:
            if task.done or not task.asleep:
                continue
            frame = frames.get(task.ident)
            while frame is not None and is_ours(frame):
                frame = frame.f_back
            where = "" if frame is None else (
                f" in {frame.f_code.co_name}, {frame.f_code.co_filename}:{frame.f_lineno}")
            lines.append(f"  {task.name} waits{where}")
        return "\n".join(lines)

    # Who runs.

    cdef Task next_task(self):
        """The task that is to run next; time passes until there is one."""
        while self.ready.first == NULL:
            try:
                while self.ready.first == NULL:
                    self.step()
            except BaseException as problem:
                self.fail(problem)
        return <Task>turn_pop(&self.ready).task

    cdef int fail(self, object problem) except -1:
        """Raise in the root, where it waits now or will wait next."""
        if self.root.pending is None:
            self.root.pending = problem
        if self.root.asleep:
            turn_call(&self.root.turn)
        return 0

    def take_problem(self):
        """What has failed, of what nobody has waited for since; None: nothing has."""
        problem, self.root.pending = self.root.pending, None
        return problem

    cdef int hand_over(self, Task task) except -1:
        self.current = task
        PyThread_release_lock(task.baton)
        return 0

    cdef int block(self, int64_t until) except? 1:
        cdef Task me = self.current
        cdef Task task
        if me.ident != PyThread_get_thread_ident():
            raise RuntimeError(
                "pystack: this thread is none of the virtual network's; begin it with net.spawn()")
        if self.closed:
            raise RuntimeError("pystack: the virtual network is closed")
        if self.closing and me is not self.root:
            raise Closed
        me.timed_out = False
        me.asleep = True
        me.due(until)
        if me.pending is not None:
            turn_call(&me.turn)
        task = self.next_task()
        if task is not me:
            self.hand_over(task)
            self.await_baton(me)
        me.asleep = False
        me.due(NEVER)
        if me.pending is not None:
            problem, me.pending = me.pending, None
            raise problem
        return TIMED_OUT if me.timed_out else 0

    cdef int await_baton(self, Task me) except -1:
        """Wait for one's turn; Ctrl-C is raised where the root waits."""
        cdef PyLockStatus status
        while True:
            with nogil:
                status = lock_wait(me.baton, NEVER, True)
            if status == PY_LOCK_ACQUIRED:
                return 0
            if status == PY_LOCK_INTR:
                try:
                    check_signals()
                except BaseException as problem:
                    if me.pending is not None:
                        raise       # asked for twice: whoever runs does not stop
                    self.fail(problem)

    # For Python.

    def spawn(self, function, arguments, options, str name):
        """Begin a function; it runs when the running one waits."""
        cdef Task task
        if self.closing or self.closed:
            raise RuntimeError("pystack: the virtual network is closed")
        task = Task.__new__(Task, self, name)
        task.function, task.arguments, task.options = function, arguments, options
        self.add(task)
        self.tasks.append(task)
        task.start()
        return task

    def wait(self, until=None):
        """Let others run and time pass until the running function is called, or that time.

        It may be called for something that has been seen already.
        """
        self.block(NEVER if until is None else max(<int64_t>until, self.now))

    def sleep_until(self, int64_t when):
        """Let time pass; at least the others that are ready run."""
        cdef Task me = self.current
        if when <= self.now:
            turn_call(&me.turn)
            self.block(NEVER)
            return
        while self.now < when:
            self.block(when)

    def call_at(self, int64_t when, function, arguments):
        """Call a function at a time; it must not wait."""
        cdef Call call = Call.__new__(Call)
        call.function, call.arguments = function, arguments
        self.add(call)
        call.due(max(when, self.now))
        return call

    def wait_for(self, predicate, until=None):
        """Wait until a predicate is true, which is looked at after every event; False: too late."""
        cdef Task me = self.current
        cdef int64_t when = NEVER if until is None else until
        value = predicate()
        self.watching.append(me)
        me.predicate = predicate
        try:
            while not value:
                if self.block(when) == TIMED_OUT:
                    return predicate()
                value = predicate()
            return value
        finally:
            me.predicate = None
            self.watching.remove(me)

    def settle(self, until=None):
        """Run until nothing is left to happen; False if `until` comes first. For the root."""
        cdef int64_t when = NEVER if until is None else until
        cdef Task me = self.root
        while deadline_first(&self.queue) != NEVER:
            if deadline_first(&self.queue) > when:
                self.sleep_until(when)
                return False
            self.step()
            if self.ready.first != NULL:    # the others first
                turn_call(&me.turn)
                self.block(NEVER)
        return True

    def close(self):
        """End the functions that still wait, by raising Closed there; nothing runs any more."""
        cdef Task task
        if self.closed:
            return
        self.closing = True
        for task in list(self.tasks):
            if task is self.current:
                raise RuntimeError("pystack: a function cannot close the network it runs in")
            task.pending = Closed()
            turn_call(&task.turn)
            while not task.done:
                turn_call(&self.root.turn)
                self.root.pending = None
                self.block(NEVER)
            task.thread.join()
        self.root.pending = None
        self.closed = True
