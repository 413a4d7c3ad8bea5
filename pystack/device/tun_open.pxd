# Opening TUN: /dev/net/tun, interfaces by name, offloads, and errors that say what to do.
# Called by: tun.
# RFCs: none.

from libc.stdint cimport uint32_t

cdef enum:
    HEADER_SIZE_MAX = 32        # of a virtio-net header that fits into every packet's headroom

# An open, non-blocking /dev/net/tun without interface; OSError.
cdef int tun_open() except -1
# Give fd the interface of this name, made anew or, if somebody made it persistent, that one.
# multi_queue: one that can have more queues than this. (name, whether it was made); OSError.
cdef tuple tun_attach(int fd, str name, bint with_header, bint multi_queue)
# Give fd one more queue of an interface that tun_attach has given a file of this process. OSError.
cdef int tun_attach_queue(int fd, str name, bint with_header) except -1
# (name, size of the virtio-net header or 0) of the interface that a foreign fd belongs to. OSError.
cdef tuple tun_inspect(int fd)
# Have the kernel use as many of these DeviceFeature bits as it can; returns which.
cdef uint32_t tun_set_offloads(int fd, uint32_t features)
cdef int tun_set_header_size(int fd, int size) except -1
