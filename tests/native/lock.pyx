# The stack's lock, held by a test while other threads want it.
# Called by: tests/scenario/sockets/test_lock_and_gil.
# RFCs: none.

from posix.unistd cimport usleep
from pystack.engine.engine cimport Engine
from pystack.engine.mutex cimport mutex_try, mutex_unlock

cdef enum:
    LOOKS = 100
    PAUSE_US = 1000


def lock(stack):
    cdef Engine engine = stack.engine
    engine.lock()


def unlock(stack):
    cdef Engine engine = stack.engine
    engine.unlock()


def times_free(stack):
    """Of 100 looks, one each ms, during which this thread keeps the GIL."""
    cdef Engine engine = stack.engine
    cdef int free = 0
    for _ in range(LOOKS):
        usleep(PAUSE_US)
        if mutex_try(&engine.mutex):
            mutex_unlock(&engine.mutex)
            free += 1
    return free
