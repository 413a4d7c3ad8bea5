# How many errors one of our hosts sends to one destination: Linux's icmp_ratelimit.
# Called by: icmp.
# RFCs: 4443 section 2.4 (f), 1812 section 4.3.2.8.

from libc.stdint cimport int64_t, uint32_t, uint64_t
from pystack.core.wire.address cimport Addr

cdef enum:
    RATE_LIMIT_ENTRIES = 256    # of pairs of addresses; a newer pair takes an older one's place

# Tokens of one pair of addresses, in time: what it has saved up for errors to come.
ctypedef struct RateLimitEntry:
    uint64_t pair               # hash of the two addresses; 0: free
    int64_t filled
    int64_t saved               # ns

ctypedef struct RateLimit:
    uint64_t secret[2]
    RateLimitEntry entries[RATE_LIMIT_ENTRIES]

cdef void rate_limit_init(RateLimit* limit, const uint64_t* secret) noexcept nogil
# Whether one more error may go from an address of ours to a destination now.
cdef bint rate_limit_take(
    RateLimit* limit, const Addr* source, const Addr* destination, int64_t now
) noexcept nogil
