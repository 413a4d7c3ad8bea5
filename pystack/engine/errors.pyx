# Errors: the one place where negative codes become Python exceptions.
# Called by: whatever in engine/ Python calls.
# RFCs: none.

from libc.errno cimport EBADF, ENETDOWN
from libc.stdint cimport int64_t

import os

cdef extern from *:
    """
    static int pystack_exception_is_set(void) { return -1; }
    """
    int propagate "pystack_exception_is_set" () except -1

# Where the system's own text would not say what to do.
cdef dict TEXTS = {
    EDEADLK: "pystack: a device or a capture must not call the stack that is calling it",
    ENETDOWN: "pystack: the stack's device is gone",
}

cdef str FORKED_TEXT = (
    "pystack: this stack stayed in the parent process; make one after the fork"
)


cdef int check(int64_t code) except -1:
    """Raise what a code means: as a kernel socket would, or what a signal's handler has raised."""
    if code >= 0:
        return 0
    if code == RAISED:
        propagate()
    if code == TIMED_OUT:
        raise TimeoutError("timed out")
    if code == BACKWARDS:
        raise ValueError("pystack: now is before the time that the stack was told last")
    if code == FORKED:
        raise OSError(EBADF, FORKED_TEXT)
    raise OSError(-code, TEXTS.get(-code) or os.strerror(<int>-code))
