# Extensions of ICMP errors: where they begin, and whether they are well-formed.
# Called by: icmp_input.
# RFCs: 4884 sections 4, 5 and 7.

from libc.stdint cimport uint8_t, uint32_t
from pystack.core.ip.layer cimport IcmpError
from pystack.core.wire.bytes cimport load16
from pystack.core.wire.checksum cimport csum_add, csum_finish

cdef enum:
    STATED_LEAST = 128          # RFC 4884 section 4.2: bytes quoted, or padded to
    EXTENSION_HEADER_LENGTH = 4
    OBJECT_HEADER_LENGTH = 4
    EXTENSION_VERSION = 2


cdef bint is_valid(const uint8_t* data, uint32_t length) noexcept nogil:
    """Whether the checksum is right, if there is one, and the objects fill the structure exactly.

    As Linux: another version than 2 is not judged.
    """
    cdef uint32_t at = EXTENSION_HEADER_LENGTH
    cdef uint32_t size
    if data[0] >> 4 != EXTENSION_VERSION:
        return True
    # RFC 4884 section 7: 0 says that there is none.
    if load16(data + 2) != 0 and csum_finish(csum_add(0, data, length)) != 0:
        return False
    while at < length:
        if length - at < OBJECT_HEADER_LENGTH:
            return False
        size = load16(data + at)
        if size < OBJECT_HEADER_LENGTH or size > length - at:
            return False
        at += size
    return True


cdef void icmp_extension_find(
    IcmpError* error, const uint8_t* quoted, uint32_t stated
) noexcept nogil:
    """Note the offset of the extensions from the transport header; as Linux, only where stated."""
    cdef uint32_t headers = <uint32_t>(error.transport - quoted)
    cdef uint32_t at
    error.extension_at = 0
    error.extension_invalid = False
    if stated < STATED_LEAST or stated < headers:
        return
    at = stated - headers
    if at + EXTENSION_HEADER_LENGTH > error.rest:
        return
    error.extension_at = at
    error.extension_invalid = not is_valid(error.transport + at, error.rest - at)
