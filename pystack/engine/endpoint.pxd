# Handle: a socket as Python holds it: what streams, listeners and datagram sockets share.
# Called by: tcp and datagram, which extend it; pystack.socket.
# RFCs: none; socket(7), ip(7), ipv6(7).

from libc.stdint cimport int32_t, int64_t
from pystack.core.endpoint cimport Endpoint
from pystack.core.wire.address cimport Addr
from pystack.engine.engine cimport Engine
from pystack.engine.owner cimport Owner

cdef class Handle:
    cdef Engine engine
    cdef Owner owner
    cdef object __weakref__
    cdef public object shown    # what pystack.socket knows of fileno(); None: nobody has asked
    cdef readonly int holders   # sockets: more than one after dup()
    # what only a held socket has: SO_RCVTIMEO and SO_SNDTIMEO in ns (0: none, -1: not at all), and
    # SO_PEEK_OFF (-1: a look takes what a read would); with the lock
    cdef int64_t receive_timeout
    cdef int64_t send_timeout
    cdef int32_t peek_at

    # Begin a call: 0, or a negative code (EBADF when closed), without the lock then.
    cdef int enter(self) noexcept nogil
    cdef void leave(self) noexcept nogil
    # From within a call: sleep without the lock until one of the events, or `until`. 0: in the call
    # again, look again; negative (EAGAIN, TIMED_OUT, RAISED, EBADF, ...): out of the call.
    # A time that is given as its complement ends with EAGAIN, as the kernel's own timeouts do.
    cdef int wait(self, int events, int64_t until) noexcept nogil
    cdef int wait_in_world(self, int events, int64_t until) noexcept nogil
    # When a call with this timeout of Python's, or else with the socket's own, gives up.
    cdef int64_t until_read(self, object timeout) except? -2
    cdef int64_t until_written(self, object timeout) except? -2
    cdef void inherit(self, Handle parent) noexcept nogil
    cdef void peeked(self, int64_t count) noexcept nogil
    cdef void consumed(self, int64_t count) noexcept nogil
    cdef void release(self, bint abort) noexcept nogil
    cdef int lock(self) except -1
    cdef int unlock(self) except -1
    # Linux's numbers.
    cdef int set_option(self, int level, int option, int64_t value) noexcept nogil
    cdef int get_option(self, int level, int option, int64_t* value) noexcept nogil

# Seconds as sockets have them: None is for ever, 0 not at all.
cdef int64_t until_from(Engine engine, object timeout) except -2
cdef bytes addr_bytes(const Addr* address)
