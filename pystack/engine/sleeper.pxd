# Sleeper: how a driver's thread sleeps until there is input, a time has come, or it is woken.
# Called by: thread (sleeps), engine and devices (wake).
# RFCs: none.

from libc.stdint cimport int64_t
from pystack.engine.mutex cimport Mutex
from pystack.engine.pythread cimport PyThread_type_lock

ctypedef struct Sleeper:
    Mutex guard                 # of `rung`
    PyThread_type_lock gate     # without wake fds: released by the ringer, taken by the sleeper
    int wake_read               # -1: sleep at the gate
    int wake_write
    bint rung                   # somebody woke the sleeper, who has not noticed yet

cdef enum:
    SLEEP_INTERRUPTED = 1       # a signal has arrived

# 0, or -1 when out of memory.
cdef int sleeper_open(Sleeper* sleeper) noexcept nogil
# Before the first sleep: sleep on fds, which the sleeper closes; they are an eventfd twice, or the
# ends of a pipe.
cdef void sleeper_use_fds(Sleeper* sleeper, int wake_read, int wake_write) noexcept nogil
# After the last sleep.
cdef void sleeper_close_fds(Sleeper* sleeper) noexcept nogil
cdef void sleeper_release(Sleeper* sleeper) noexcept nogil
# From any thread, with or without any lock; ends the sleep that goes on, or the next.
cdef void sleeper_wake(Sleeper* sleeper) noexcept nogil
# Up to `duration` ns, or until fd is readable (-1: none; without wake fds it is not looked at).
# 0; -1: fd is closed; SLEEP_INTERRUPTED, if it sleeps on fds.
cdef int sleeper_sleep(Sleeper* sleeper, int fd, int64_t duration) noexcept nogil
