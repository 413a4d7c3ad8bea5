# Uring: many reads or writes of files by one system call, none of which waits. Linux only.
# Called by: tun.
# RFCs: none; io_uring(7), io_uring_setup(2), io_uring_enter(2).

from libc.errno cimport ENOSYS, EOPNOTSUPP, errno
from libc.stddef cimport size_t
from libc.stdint cimport uint8_t, uint32_t, uint64_t, uintptr_t
from libc.string cimport memset
from posix.mman cimport MAP_FAILED, MAP_POPULATE, MAP_SHARED, PROT_READ, PROT_WRITE, mmap, munmap
from posix.uio cimport iovec
from posix.unistd cimport close as os_close
from pystack.core.memory.check cimport check

cdef extern from *:
    """
    #include <sys/syscall.h>
    #include <unistd.h>
    #ifndef SYS_io_uring_setup
    #define SYS_io_uring_setup 425
    #define SYS_io_uring_enter 426
    #endif
    #define uring_setup(entries, parameters) syscall(SYS_io_uring_setup, entries, parameters)
    #define uring_enter(fd, count) syscall(SYS_io_uring_enter, fd, count, 0, 0, NULL, 0)
    #define load_acquire(from) __atomic_load_n(from, __ATOMIC_ACQUIRE)
    #define store_release(to, value) __atomic_store_n(to, value, __ATOMIC_RELEASE)
    """
    int uring_setup(uint32_t entries, Parameters* parameters) nogil
    int uring_enter(int fd, uint32_t count) nogil
    uint32_t load_acquire(const uint32_t* at) nogil
    void store_release(uint32_t* to, uint32_t value) nogil

cdef enum:                      # of linux/io_uring.h
    OP_WRITEV = 2
    OP_READ = 22
    OP_WRITE = 23
    OFFSET_QUEUES = 0
    OFFSET_REQUESTS = 0x10000000
    FEATURE_NEEDED = 1 << 9     # IORING_FEAT_NATIVE_WORKERS; 5.12 has all that is used here
    RWF_NOWAIT = 8              # of linux/fs.h

ctypedef struct RequestOffsets:     # in the mapped queues
    uint32_t head
    uint32_t tail
    uint32_t mask
    uint32_t entries
    uint32_t flags
    uint32_t dropped
    uint32_t array
    uint32_t reserved
    uint64_t user_address

ctypedef struct CompletionOffsets:
    uint32_t head
    uint32_t tail
    uint32_t mask
    uint32_t entries
    uint32_t overflow
    uint32_t completions
    uint32_t flags
    uint32_t reserved
    uint64_t user_address

ctypedef struct Parameters:
    uint32_t request_entries
    uint32_t completion_entries
    uint32_t flags
    uint32_t thread_cpu
    uint32_t thread_idle
    uint32_t features
    uint32_t workers
    uint32_t[3] reserved
    RequestOffsets requests
    CompletionOffsets completions


cdef void* map_queue(int fd, size_t size, uint64_t offset) noexcept nogil:
    """NULL if that is not possible."""
    cdef void* at = mmap(
        NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, offset)
    return NULL if at == MAP_FAILED else at


cdef void release(Uring* ring) noexcept nogil:
    if ring.requests != NULL:
        munmap(ring.requests, URING_ENTRIES * sizeof(UringRequest))
    if ring.queues != NULL:
        munmap(ring.queues, ring.queues_size)
    ring.requests = NULL
    os_close(ring.fd)


cdef int uring_open(Uring* ring) noexcept nogil:
    cdef Parameters told
    cdef uint8_t* queues
    cdef uint32_t i
    cdef int problem
    memset(&told, 0, sizeof(told))
    memset(ring, 0, sizeof(ring[0]))
    ring.fd = uring_setup(URING_ENTRIES, &told)
    if ring.fd < 0:
        return -errno
    if not told.features & FEATURE_NEEDED:
        os_close(ring.fd)
        return -ENOSYS
    ring.queues_size = max(
        told.requests.array + told.request_entries * sizeof(uint32_t),
        told.completions.completions + told.completion_entries * sizeof(UringCompletion))
    ring.queues = map_queue(ring.fd, ring.queues_size, OFFSET_QUEUES)
    ring.requests = <UringRequest*>map_queue(
        ring.fd, URING_ENTRIES * sizeof(UringRequest), OFFSET_REQUESTS)
    if ring.queues == NULL or ring.requests == NULL:
        problem = errno
        release(ring)
        return -problem
    queues = <uint8_t*>ring.queues
    ring.requests_head = <uint32_t*>(queues + told.requests.head)
    ring.requests_tail = <uint32_t*>(queues + told.requests.tail)
    ring.completions_head = <uint32_t*>(queues + told.completions.head)
    ring.completions_tail = <uint32_t*>(queues + told.completions.tail)
    ring.completions_mask = (<uint32_t*>(queues + told.completions.mask))[0]
    ring.completions = <UringCompletion*>(queues + told.completions.completions)
    for i in range(<uint32_t>URING_ENTRIES):
        (<uint32_t*>(queues + told.requests.array))[i] = i
    return 0


cdef void uring_close(Uring* ring) noexcept nogil:
    if ring.requests != NULL:
        release(ring)


cdef void add(
        Uring* ring, uint8_t opcode, int fd, const void* address, uint32_t length) noexcept nogil:
    cdef uint32_t tail = ring.requests_tail[0] + ring.queued
    cdef UringRequest* request = &ring.requests[tail % URING_ENTRIES]
    check(ring.queued < URING_ENTRIES)
    memset(request, 0, sizeof(request[0]))
    request.opcode = opcode
    request.fd = fd
    request.address = <uintptr_t>address
    request.length = length
    request.rw_flags = RWF_NOWAIT
    request.user_data = ring.queued
    ring.queued += 1


cdef void uring_read(Uring* ring, int fd, void* data, uint32_t length) noexcept nogil:
    add(ring, OP_READ, fd, data, length)


cdef void uring_writev(Uring* ring, int fd, const iovec* parts, uint32_t count) noexcept nogil:
    if count == 1:
        add(ring, OP_WRITE, fd, parts.iov_base, <uint32_t>parts.iov_len)
    else:
        add(ring, OP_WRITEV, fd, parts, count)


cdef void uring_submit(Uring* ring) noexcept nogil:
    cdef uint32_t i, head, tail
    cdef const UringCompletion* done
    for i in range(ring.queued):
        ring.results[i] = -EOPNOTSUPP
    store_release(ring.requests_tail, ring.requests_tail[0] + ring.queued)
    uring_enter(ring.fd, ring.queued)
    # Those that the kernel has not taken, for want of memory, are taken back.
    store_release(ring.requests_tail, load_acquire(ring.requests_head))
    # What does not wait has been executed when the call returns.
    head = ring.completions_head[0]
    tail = load_acquire(ring.completions_tail)
    while head != tail:
        done = &ring.completions[head & ring.completions_mask]
        ring.results[done.user_data] = done.result
        head += 1
    store_release(ring.completions_head, head)
    ring.queued = 0
