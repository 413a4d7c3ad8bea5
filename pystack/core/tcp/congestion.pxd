# Congestion control: how much may be in the network. NewReno; others will stand beside it behind
# these functions.
# Called by: ack, recovery, timers, output.
# RFCs: 5681, 6582, 6928, 3465.

from libc.stdint cimport uint32_t
from pystack.core.tcp.layer cimport Congestion

cdef void congestion_start(
        Congestion* congestion, uint32_t smss, uint32_t initial_segments) noexcept nogil
# `acked` bytes arrived outside of fast recovery.
cdef void congestion_acked(Congestion* congestion, uint32_t acked, uint32_t smss) noexcept nogil
# A loss was noticed with `flight` bytes outstanding: once per episode.
cdef void congestion_lost(Congestion* congestion, uint32_t flight, uint32_t smss) noexcept nogil
# The retransmission timer fired; `first` of this episode.
cdef void congestion_timeout(
        Congestion* congestion, uint32_t flight, uint32_t smss, bint first) noexcept nogil
# Recovery is over.
cdef void congestion_recovered(
        Congestion* congestion, uint32_t flight, uint32_t smss) noexcept nogil
# Nothing was sent for an RTO.
cdef void congestion_idle(
        Congestion* congestion, uint32_t smss, uint32_t initial_segments) noexcept nogil
