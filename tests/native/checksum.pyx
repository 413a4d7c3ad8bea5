# pystack.core.wire.checksum for Python tests.
# Called by: tests/unit/test_checksum.py.
# RFCs: none.

from libc.stdint cimport uint8_t, uint16_t, uint32_t
from pystack.core.wire.address cimport Addr, addr_load4, addr_load16
from pystack.core.wire cimport checksum


def add(bytes data, uint32_t sum = 0, size_t skip = 0):
    """csum_add over data[skip:]: each skip gives another alignment in memory."""
    cdef const uint8_t* p = data
    return checksum.csum_add(sum, p + skip, len(data) - skip)


def add_at(bytes data, size_t offset, uint32_t sum = 0):
    return checksum.csum_add_at(sum, data, len(data), offset)


cdef Addr address(bytes wire):
    return addr_load4(wire) if len(wire) == 4 else addr_load16(wire)


def pseudo(bytes source, bytes destination, uint8_t protocol, uint32_t length):
    cdef Addr a = address(source), b = address(destination)
    return checksum.csum_pseudo(&a, &b, protocol, length)


def fold(uint32_t sum):
    return checksum.csum_fold(sum)


def finish(uint32_t sum):
    return checksum.csum_finish(sum)


def update16(uint16_t old_checksum, uint16_t old, uint16_t new):
    return checksum.csum_update16(old_checksum, old, new)
