# Loss recovery: when to believe that something is lost, and when it is over.
# Called by: ack (after each ACK), timers (RTO), output for what to retransmit.
# RFCs: 6675, 6582, 5681 section 3.2, 3042, 6298 section 5, 2018.

from libc.stdint cimport uint32_t
from pystack.core.context cimport count
from pystack.core.counters cimport Counter
from pystack.core.tcp.congestion.algorithm cimport (
    CONGESTION_LOSS, CONGESTION_TIMEOUT, CONGESTION_TIMEOUT_AGAIN,
)
from pystack.core.tcp.congestion.interface cimport (
    congestion_acked, congestion_recovered, congestion_reduce,
)
from pystack.core.tcp.layer cimport (
    RECOVERY_FAST, RECOVERY_LOSS, RECOVERY_OPEN, Sent, Tcb, TcpLayer,
)
from pystack.core.tcp.scoreboard cimport (
    sent_head_is_sacked, sent_last, sent_mark_all_lost, sent_mark_first_lost, sent_mark_lost,
    sent_next_doubtful, sent_next_lost, sent_pipe,
)
from pystack.core.tcp.tcb cimport tcb_flight
from pystack.core.wire.tcp cimport seq_ge, seq_gt

cdef enum:
    DUP_THRESH = 3


cdef void credit_duplicates(Tcb* tcb, uint32_t acked, bint duplicate) noexcept nogil:
    """Without SACK each duplicate ACK says that some segment has left the network (RFC 3042, RFC
    6582 section 3.2 step 4); the ACK of a hole takes over those that had left behind it (step 3).

    The first outstanding segment is the one that is missing, and what is lost is not in the network
    anyway.
    """
    cdef uint32_t flight = tcb_flight(tcb)
    cdef uint32_t room = flight - min(flight, max(tcb.lost_bytes, tcb.smss))
    cdef uint32_t credit = tcb.sacked_bytes + (tcb.smss if duplicate else 0)
    if tcb.recovery == RECOVERY_OPEN and acked:
        credit = 0
    credit -= min(credit, acked - min(acked, tcb.smss))
    tcb.sacked_bytes = min(credit, room)


cdef void enter_fast_recovery(TcpLayer* tcp, Tcb* tcb) noexcept nogil:
    tcb.recovery = RECOVERY_FAST
    tcb.recover = tcb.snd_nxt
    tcb.rescued = False
    # RFC 6675 section 5 step 4.1, RFC 5681 section 3.2: the first segment is lost whatever the
    # scoreboard says.
    sent_mark_first_lost(tcb, tcb.smss)
    congestion_reduce(tcp, tcb, CONGESTION_LOSS)
    tcb.fast_retransmit = True
    count(tcp.context, Counter.TCP_RECOVERIES)


cdef void open_acked(TcpLayer* tcp, Tcb* tcb, uint32_t acked, bint lost) noexcept nogil:
    if acked:
        congestion_acked(tcp, tcb, acked)
        # What was lost before is behind us; 2^31 bytes later it would seem to lie ahead.
        if seq_gt(tcb.snd_una, tcb.recover):
            tcb.recover_valid = False
    if not lost and tcb.duplicate_acks < DUP_THRESH:
        if tcb.duplicate_acks:
            count(tcp.context, Counter.TCP_LIMITED_TRANSMITS)
        return
    # RFC 6582 section 4.1 / RFC 6675 section 5 step 1: not again for what was lost in the episode
    # before.
    if tcb.recover_valid and not seq_gt(tcb.snd_una, tcb.recover) and not tcb.sack_ok:
        return
    if tcb_flight(tcb):
        enter_fast_recovery(tcp, tcb)


cdef void fast_acked(Tcb* tcb, uint32_t acked) noexcept nogil:
    if acked and not tcb.sack_ok and sent_mark_first_lost(tcb, tcb.smss):
        # RFC 6582 section 3.2 step 3: a partial ACK means that the next segment is lost too.
        # It goes out whatever cwnd says.
        tcb.fast_retransmit = True


cdef void finish(TcpLayer* tcp, Tcb* tcb) noexcept nogil:
    if tcb.recovery == RECOVERY_FAST:
        congestion_recovered(tcp, tcb)
    tcb.recovery = RECOVERY_OPEN
    tcb.fast_retransmit = False
    tcb.duplicate_acks = 0
    tcb.recover_valid = True


cdef void recovery_acked(
        TcpLayer* tcp, Tcb* tcb, uint32_t acked, uint32_t sacked, bint duplicate) noexcept nogil:
    """The scoreboard has been brought up to date by an ACK: what does that mean?

    acked, sacked: bytes newly acknowledged in order and selectively. duplicate: in the sense of
    RFC 5681 section 2, or of RFC 6675.
    """
    cdef bint lost = False
    if acked:
        tcb.duplicate_acks = 0
    if duplicate and tcb.duplicate_acks < 255:
        tcb.duplicate_acks += 1
        count(tcp.context, Counter.TCP_DUPLICATE_ACKS_IN)
    if tcb.sack_ok:
        lost = sacked and sent_mark_lost(tcb)
    if tcb.recovery != RECOVERY_OPEN and seq_ge(tcb.snd_una, tcb.recover):
        finish(tcp, tcb)
    if tcb.recovery == RECOVERY_OPEN:
        open_acked(tcp, tcb, acked, lost)
    elif tcb.recovery == RECOVERY_FAST:
        fast_acked(tcb, acked)
    elif acked:
        congestion_acked(tcp, tcb, acked)
    if not tcb.sack_ok:
        credit_duplicates(tcb, acked, duplicate)


cdef void recovery_timeout(TcpLayer* tcp, Tcb* tcb) noexcept nogil:
    """The retransmission timer has fired with data outstanding (RFC 6298 section 5, RFC 5681
    section 3.1).
    """
    # RFC 5681 section 3.1: ssthresh is held constant while the same segment is repeated.
    cdef bint first = tcb.recovery != RECOVERY_LOSS or tcb.retransmits <= 1
    cdef bint reneged = sent_head_is_sacked(tcb)
    if reneged:
        count(tcp.context, Counter.TCP_SACK_RENEGED)
    congestion_reduce(tcp, tcb, CONGESTION_TIMEOUT if first else CONGESTION_TIMEOUT_AGAIN)
    if not tcb.sack_ok:
        tcb.sacked_bytes = 0
    sent_mark_all_lost(tcb, reneged)
    tcb.recovery = RECOVERY_LOSS
    tcb.recover = tcb.snd_nxt
    tcb.recover_valid = True
    tcb.fast_retransmit = False
    tcb.duplicate_acks = 0


cdef Sent* recovery_next(
        Tcb* tcb, uint32_t train, uint32_t mss, bint new_data_possible) noexcept nogil:
    """RFC 6675 NextSeg(), rule 2 (new data) being the caller's. NULL: nothing to retransmit now.

    mss: what a segment carries beside the options of this moment, at most SMSS; train: most of one
    train, whole segments of that size.
    The first retransmission of fast recovery goes out whatever the pipe (RFC 6675 section 5
    step 4.3).
    """
    cdef Sent* sent
    cdef uint32_t pipe
    cdef uint32_t size = mss
    if tcb.lost_bytes == tcb.retransmitted_bytes and tcb.recovery != RECOVERY_FAST:
        return NULL
    pipe = sent_pipe(tcb)
    if not tcb.fast_retransmit:
        if pipe + tcb.smss > tcb.congestion.cwnd:
            return NULL
        size = min(train, tcb.congestion.cwnd - pipe)
        size -= size % mss
    sent = sent_next_lost(tcb, size)
    if sent != NULL or new_data_possible or tcb.recovery != RECOVERY_FAST or not tcb.sack_ok:
        return sent
    sent = sent_next_doubtful(tcb, size)
    if sent != NULL or tcb.rescued:
        return sent
    tcb.rescued = True
    return sent_last(tcb, mss)
