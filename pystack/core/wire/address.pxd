# One 16-byte address for both families: IPv4 is held as ::ffff:a.b.c.d.
# Called by: everything; only the load and store functions know the wire's order.
# RFCs: 4291 (IPv6 addressing; 2.5.5.2 mapped addresses), 1112 (IPv4 multicast).

from libc.stdint cimport uint8_t, uint32_t, uint64_t
from pystack.core.wire.bytes cimport load32, load64, store32, store64


ctypedef struct Addr:
    uint64_t hi
    uint64_t lo


cdef inline Addr addr_from_v4(uint32_t address) noexcept nogil:
    cdef Addr a
    a.hi = 0
    a.lo = <uint64_t>0xFFFF00000000 | address
    return a


cdef inline Addr addr_any(bint v6) noexcept nogil:
    """The unspecified address of a family: ::ffff:0.0.0.0 or ::."""
    cdef Addr a
    a.hi = 0
    a.lo = 0 if v6 else <uint64_t>0xFFFF00000000
    return a


cdef inline bint addr_eq(const Addr* a, const Addr* b) noexcept nogil:
    return a.lo == b.lo and a.hi == b.hi


cdef inline bint addr_is_v4(const Addr* a) noexcept nogil:
    return a.hi == 0 and (a.lo >> 32) == 0xFFFF


cdef inline uint32_t addr_v4(const Addr* a) noexcept nogil:
    return <uint32_t>a.lo


cdef inline bint addr_is_any(const Addr* a) noexcept nogil:
    """True of 0.0.0.0 and of ::."""
    return a.hi == 0 and (a.lo == 0 or a.lo == <uint64_t>0xFFFF00000000)


cdef inline bint addr_is_multicast(const Addr* a) noexcept nogil:
    if addr_is_v4(a):
        return (addr_v4(a) >> 28) == 0xE
    return (a.hi >> 56) == 0xFF


cdef inline bint addr_is_loopback(const Addr* a) noexcept nogil:
    if addr_is_v4(a):
        return (addr_v4(a) >> 24) == 127
    return a.hi == 0 and a.lo == 1


cdef inline bint addr_is_link_local(const Addr* a) noexcept nogil:
    if addr_is_v4(a):
        return (addr_v4(a) >> 16) == 0xA9FE
    return (a.hi >> 54) == 0x3FA


cdef inline Addr addr_masked(const Addr* a, int prefix_length) noexcept nogil:
    """The address with all bits after the first prefix_length (0..128; IPv4 adds 96) cleared."""
    cdef Addr m = a[0]
    if prefix_length <= 0:
        m.hi = 0
        m.lo = 0
    elif prefix_length < 64:
        m.hi &= ~(<uint64_t>0) << (64 - prefix_length)
        m.lo = 0
    elif prefix_length == 64:
        m.lo = 0
    elif prefix_length < 128:
        m.lo &= ~(<uint64_t>0) << (128 - prefix_length)
    return m


cdef inline bint addr_in_prefix(
        const Addr* a, const Addr* prefix, int prefix_length) noexcept nogil:
    cdef Addr m = addr_masked(a, prefix_length)
    return addr_eq(&m, prefix)


cdef inline Addr addr_load4(const uint8_t* p) noexcept nogil:
    return addr_from_v4(load32(p))


cdef inline Addr addr_load16(const uint8_t* p) noexcept nogil:
    cdef Addr a
    a.hi = load64(p)
    a.lo = load64(p + 8)
    return a


cdef inline void addr_store4(uint8_t* p, const Addr* a) noexcept nogil:
    store32(p, <uint32_t>a.lo)


cdef inline void addr_store16(uint8_t* p, const Addr* a) noexcept nogil:
    store64(p, a.hi)
    store64(p + 8, a.lo)
