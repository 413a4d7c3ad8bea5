# pythread.h, as far as cpython.pythread leaves it out: timed waits, and everything without the GIL.
# Called by: all of engine/. These locks work wherever Python does.
# RFCs: none.

cdef extern from "pythread.h" nogil:
    ctypedef void* PyThread_type_lock
    ctypedef enum PyLockStatus:
        PY_LOCK_FAILURE
        PY_LOCK_ACQUIRED
        PY_LOCK_INTR
    enum:
        WAIT_LOCK
        NOWAIT_LOCK
    PyThread_type_lock PyThread_allocate_lock()
    void PyThread_free_lock(PyThread_type_lock lock)
    int PyThread_acquire_lock(PyThread_type_lock lock, int wait)
    PyLockStatus PyThread_acquire_lock_timed(
        PyThread_type_lock lock, long long microseconds, int interruptible)
    void PyThread_release_lock(PyThread_type_lock lock)
    unsigned long PyThread_get_thread_ident()

cdef enum:
    LONGEST_WAIT_US = 3_600_000_000     # within what every platform's timed wait can take


cdef inline PyLockStatus lock_wait(
    PyThread_type_lock lock, long long nanoseconds, bint interruptible
) noexcept nogil:
    """Wait for a lock, rounded up to microseconds; perhaps shorter: look at the clock again."""
    cdef long long microseconds
    if nanoseconds <= 0:
        microseconds = 0
    elif nanoseconds // 1000 >= LONGEST_WAIT_US:
        microseconds = LONGEST_WAIT_US
    else:
        microseconds = nanoseconds // 1000 + 1
    return PyThread_acquire_lock_timed(lock, microseconds, interruptible)
