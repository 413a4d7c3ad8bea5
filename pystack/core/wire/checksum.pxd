# The internet checksum: sums, pseudo-headers, incremental update.
# Called by: ip, udp, tcp output and input; device/segmentation.
# RFCs: 1071 (computation), 1624 (incremental update), 8200 section 8.1 (IPv6 pseudo-header).

from libc.stddef cimport size_t
from libc.stdint cimport uint8_t, uint16_t, uint32_t
from pystack.core.wire.address cimport Addr

# A running sum is a host-order integer; a finished checksum is stored with store16.
cdef uint32_t csum_add(uint32_t sum, const uint8_t* data, size_t length) noexcept nogil
cdef uint32_t csum_add_at(
        uint32_t sum, const uint8_t* data, size_t length, size_t offset) noexcept nogil
cdef uint32_t csum_pseudo(
        const Addr* source, const Addr* destination, uint8_t protocol,
        uint32_t length) noexcept nogil
cdef uint16_t csum_fold(uint32_t sum) noexcept nogil
cdef uint16_t csum_finish(uint32_t sum) noexcept nogil
cdef uint16_t csum_update16(uint16_t checksum, uint16_t old, uint16_t new) noexcept nogil
