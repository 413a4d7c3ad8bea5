# World: virtual time, and the functions that live in it, of which exactly one runs at a time.
# Called by: endpoint (blocked calls), virtual (stacks), link/ (wires), testing/.
# RFCs: none.
#
# Whoever runs in a world holds the GIL whenever it touches the world, but for what is marked nogil.

from libc.stdint cimport int64_t, uint64_t
from pystack.core.memory.deadline cimport DeadlineNode, DeadlineQueue
from pystack.engine.pythread cimport PyThread_type_lock

# A task's place in the queue of those that may run.
ctypedef struct Turn:
    Turn* next
    TurnQueue* queue
    bint waits                  # in the queue
    void* task                  # Task

ctypedef struct TurnQueue:
    Turn* first
    Turn* last

# Something that time wakes.
cdef class Actor:
    cdef World world
    cdef DeadlineNode place
    # Call act at `when`, and not at the time asked for before; NEVER: not at all.
    cdef void due(self, int64_t when) noexcept nogil
    cdef int act(self) except -1

# A function in a thread of its own, or the thread that made the world (the root).
cdef class Task(Actor):
    cdef Turn turn
    cdef PyThread_type_lock baton       # held while it must not run
    cdef unsigned long ident            # its thread
    cdef bint timed_out
    cdef bint asleep                    # in block()
    cdef readonly str name
    cdef readonly bint done
    cdef readonly object thread         # None: the root
    cdef object function, arguments, options
    cdef object value, problem
    cdef object pending                 # an exception that its next wait raises
    cdef list joiners
    cdef object predicate               # it waits until this is true
    cdef int start(self) except -1
    cdef int end(self) except -1

cdef class World:
    cdef int64_t now
    cdef int64_t limit
    cdef DeadlineQueue queue
    cdef TurnQueue ready
    cdef readonly Task root
    cdef Task current
    cdef list actors
    cdef list watching                  # tasks with a predicate
    cdef readonly list tasks
    cdef bint closing
    cdef readonly bint closed
    cdef uint64_t steps                 # events so far
    cdef uint64_t steps_at_now
    cdef int add(self, Actor actor) except -1
    cdef int remove(self, Actor actor) except -1
    # Block the running task until its turn is called or `until`: 0 or TIMED_OUT, or an exception.
    cdef int block(self, int64_t until) except? 1
    cdef int step(self) except -1
    cdef Task next_task(self)
    cdef int hand_over(self, Task task) except -1
    cdef int await_baton(self, Task me) except -1
    cdef int watch(self) except -1
    cdef int fail(self, object problem) except -1

# Let a task run when those before it have run; context: its Turn.
cdef void turn_call(void* context) noexcept nogil
# block(), for code without the GIL: RAISED if an exception is set.
cdef int world_block(World world, int64_t until) noexcept with gil
