# pystack.core.wire.udp for Python tests.
# Called by: tests/unit/test_wire_udp.py.
# RFCs: none.

from libc.stdint cimport uint8_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy
from pystack.core.wire cimport udp
from pystack.core.wire.udp cimport UdpHeader

TOO_SHORT = udp.UDP_TOO_SHORT
BAD_LENGTH = udp.UDP_BAD_LENGTH


def parse(bytes data):
    """(source port, destination port, length, checksum), or the fault.

    From a buffer of just that size, so that a sanitizer sees what is read beyond it.
    """
    cdef UdpHeader header
    cdef uint8_t* copy = <uint8_t*>malloc(len(data))
    try:
        memcpy(copy, <const uint8_t*>data, len(data))
        fault = udp.udp_parse(copy, len(data), &header)
    finally:
        free(copy)
    if fault < 0:
        return fault
    return header.source_port, header.destination_port, header.length, header.checksum


def build(int source_port, int destination_port, int length, int checksum):
    cdef UdpHeader header = UdpHeader(source_port, destination_port, length, checksum)
    cdef uint8_t[8] out
    udp.udp_build_header(out, &header)
    return out[:8]
