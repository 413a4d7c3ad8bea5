# What is remembered of destinations: the structs; what is done with them is in metrics.
# Called by: layer, which embeds it.
# RFCs: 9040, 7413 section 4.1.3.

from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t
from pystack.core.memory.flow cimport FlowKey, FlowTable

cdef enum:
    METRICS_MAX = 1024
    COOKIE_MAX = 16             # RFC 7413 section 4.1.1

# Of one pair of addresses. 0: not known. Written by metrics and fast_open only.
ctypedef struct Metrics:
    FlowKey key
    Metrics* older
    Metrics* newer
    int64_t saved_at
    int64_t rtt                 # ns
    uint32_t rttvar             # microseconds, four times the mean deviation
    uint32_t ssthresh           # segments
    uint32_t cwnd
    uint16_t reordering
    uint16_t mss                # of the peer's SYN-ACK
    uint8_t cookie[COOKIE_MAX]
    uint8_t cookie_length
    uint8_t cookie_experimental
    # 1: the RFC's option got no answer, the experimental is next; 2: nor did that
    uint8_t try_experimental

# The least recently used first.
ctypedef struct MetricsCache:
    FlowTable entries
    Metrics* oldest
    Metrics* newest
