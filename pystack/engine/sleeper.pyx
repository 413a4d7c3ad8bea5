# Sleeper: how a driver's thread sleeps until there is input, a time has come, or it is woken.
# Called by: thread (sleeps), engine and devices (wake).
# RFCs: none.

from libc.stdint cimport int64_t
from libc.string cimport memset
from pystack.engine.mutex cimport mutex_close, mutex_lock, mutex_open, mutex_unlock
from pystack.engine.pythread cimport (
    NOWAIT_LOCK,
    PY_LOCK_ACQUIRED,
    PyThread_acquire_lock,
    PyThread_allocate_lock,
    PyThread_free_lock,
    PyThread_release_lock,
    lock_wait,
)

cdef extern from *:
    """
    #ifndef _WIN32
    #include <errno.h>
    #include <poll.h>
    #include <stdint.h>
    #include <unistd.h>
    /* Wait for input on either fd (-1: none). 1: `wake` has some; 0: not; -1: fd is closed; -2: a
       signal has arrived. */
    static int pystack_poll(int fd, int wake, int milliseconds)
    {
        struct pollfd watched[2] = {{wake, POLLIN, 0}, {fd, POLLIN, 0}};
        int ready = poll(watched, fd < 0 ? 1 : 2, milliseconds);
        if (ready <= 0)
            return ready < 0 && errno == EINTR ? -2 : 0;
        if (watched[1].revents & POLLNVAL)
            return -1;
        return watched[0].revents != 0;
    }
    static void pystack_ring(int fd)
    {
        uint64_t one = 1;
        if (write(fd, &one, sizeof one) < 0)
            return; /* full: the sleeper will be woken anyway */
    }
    static void pystack_unring(int fd)
    {
        uint64_t sink[8];
        if (read(fd, sink, sizeof sink) < 0)
            return; /* empty */
    }
    static void pystack_close(int fd) { close(fd); }
    #else
    static int pystack_poll(int fd, int wake, int milliseconds)
    {
        (void)fd, (void)wake, (void)milliseconds;
        return 0;
    }
    static void pystack_ring(int fd) { (void)fd; }
    static void pystack_unring(int fd) { (void)fd; }
    static void pystack_close(int fd) { (void)fd; }
    #endif
    """
    int poll_input "pystack_poll" (int fd, int wake, int milliseconds) noexcept nogil
    void ring_fd "pystack_ring" (int fd) noexcept nogil
    void unring_fd "pystack_unring" (int fd) noexcept nogil
    void close_fd "pystack_close" (int fd) noexcept nogil

cdef enum:
    LONGEST_POLL_MS = 3_600_000
    INTERRUPTED = -2            # of poll_input


cdef int sleeper_open(Sleeper* sleeper) noexcept nogil:
    """Make a sleeper without fds; 0, or -1 when out of memory."""
    memset(sleeper, 0, sizeof(Sleeper))
    sleeper.wake_read = sleeper.wake_write = -1
    sleeper.gate = PyThread_allocate_lock()
    if sleeper.gate == NULL or mutex_open(&sleeper.guard) < 0:
        return -1
    PyThread_acquire_lock(sleeper.gate, NOWAIT_LOCK)
    return 0


cdef void sleeper_use_fds(Sleeper* sleeper, int wake_read, int wake_write) noexcept nogil:
    """Sleep on fds from now on; who has been woken already stays so."""
    mutex_lock(&sleeper.guard)
    sleeper.wake_read = wake_read
    sleeper.wake_write = wake_write
    if sleeper.rung:
        ring_fd(wake_write)
    mutex_unlock(&sleeper.guard)


cdef void sleeper_close_fds(Sleeper* sleeper) noexcept nogil:
    """Close the fds; nobody sleeps any more, but somebody may still ring."""
    mutex_lock(&sleeper.guard)
    if sleeper.wake_write >= 0 and sleeper.wake_write != sleeper.wake_read:
        close_fd(sleeper.wake_write)
    if sleeper.wake_read >= 0:
        close_fd(sleeper.wake_read)
    sleeper.wake_read = sleeper.wake_write = -1
    sleeper.rung = True
    mutex_unlock(&sleeper.guard)


cdef void sleeper_release(Sleeper* sleeper) noexcept nogil:
    """Free the locks."""
    mutex_close(&sleeper.guard)
    if sleeper.gate != NULL:
        PyThread_free_lock(sleeper.gate)
    sleeper.gate = NULL


cdef void sleeper_wake(Sleeper* sleeper) noexcept nogil:
    """End the sleep that goes on, or the next one."""
    mutex_lock(&sleeper.guard)
    if not sleeper.rung:
        sleeper.rung = True
        if sleeper.wake_write >= 0:
            ring_fd(sleeper.wake_write)
        else:
            PyThread_release_lock(sleeper.gate)
    mutex_unlock(&sleeper.guard)


cdef inline int milliseconds(int64_t duration) noexcept nogil:
    """Rounded up: waking a little early would mean to spin until the time has come."""
    if duration <= 0:
        return 0
    return <int>min((duration - 1) // 1_000_000 + 1, <int64_t>LONGEST_POLL_MS)


cdef int sleeper_sleep(Sleeper* sleeper, int fd, int64_t duration) noexcept nogil:
    """Sleep up to `duration` ns, until fd is readable, or until woken.

    The caller looks at what others may have changed after this returns, never before.
    """
    cdef int woken
    if sleeper.wake_read >= 0:
        woken = poll_input(fd, sleeper.wake_read, milliseconds(duration))
    else:
        woken = lock_wait(sleeper.gate, duration, False) == PY_LOCK_ACQUIRED
    if woken > 0:
        mutex_lock(&sleeper.guard)
        if sleeper.wake_read >= 0:
            unring_fd(sleeper.wake_read)
        sleeper.rung = False
        mutex_unlock(&sleeper.guard)
    if woken == INTERRUPTED:
        return SLEEP_INTERRUPTED
    return -1 if woken < 0 else 0
