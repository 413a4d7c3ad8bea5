# pystack.device.uring for Python tests.
# Called by: tests/unit/test_uring.py.
# RFCs: none.

from libc.string cimport memset
from posix.uio cimport iovec
from pystack.device cimport uring
from pystack.device.uring cimport Uring

import os

ENTRIES = uring.URING_ENTRIES

cdef enum:
    PARTS = 4


cdef class Ring:
    """A ring, and what its requests point to."""

    cdef Uring ring
    cdef list requests          # the buffers of each
    cdef iovec parts[uring.URING_ENTRIES][PARTS]

    def __cinit__(self):
        self.requests = []
        memset(&self.ring, 0, sizeof(self.ring))
        problem = uring.uring_open(&self.ring)
        if problem < 0:
            raise OSError(-problem, os.strerror(-problem))

    def __dealloc__(self):
        uring.uring_close(&self.ring)

    def close(self):
        uring.uring_close(&self.ring)

    @property
    def is_open(self):
        return self.ring.requests != NULL

    @property
    def fd(self):
        return self.ring.fd

    def read(self, int fd, int size):
        cdef bytearray buffer = bytearray(size)
        cdef char* start = buffer
        self.requests.append(buffer)
        uring.uring_read(&self.ring, fd, start, size)

    def write(self, int fd, *parts):
        cdef iovec* at = self.parts[len(self.requests)]
        cdef int i
        self.requests.append(parts)
        for i in range(len(parts)):
            at[i].iov_base = <char*>parts[i]
            at[i].iov_len = len(parts[i])
        uring.uring_writev(&self.ring, fd, at, len(parts))

    def submit(self):
        """For each request the bytes that it has read, how many it has written, or an errno,
        negative.
        """
        with nogil:
            uring.uring_submit(&self.ring)
        results = [
            bytes(buffer[: self.ring.results[i]])
            if isinstance(buffer, bytearray) and self.ring.results[i] >= 0
            else self.ring.results[i]
            for i, buffer in enumerate(self.requests)
        ]
        self.requests = []
        return results
