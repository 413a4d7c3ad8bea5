# Doorbell: a real fd that is readable and writable when a socket of the stack is.
# Called by: owner (shows), endpoint (opens, closes).
# RFCs: none.

# A pair of connected AF_UNIX sockets: `outer` is readable when `inner` has sent something, and not
# writable while its own send buffer is full. Nothing else shows both: an eventfd is always either.
ctypedef struct Doorbell:
    int outer                   # what fileno() returns; -1: nobody has asked
    int number                  # the same, also when it is closed; -1: there was none
    int inner
    int shown                   # READ, WRITE, URGENT and END of Ready: what outer displays
    bint lent                   # outer is a socket's own number: others get a duplicate of it

# Of a stream, or of a socket with datagrams, whose pair keeps their boundaries where it can.
cdef int doorbell_open(Doorbell* bell, bint stream) except -1
# Have a pair in which nothing has ended behind the same number: the socket is to be used again.
cdef int doorbell_renew(Doorbell* bell) except -1
# Without the GIL, as what follows. Only edges cost a system call.
cdef void doorbell_quiet(Doorbell* bell) noexcept nogil
cdef void doorbell_show(Doorbell* bell, int ready) noexcept nogil
cdef void doorbell_close(Doorbell* bell) noexcept nogil
