# Corking: which writes of an event loop's program wait for those to other connections.
# Called by: watch, stream.
# RFCs: none.
#
# A server that many connections have asked answers one after the other, and several answers go to
# the device by one system call. So when many were told of what has arrived, answers that follow
# each other quickly wait: until there are enough, until one comes that took its time, or until all
# callbacks that are due have run.
#
# With few connections nothing waits: their peers would sleep until all are answered, where they
# read one answer while the next is written. Nor where answers take long to compute.

from libc.stdint cimport int64_t

cdef enum:
    CORK_CROWD = 8              # connections that were told
    CORK_WRITES = 32            # the last of which takes the others along
    CORK_PAUSE_NS = 50_000      # from one write to the next; an echo takes 10 to 25 us

ctypedef struct Corking:
    int64_t pause               # CORK_PAUSE_NS
    Py_ssize_t crowd            # connections that were told at the same time
    int64_t wrote_at
    int writes                  # since the last one that did not wait

cdef void corking_start(Corking* corking) noexcept nogil
# Whether something that is written now is to wait.
cdef bint corking_waits(Corking* corking, int64_t now) noexcept nogil
