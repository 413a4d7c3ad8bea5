# How much an application may queue for sending, and when it is told that it may again.
# Called by: transfer (writes), calls (poll), ack and output (progress), settings.
# RFCs: none; tcp(7), TCP_NOTSENT_LOWAT as Linux.

from libc.stdint cimport uint32_t
from pystack.core.tcp.layer cimport Tcb, TcpLayer

# What Linux puts into one buffer: at most half of the peer's window, in whole segments.
cdef uint32_t train_goal(const Tcb* tcb) noexcept nogil
# Bytes that a write may add now.
cdef uint32_t send_buffer_room(const Tcb* tcb) noexcept nogil
# Is it worth waking a writer for?
cdef bint send_buffer_has_room(const Tcb* tcb) noexcept nogil
# Something was acknowledged, or sent for the first time: a writer may wait for that.
cdef void send_buffer_moved(TcpLayer* tcp, Tcb* tcb) noexcept nogil
