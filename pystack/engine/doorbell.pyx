# Doorbell: a real fd that is readable and writable when a socket of the stack is. POLLPRI, which
# tells of urgent text, it knows where AF_UNIX has MSG_OOB, as Linux's.
# Called by: owner (shows), endpoint (opens, closes).
# RFCs: none.

from pystack.core.endpoint cimport READY_END, READY_READ, READY_URGENT, READY_WRITE

import _socket  # whatever a program puts into socket
import errno
import os
import sys

cdef extern from *:
    """
    #ifndef _WIN32
    #include <sys/socket.h>
    #include <unistd.h>
    #ifndef MSG_NOSIGNAL
    #define MSG_NOSIGNAL 0
    #endif
    /* MSG_DONTWAIT, not O_NONBLOCK: that flag the application may change, its end is ours too. */
    static const char pystack_filler[2048];
    static void pystack_bell_send(int fd)
    {
        if (send(fd, pystack_filler, 1, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
            return; /* full: readable already */
    }
    static void pystack_bell_fill(int fd)
    {
        while (send(fd, pystack_filler, sizeof pystack_filler, MSG_DONTWAIT | MSG_NOSIGNAL) > 0)
            ;
        while (send(fd, pystack_filler, 1, MSG_DONTWAIT | MSG_NOSIGNAL) > 0)
            ;
    }
    static void pystack_bell_drain(int fd)
    {
        char sink[8192];
        while (recv(fd, sink, sizeof sink, MSG_DONTWAIT) > 0)
            ;
    }
    static void pystack_bell_send_urgent(int fd)
    {
        if (send(fd, pystack_filler, 1, MSG_OOB | MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
            return; /* there is no such thing here */
    }
    static void pystack_bell_drain_urgent(int fd)
    {
        char sink;
        if (recv(fd, &sink, 1, MSG_OOB | MSG_DONTWAIT) < 0)
            return; /* nor was there then */
    }
    /* The system rounds up to the least that it allows. */
    static void pystack_bell_shrink(int fd)
    {
        int least = 1;
        if (setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &least, sizeof least) < 0)
            return; /* it takes more to fill then */
    }
    static void pystack_bell_end(int fd)
    {
        if (shutdown(fd, SHUT_WR) < 0)
            return; /* the other end is closed: who would look? */
    }
    static void pystack_bell_close(int fd) { close(fd); }
    #else
    static void pystack_bell_send(int fd) { (void)fd; }
    static void pystack_bell_fill(int fd) { (void)fd; }
    static void pystack_bell_drain(int fd) { (void)fd; }
    static void pystack_bell_send_urgent(int fd) { (void)fd; }
    static void pystack_bell_drain_urgent(int fd) { (void)fd; }
    static void pystack_bell_shrink(int fd) { (void)fd; }
    static void pystack_bell_end(int fd) { (void)fd; }
    static void pystack_bell_close(int fd) { (void)fd; }
    #endif
    """
    void bell_send "pystack_bell_send" (int fd) noexcept nogil
    void bell_fill "pystack_bell_fill" (int fd) noexcept nogil
    void bell_drain "pystack_bell_drain" (int fd) noexcept nogil
    void bell_send_urgent "pystack_bell_send_urgent" (int fd) noexcept nogil
    void bell_drain_urgent "pystack_bell_drain_urgent" (int fd) noexcept nogil
    void bell_shrink "pystack_bell_shrink" (int fd) noexcept nogil
    void bell_end "pystack_bell_end" (int fd) noexcept nogil
    void bell_close "pystack_bell_close" (int fd) noexcept nogil


cdef int doorbell_open(Doorbell* bell, bint stream) except -1:
    """Make the pair, writable and not readable. OSError where there is no AF_UNIX."""
    if not hasattr(_socket, "AF_UNIX") or not hasattr(_socket, "MSG_DONTWAIT"):
        raise OSError(errno.EOPNOTSUPP, "pystack: sockets have no fileno() on this system")
    kind = _socket.SOCK_STREAM
    if not stream and sys.platform == "linux":
        kind = _socket.SOCK_SEQPACKET
    outer, inner = _socket.socketpair(_socket.AF_UNIX, kind)
    bell.outer = bell.number = outer.detach()
    bell.inner = inner.detach()
    bell.lent = False
    doorbell_quiet(bell)
    return 0


cdef int doorbell_renew(Doorbell* bell) except -1:
    if not bell.shown & READY_END:
        return 0
    outer, inner = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_STREAM)
    os.dup2(outer.fileno(), bell.outer, inheritable=False)
    outer.close()
    bell_close(bell.inner)
    bell.inner = inner.detach()
    doorbell_quiet(bell)
    return 0


cdef void doorbell_quiet(Doorbell* bell) noexcept nogil:
    """Take what either end has left in the pair, and show a socket that is writable only."""
    bell_drain(bell.outer)
    bell_drain(bell.inner)
    bell_shrink(bell.outer)
    bell.shown = READY_WRITE


cdef void doorbell_show(Doorbell* bell, int ready) noexcept nogil:
    """Make the fd readable and writable as `ready` says; urgent text is readable, too. The end,
    which is POLLRDHUP, stays.
    """
    cdef int changed
    if not ready & READY_READ:
        ready &= ~READY_URGENT
    changed = bell.shown ^ ready
    if changed & READY_URGENT and not ready & READY_URGENT:
        bell_drain_urgent(bell.outer)
    if changed & READY_READ:
        if ready & READY_READ:
            bell_send(bell.inner)
        else:
            bell_drain(bell.outer)
    if changed & ready & READY_URGENT:
        bell_send_urgent(bell.inner)
    if changed & READY_WRITE:
        if ready & READY_WRITE:
            bell_drain(bell.inner)
        else:
            bell_fill(bell.outer)
    if changed & ready & READY_END:
        bell_end(bell.inner)
    bell.shown = ready | bell.shown & READY_END


cdef void doorbell_close(Doorbell* bell) noexcept nogil:
    if bell.outer >= 0:
        bell_close(bell.outer)
        bell_close(bell.inner)
    bell.outer = bell.inner = -1
