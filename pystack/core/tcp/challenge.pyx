# Challenge ACKs, limited per connection and per stack.
# Called by: input, ack.
# RFCs: 5961 sections 3.2, 4.2, 5.2 and 7.

from libc.stdint cimport int64_t
from pystack.core.context cimport count
from pystack.core.counters cimport Counter
from pystack.core.memory.random cimport random_below
from pystack.core.tcp.layer cimport Tcb, TcpLayer
from pystack.core.tcp.segments cimport send_ack

cdef enum:
    SECOND = 1_000_000_000


cdef bint budget_left(TcpLayer* tcp) noexcept nogil:
    """One more in this second? The limit is randomised, so that it tells an outsider nothing
    (CVE-2016-5696).
    """
    cdef int64_t second = tcp.context.now // SECOND
    if second != tcp.challenge_second:
        tcp.challenge_second = second
        tcp.challenge_left = tcp.config.challenge_limit // 2
        tcp.challenge_left += random_below(&tcp.context.random, tcp.config.challenge_limit)
    if tcp.challenge_left == 0:
        return False
    tcp.challenge_left -= 1
    return True


cdef void challenge_ack(TcpLayer* tcp, Tcb* tcb) noexcept nogil:
    """Answer a segment that may be forged with what we really expect; at most one per period and
    connection.
    """
    if (tcp.context.now - tcb.busy.last_challenge_at < tcb.config.challenge_period
            or not budget_left(tcp)):
        count(tcp.context, Counter.TCP_CHALLENGE_ACKS_SUPPRESSED)
        return
    tcb.busy.last_challenge_at = tcp.context.now
    count(tcp.context, Counter.TCP_CHALLENGE_ACKS)
    send_ack(tcp, tcb)
