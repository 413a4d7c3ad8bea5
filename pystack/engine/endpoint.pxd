# Handle: a socket as Python holds it: what streams, listeners and datagram sockets share.
# Called by: tcp and datagram, which extend it; pystack.socket.
# RFCs: none; socket(7), ip(7), ipv6(7).

from libc.stdint cimport int64_t
from pystack.core.endpoint cimport Endpoint
from pystack.core.wire.address cimport Addr
from pystack.engine.engine cimport Engine
from pystack.engine.owner cimport Owner

cdef class Handle:
    cdef Engine engine
    cdef Owner owner
    cdef int holders            # sockets: more than one after dup()
    # SO_RCVTIMEO and SO_SNDTIMEO, ns: of calls that have no timeout otherwise; 0: none.
    cdef int64_t receive_timeout
    cdef int64_t send_timeout

    # Begin a call: 0, or a negative code (EBADF when closed), without the lock then.
    cdef int enter(self) noexcept nogil
    cdef void leave(self) noexcept nogil
    # From within a call: sleep without the lock until one of the events, or `until`. 0: in the call
    # again, look again; negative (EAGAIN, TIMED_OUT, RAISED, EBADF, ...): out of the call.
    cdef int wait(self, int events, int64_t until) noexcept nogil
    cdef void release(self, bint abort) noexcept nogil
    # Linux's numbers.
    cdef int set_option(self, int level, int option, int64_t value) noexcept nogil
    cdef int get_option(self, int level, int option, int64_t* value) noexcept nogil

# Seconds as sockets have them: None is for ever, 0 not at all.
cdef int64_t until_from(Engine engine, object timeout) except -2
cdef bytes addr_bytes(const Addr* address)
