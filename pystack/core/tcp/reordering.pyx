# The degree of reordering that the path has shown; and the duplicate ACKs that stand for a
# scoreboard where there is no SACK.
# Called by: arrival, recovery, undo, frto.
# RFCs: 4653's problem in Linux's way, 5681 section 3.2, 6582, 8985 section 6.2 step 3.

from libc.stdint cimport uint16_t, uint32_t
from pystack.core.context cimport count
from pystack.core.counters cimport Counter
from pystack.core.tcp.busy cimport tcb_rare
from pystack.core.tcp.layer cimport Tcb, TcpLayer, TcpRare
from pystack.core.tcp.scoreboard cimport sent_highest_sacked
from pystack.core.wire.tcp cimport seq_lt


cdef void reordering_note(TcpLayer* tcp, Tcb* tcb, uint32_t low) noexcept nogil:
    """RFC 8985 section 6.2 step 3; the distance becomes the new DupThresh."""
    cdef uint32_t highest = sent_highest_sacked(tcb)
    cdef uint32_t distance
    if not seq_lt(low, highest):
        return
    distance = highest - low
    if distance > tcb.reordering * tcb.smss:
        tcb.reordering = <uint16_t>min(
            (distance + tcb.smss - 1) // tcb.smss, tcb.config.max_reordering)
    cdef TcpRare* rare = tcb_rare(tcb)
    if rare != NULL:
        rare.reordering_seen += 1
    count(tcp.context, Counter.TCP_REORDERINGS)


cdef bint limit(Tcb* tcb) noexcept nogil:
    """At least one segment is missing, or nothing would be duplicate; True if they said too much.
    """
    cdef uint32_t holes = min(max(tcb.busy.lost_out, <uint32_t>1), tcb.busy.packets_out)
    if tcb.busy.sacked_out + holes <= tcb.busy.packets_out:
        return False
    tcb.busy.sacked_out = tcb.busy.packets_out - holes
    return True


cdef void check(TcpLayer* tcp, Tcb* tcb, uint32_t more) noexcept nogil:
    """More duplicates than there are segments to cause them: they were reordered."""
    if not limit(tcb):
        return
    tcb.reordering = <uint16_t>min(tcb.busy.packets_out + more, tcb.config.max_reordering)
    cdef TcpRare* rare = tcb_rare(tcb)
    if rare != NULL:
        rare.reordering_seen += 1
    count(tcp.context, Counter.TCP_REORDERINGS)


cdef void duplicate_add(TcpLayer* tcp, Tcb* tcb) noexcept nogil:
    """RFC 6582 section 3.2 step 4, RFC 3042."""
    cdef uint32_t before = tcb.busy.sacked_out
    tcb.busy.sacked_out += 1
    check(tcp, tcb, 0)
    if tcb.busy.sacked_out > before:
        tcb.delivered += tcb.busy.sacked_out - before


cdef void duplicates_eat(TcpLayer* tcp, Tcb* tcb, uint32_t acked) noexcept nogil:
    """One of the segments was the hole; the others had been counted already (RFC 6582 section 3.2
    step 3).
    """
    if acked:
        tcb.delivered += max(acked - min(acked, tcb.busy.sacked_out), <uint32_t>1)
        tcb.busy.sacked_out -= min(tcb.busy.sacked_out, acked - 1)
    check(tcp, tcb, acked)


cdef void duplicates_forget(Tcb* tcb) noexcept nogil:
    tcb.busy.sacked_out = 0
