# What one ACK has told: gathered by arrival, read by all of loss recovery.
# Called by: ack, arrival, rack, tlp, prr, undo, frto, reordering, recovery.
# RFCs: 8985 section 5, 5681 section 2, 2883.

from libc.stdint cimport int64_t, uint32_t

cdef enum NewsFlag:
    NEWS_ADVANCED = 0x001       # SND.UNA
    NEWS_DATA = 0x002           # the segment carried text or FIN
    NEWS_WINDOW = 0x004         # the peer's window has changed
    NEWS_ACKED = 0x008          # records were acknowledged in order
    NEWS_SACKED = 0x010         # or selectively
    NEWS_RETRANSMITTED_ACKED = 0x020    # among them such as had been sent again
    NEWS_ORIGINAL_ARRIVED = 0x040       # something sent once, before `recover`, has arrived
    NEWS_DUPLICATE = 0x080      # a D-SACK
    NEWS_DUPLICATE_PROBE = 0x100        # of the tail loss probe
    NEWS_RENEGED = 0x200        # the first segment outstanding had been acknowledged selectively
    NEWS_LOST_AGAIN = 0x400     # a retransmission was found lost
    NEWS_SET_TIMER = 0x800      # RTO or tail loss probe from now
    NEWS_ECE = 0x1000           # congestion experienced (RFC 3168)
    # RFC 5681 section 2: what these are said of is no duplicate ACK.
    NEWS_NOT_DUPLICATE = NEWS_DATA | NEWS_WINDOW | NEWS_ACKED
    NEWS_ALERT = NEWS_SACKED | NEWS_ECE | NEWS_DUPLICATE

ctypedef struct AckNews:
    uint32_t flags              # NewsFlag
    uint32_t prior_una
    uint32_t prior_highest      # highest selective acknowledgment before this ACK
    uint32_t reordered          # lowest segment that arrived later than something above it
    uint32_t echoed             # TS.Ecr, with has_echo
    uint32_t acked_segments     # cumulatively
    uint32_t delivered_before   # tcb.delivered and tcb.rare.lost before this ACK
    uint32_t lost_before
    uint32_t in_flight_before   # segments
    uint32_t sent_delivered     # tcb.delivered when the latest that has arrived was sent
    int64_t latest_sent_at      # when that was; 0: nothing has arrived
    int64_t sent_first_at       # the rest of its record, for the delivery rate
    int64_t sent_delivered_at
    uint32_t sent_flags
    int64_t rtt                 # ns, of the latest; 0: not measured
    bint rtt_delayed            # its ACK may have been held back
    # when the first and the last were sent that arrived and had been sent once; 0: none
    int64_t first_acked_at
    int64_t last_acked_at
    int64_t first_sacked_at
    int64_t last_sacked_at
    bint has_echo
