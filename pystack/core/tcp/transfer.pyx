# Transfer: the user calls SEND and RECEIVE (RFC 9293 section 3.9.1), in the manner of sockets.
# Called by: stack's callers (engine), with the lock held and context.now set; native services.
# RFCs: 9293 sections 3.10.2 and 3.10.3.

from libc.errno cimport EAGAIN, ENOMEM, ENOTCONN, EPIPE
from libc.stddef cimport size_t
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from pystack.core.memory.loan cimport LOAN_LEAST, Lender, loan_add
from pystack.core.memory.ring cimport Ring, ring_extend, ring_lend, ring_put, ring_reserve
from pystack.core.tcp.acknowledge cimport acknowledge_read
from pystack.core.tcp.busy cimport tcb_is_awake, tcb_wake
from pystack.core.tcp.chrono cimport CHRONO_BUSY, chrono_start
from pystack.core.tcp.chunks cimport chunks_write
from pystack.core.tcp.fast_open cimport is_early
from pystack.core.tcp.layer cimport (
    STATE_CLOSED, STATE_CLOSE_WAIT, STATE_ESTABLISHED, STATE_FIN_WAIT_1, STATE_FIN_WAIT_2,
    STATE_LISTEN, STATE_SYN_RECEIVED, STATE_SYN_SENT, Tcb, TcpLayer,
)
from pystack.core.tcp.rate cimport rate_check_app_limited
from pystack.core.tcp.receive_queue cimport received_consume, received_get
from pystack.core.tcp.send_buffer cimport send_buffer_room
from pystack.core.tcp.tcb cimport tcb_idle, tcb_output_later
from pystack.core.tcp.urgent cimport urgent_at_mark, urgent_limit, urgent_read
from pystack.core.tcp.window cimport window_read


cdef int take_error(Tcb* tcb) noexcept nogil:
    """The pending error as a negative errno, once; 0 if there is none."""
    cdef int error = tcb.endpoint.error
    tcb.endpoint.error = 0
    return -error


cdef int64_t room_to_send(Tcb* tcb, size_t length) noexcept nogil:
    """How much of `length` bytes SEND may take now; 0: none; or a negative errno."""
    if tcb.endpoint.error:
        return take_error(tcb)
    if tcb.state in (STATE_SYN_SENT, STATE_SYN_RECEIVED) and not is_early(tcb):
        tcb.write_blocked = True
        return -EAGAIN
    if tcb.fin_queued or tcb.state not in (
            STATE_ESTABLISHED, STATE_CLOSE_WAIT, STATE_SYN_RECEIVED):
        return -EPIPE if tcb.iss or tcb.snd_nxt else -ENOTCONN
    return <int64_t>min(<size_t>send_buffer_room(tcb), length)


cdef void queued_to_send(TcpLayer* tcp, Tcb* tcb, uint32_t size) noexcept nogil:
    """`size` bytes more are to be sent."""
    ring_extend(&tcb.busy.send_ring, size)
    chrono_start(tcp, tcb, CHRONO_BUSY)
    tcb_output_later(tcp, tcb)


cdef int append(
        TcpLayer* tcp, Tcb* tcb, const uint8_t* data, uint32_t size, Lender* lender) noexcept nogil:
    """Lend or copy; 0, or -1 when out of memory. Before there is a connection, the first byte of
    the ring has no sequence number yet.
    """
    cdef Ring* ring = &tcb.busy.send_ring
    if lender != NULL and size >= LOAN_LEAST and (
            tcb.state in (STATE_ESTABLISHED, STATE_CLOSE_WAIT)
            and loan_add(&tcb.busy.loans, lender, data, tcb.snd_una + ring.length, size) == 0):
        return 0
    if ring_reserve(ring, &tcp.context.rings, ring.length + size) < 0:
        return -1
    ring_put(ring, ring.length, data, size)
    return 0


cdef int64_t tcp_send(
        TcpLayer* tcp, Tcb* tcb, const uint8_t* data, size_t length, bint more,
        bint urgent, Lender* lender) noexcept nogil:
    """SEND: take what there is room for; 1..length or a negative errno."""
    cdef int64_t taken
    cdef uint32_t room
    taken = room_to_send(tcb, length)
    if taken < 0 or length == 0:
        return taken
    if not tcb_wake(tcp, tcb):
        return -ENOMEM
    room = <uint32_t>taken
    if room:
        room = chunks_write(tcp, tcb, room, more)
    if room == 0 or append(tcp, tcb, data, room, lender) < 0:
        # Without memory the ACK of what is queued brings the next chance; with nothing queued there
        # is none.
        tcb.write_blocked = True
        return -EAGAIN if tcb.busy.send_ring.length else -ENOMEM
    rate_check_app_limited(tcb)
    tcb.write_blocked = room < length
    tcb.busy.more = more
    queued_to_send(tcp, tcb, room)
    if urgent and room == length:
        tcb.busy.urgent_out = True
        tcb.busy.snd_up = tcb.snd_una + tcb.busy.send_ring.length
    return room


cdef void tcp_send_pattern(
        TcpLayer* tcp, Tcb* tcb, uint8_t* pattern, uint32_t capacity,
        uint32_t period) noexcept nogil:
    """Fill the send buffer with bytes that repeat, which are not copied: see ring_lend.

    All that the connection, which was opened passively, ever sends is the pattern.
    """
    cdef int64_t room = room_to_send(tcb, tcb.send_buffer)
    if room > 0:
        room = chunks_write(tcp, tcb, <uint32_t>room, False) if tcb_wake(tcp, tcb) else 0
    if room <= 0:
        tcb.write_blocked = True
        return
    if tcb.busy.send_ring.period == 0:
        # After a passive open bytes_acked does not count the SYN.
        ring_lend(&tcb.busy.send_ring, &tcp.context.rings, pattern, capacity, period,
                  <uint32_t>(tcb.totals.bytes_acked % period))
    tcb.write_blocked = True
    queued_to_send(tcp, tcb, <uint32_t>room)


cdef int64_t tcp_receive(
        TcpLayer* tcp, Tcb* tcb, uint8_t* target, size_t length, bint peek) noexcept nogil:
    """RECEIVE: copy out of the receive queue; 1..length, 0 at the end of the stream, or a negative
    errno. target NULL: nobody wants the bytes.
    """
    cdef uint32_t taken = <uint32_t>min(<size_t>tcb.busy.received.length, length)
    if taken == 0 and tcb.busy.received.length == 0:
        if tcb.fin_received:
            return 0            # as Linux, also if a reset came later: that is for who writes
        if tcb.endpoint.error:
            return take_error(tcb)
        if tcb.shut_read:
            return 0
        if tcb.state in (STATE_LISTEN, STATE_SYN_SENT, STATE_SYN_RECEIVED):
            return -EAGAIN if tcb.state != STATE_LISTEN else -ENOTCONN
        if tcb.state == STATE_CLOSED:
            return 0 if tcb.snd_nxt else -ENOTCONN
        return -EAGAIN
    taken = urgent_limit(tcb, 0, taken)
    if target != NULL:
        received_get(&tcb.busy.received, 0, target, taken)
    if not peek:
        tcp_consume(tcp, tcb, taken)
    return taken


cdef int64_t tcp_peek(
        TcpLayer* tcp, Tcb* tcb, uint8_t* target, size_t length, uint32_t offset) noexcept nogil:
    """RECEIVE that takes nothing and begins so many bytes on (SO_PEEK_OFF); as tcp_receive."""
    cdef uint32_t there = tcb.busy.received.length
    cdef uint32_t taken
    if there == 0:
        return tcp_receive(tcp, tcb, target, length, True)
    if there <= offset:
        return 0 if tcb.fin_received or tcb.shut_read else -EAGAIN
    taken = urgent_limit(tcb, offset, <uint32_t>min(<size_t>(there - offset), length))
    if target != NULL:
        received_get(&tcb.busy.received, offset, target, taken)
    return taken


cdef void tcp_consume(TcpLayer* tcp, Tcb* tcb, uint32_t size) noexcept nogil:
    """Free `size` bytes of the receive queue, which may open the window."""
    if size == 0:
        return
    tcb_wake(tcp, tcb)          # there was something to read: it is awake, and may rest now
    received_consume(tcp, &tcb.busy.received, size)
    urgent_read(tcb)
    if tcb.busy.received.length == 0:
        tcb_idle(tcp, tcb)
    if tcb.state in (STATE_ESTABLISHED, STATE_FIN_WAIT_1, STATE_FIN_WAIT_2):
        window_read(tcp, tcb)
        acknowledge_read(tcp, tcb)


cdef bint tcp_drop_begin(TcpLayer* tcp, Tcb* tcb, uint64_t length) noexcept nogil:
    if not tcb_wake(tcp, tcb) or tcb.busy.unwanted or tcb.busy.dropped:
        return False
    tcb.busy.unwanted = length
    return True


cdef void tcp_drop(TcpLayer* tcp, Tcb* tcb) noexcept nogil:
    cdef uint32_t size = <uint32_t>min(<uint64_t>tcb.busy.received.length, tcb.busy.unwanted)
    size = 0 if urgent_at_mark(tcb) else urgent_limit(tcb, 0, size)
    tcb.busy.unwanted -= size
    tcb.busy.dropped += size
    tcp_consume(tcp, tcb, size)


cdef uint64_t tcp_drop_end(TcpLayer* tcp, Tcb* tcb) noexcept nogil:
    cdef uint64_t dropped
    if not tcb_is_awake(tcb):
        return 0
    tcp_drop(tcp, tcb)          # nobody may read it who comes later: it may never have been kept
    dropped = tcb.busy.dropped
    tcb.busy.unwanted = tcb.busy.dropped = 0
    return dropped
