# How many errors one of our hosts sends to one destination: Linux's icmp_ratelimit.
# Called by: icmp.
# RFCs: 4443 section 2.4 (f), 1812 section 4.3.2.8.

from libc.stdint cimport int64_t, uint64_t
from libc.string cimport memset
from pystack.core.memory.siphash cimport Sip, sip_add, sip_finish, sip_start
from pystack.core.wire.address cimport Addr, addr_is_v4

cdef enum:
    BURST = 6                   # Linux's XRLIM_BURST_FACTOR

cdef int64_t INTERVAL4_NS = <int64_t>1000 * 1000000     # Linux's icmp_ratelimit
cdef int64_t INTERVAL6_NS = <int64_t>250 * 1000000      # of a destination in a network of /64


cdef void rate_limit_init(RateLimit* limit, const uint64_t* secret) noexcept nogil:
    """No pair has sent anything yet."""
    memset(limit, 0, sizeof(RateLimit))
    limit.secret[0] = secret[0]
    limit.secret[1] = secret[1]


cdef bint rate_limit_take(
    RateLimit* limit, const Addr* source, const Addr* destination, int64_t now
) noexcept nogil:
    """Linux's inet_peer_xrlim_allow, for each of our hosts as if it were a machine of its own.

    A pair that is forgotten for another begins with a full burst; the limit for the stack as a
    whole holds all the same.
    """
    cdef int64_t interval = INTERVAL4_NS if addr_is_v4(destination) else INTERVAL6_NS
    cdef uint64_t pair
    cdef RateLimitEntry* entry
    cdef Sip sip
    sip_start(&sip, limit.secret)
    sip_add(&sip, source.hi)
    sip_add(&sip, source.lo)
    sip_add(&sip, destination.hi)
    pair = sip_finish(&sip, destination.lo) | 1
    entry = &limit.entries[pair >> 56]
    if entry.pair != pair:
        entry.pair = pair
        entry.saved = BURST * interval
    else:
        entry.saved = min(entry.saved + now - entry.filled, BURST * interval)
    entry.filled = now
    if entry.saved < interval:
        return False
    entry.saved -= interval
    return True
