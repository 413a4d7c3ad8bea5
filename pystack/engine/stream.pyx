# Stream: a connection as an event loop has it: what arrives is handed over, what is written in
# pieces leaves in one.
# Called by: pystack.aio.
# RFCs: none.
#
# A program that writes header and body one after the other, as most servers of HTTP do, would send
# two segments, each of which costs more than all else that the stack does for it. That it does so
# is learnt from what it did before: a piece waits if, when the program last wrote, more followed
# before the loop turned again. It leaves with the last one that is expected, and at the latest when
# the callbacks that are due now have run. So nothing waits for time to pass, and who writes once
# never waits, but for others who are answered together with it (corking).

from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from libc.errno cimport EAGAIN
from libc.stdint cimport int64_t, uint8_t
from pystack.core.endpoint cimport READY_READ
from pystack.core.memory.loan cimport Lender
from pystack.engine.errors cimport check
from pystack.engine.tcp cimport TcpHandle
from pystack.engine.watch cimport LINK_IDLE, Watch, Watcher

cdef extern from "Python.h":
    int context_enter "PyContext_Enter" (object context) except -1
    int context_exit "PyContext_Exit" (object context) except -1

cdef enum:
    LARGEST = 256 << 10         # of what one data_received gets
    PIECE = 16 << 10            # what is longer does not wait for more


cdef class Stream(Watch):
    """A watch of a connection; to be called by the loop's thread only."""

    def __init__(self, Watcher watcher, TcpHandle handle, callback, context):
        """callback: of everything but text that is handed over; see Watch."""
        self.turn = watcher.turns

    # Reading.

    def hand_over(self, protocol, failed):
        """While only READ is armed, text that arrives goes to protocol.data_received at once, until
        cancel(); failed("data_received", exception) is for what that raises. protocol None: no
        longer.
        """
        self.protocol = protocol
        self.failed = failed

    def forget(self):
        """Cancel, and let go of the callbacks."""
        Watch.forget(self)
        self.protocol = self.failed = None

    cpdef deliver(self):
        """Hand over what there is; whatever else has happened is for the callback."""
        cdef bytes data
        if self.protocol is None or self.events != READY_READ or self.link.state != LINK_IDLE:
            Watch.deliver(self)
            return
        data = (<TcpHandle>self.handle).take(LARGEST)
        if data is None:
            Watch.deliver(self)
            return
        context_enter(self.context)
        try:
            self.protocol.data_received(data)
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as problem:
            self.failed("data_received", problem)
        finally:
            context_exit(self.context)
        if self.events and self.link.state == LINK_IDLE:
            self.arm(self.events)

    # Writing.

    cdef bint more_comes(self) noexcept:
        """Whether a piece that is written now is one of several, and not the last."""
        if self.turn != self.watcher.turns:
            self.turn = self.watcher.turns
            self.expected = self.pieces
            self.pieces = 0
        self.pieces += 1
        return self.pieces < self.expected

    def write(self, data):
        """How many bytes were taken, perhaps none; OSError."""
        cdef TcpHandle handle = self.handle
        cdef bint more = self.more_comes()
        cdef bint hold
        cdef Lender* lender
        cdef int64_t count
        cdef Py_buffer view
        PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
        try:
            if view.len > PIECE:
                lender = handle.engine.begin_lending(data, view.len)
                with nogil:
                    count = handle.submit(<const uint8_t*>view.buf, view.len, False, lender)
                handle.engine.end_lending(lender)
            else:
                hold = self.watcher.may_hold(more)
                count = handle.submit(<const uint8_t*>view.buf, view.len, hold, NULL)
        finally:
            PyBuffer_Release(&view)
        if count == -EAGAIN:
            return 0
        check(count)
        return count
