# What a kernel sends to multicast and broadcast addresses by itself on every new interface.
# Called by: ipv4_input, ipv6_input.
# RFCs: 4861, 3810, 3376, 6762, 4795.

from libc.stdint cimport uint8_t, uint32_t

# transport: the upper-layer header, `length` bytes of it and what follows.
cdef bint is_control_noise(
    const uint8_t* transport, uint32_t length, uint8_t protocol
) noexcept nogil
