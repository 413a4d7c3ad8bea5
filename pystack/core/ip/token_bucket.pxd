# Token bucket: so many events a second, with bursts.
# Called by: icmp.
# RFCs: 4443 section 2.4 (f), 1812 section 4.3.2.8.

from libc.stdint cimport int64_t, uint32_t

cdef enum:
    NANOSECONDS = 1000000000

ctypedef struct TokenBucket:
    int64_t filled              # when `tokens` was true
    uint32_t tokens
    uint32_t burst              # most tokens there can be
    uint32_t rate               # tokens a second


cdef inline void bucket_init(
    TokenBucket* bucket, int64_t now, uint32_t rate, uint32_t burst
) noexcept nogil:
    bucket.filled = now
    bucket.tokens = burst
    bucket.burst = burst
    bucket.rate = rate


cdef inline bint bucket_take(TokenBucket* bucket, int64_t now, uint32_t tokens) noexcept nogil:
    """Take tokens, or what there is; False, if there is none."""
    cdef int64_t period = NANOSECONDS // bucket.rate
    cdef int64_t fresh = (now - bucket.filled) // period
    if fresh >= bucket.burst - bucket.tokens:
        bucket.tokens = bucket.burst
        bucket.filled = now
    elif fresh > 0:
        bucket.tokens += <uint32_t>fresh
        bucket.filled += fresh * period
    if bucket.tokens == 0:
        return False
    bucket.tokens -= tokens if tokens < bucket.tokens else bucket.tokens
    return True
