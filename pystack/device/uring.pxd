# Uring: many reads or writes of files by one system call, none of which waits. Linux only.
# Called by: tun.
# RFCs: none; io_uring(7), io_uring_setup(2), io_uring_enter(2).

from libc.stddef cimport size_t
from libc.stdint cimport int32_t, uint8_t, uint16_t, uint32_t, uint64_t
from posix.uio cimport iovec

cdef enum:
    URING_ENTRIES = 64

# linux/io_uring.h, which older systems lack, says what is where.
ctypedef struct UringRequest:
    uint8_t opcode
    uint8_t flags
    uint16_t priority
    int32_t fd
    uint64_t offset
    uint64_t address
    uint32_t length
    int32_t rw_flags            # as of preadv2(2)
    uint64_t user_data
    uint64_t[3] reserved

ctypedef struct UringCompletion:
    uint64_t user_data
    int32_t result
    uint32_t flags

# Of one thread at a time. All zero: not open.
ctypedef struct Uring:
    UringRequest* requests      # URING_ENTRIES; NULL: not open
    const UringCompletion* completions
    uint32_t completions_mask
    # Positions in the two queues, shared with the kernel.
    const uint32_t* requests_head
    uint32_t* requests_tail
    uint32_t* completions_head
    const uint32_t* completions_tail
    uint32_t queued             # requests since the last submit
    int fd
    void* queues                # mapped, as requests is
    size_t queues_size
    int32_t[URING_ENTRIES] results

# 0, or a negative errno: the kernel is older than 5.12, or does not permit it.
cdef int uring_open(Uring* ring) noexcept nogil
cdef void uring_close(Uring* ring) noexcept nogil
# Queue a request, URING_ENTRIES at most until the next submit; what it points to must stay.
cdef void uring_read(Uring* ring, int fd, void* data, uint32_t length) noexcept nogil
cdef void uring_writev(Uring* ring, int fd, const iovec* parts, uint32_t count) noexcept nogil
# Execute what is queued, in that order. results[i] is what the request number i has returned, or
# its negative errno: -EAGAIN where it would have had to wait, -EOPNOTSUPP where it was not tried.
cdef void uring_submit(Uring* ring) noexcept nogil
