# What BBR remembers of a connection; allocated for those that use it.
# Called by: layer (the Tcb points to it), bbr, bbr_model.
# RFCs: none; draft-cardwell-iccrg-bbr-congestion-control-00.

from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from pystack.core.tcp.congestion.maximum cimport WindowedMax

cdef enum BbrMode:
    BBR_STARTUP = 0             # doubles the rate until that brings nothing more
    BBR_DRAIN = 1               # lets the queue go that this has built
    BBR_PROBE_BW = 2            # cruises, and tries a little more once in eight round trips
    BBR_PROBE_RTT = 3           # almost stops, so that the queue is empty and the path is seen

cdef enum:
    BBR_UNIT = 256              # gains are in 1/256, as TCP_CC_INFO tells them

# Bandwidths are bytes per second, windows and counts segments.
ctypedef struct BbrState:
    # the model of the path; written by bbr_model.pyx
    WindowedMax bandwidth       # BBR.BtlBwFilter: of the last ten rounds
    uint32_t rounds             # BBR.round_count
    uint32_t round_end          # BBR.next_round_delivered
    uint8_t round_start
    int64_t min_rtt             # BBR.RTprop, ns; 0: not known
    int64_t min_rtt_at
    # acknowledgments beyond what the bandwidth explains, in this stretch and at most in two windows
    int64_t stretch_at
    uint32_t stretch_acked
    uint32_t extra_acked[2]
    uint8_t extra_window        # which of the two is being filled
    uint8_t extra_rounds        # of it
    # a policer, if the loss looks like one: the rate that it lets through
    uint64_t policed            # of the last interval; 0: none yet
    int64_t policed_from        # the interval: begin, and the counts then
    uint32_t policed_delivered
    uint32_t policed_lost
    uint32_t policed_rounds
    uint8_t policed_sampling
    uint8_t policed_in_use      # two intervals agreed

    # the state machine; written by bbr.pyx
    uint8_t mode                # BbrMode
    uint8_t cycle               # of PROBE_BW: position in the gain cycle
    uint8_t full_rounds         # without much growth; BBR.full_bw_count
    uint8_t ca_state            # at the last ACK
    uint8_t conserving          # packet conservation: the first round of a recovery
    uint8_t idle_restart
    uint8_t probe_rtt_round_done
    uint8_t seen_rtt            # pacing_rate has been derived from a round trip
    uint16_t pacing_gain
    uint16_t cwnd_gain
    uint32_t prior_cwnd         # before recovery or PROBE_RTT
    uint64_t full_bandwidth     # BBR.full_bw: what has to be exceeded by a quarter
    uint64_t pacing_rate
    int64_t cycle_at            # this phase began
    int64_t probe_rtt_done_at   # 0: the window has not been reached yet
