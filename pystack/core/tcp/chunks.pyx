# Into which buffers Linux would put what is written: where a segment of its own ends with PSH, and
# what a train waits for, follows from that.
# Called by: transfer (writes), output.
# RFCs: 9293 section 3.9.1.2 (PSH).
#
# A buffer holds as much as a train may, but at most half of the peer's window. While a long write
# goes on, full buffers are sent already, so that the last one begins anew where that ends.

from libc.stdint cimport uint32_t
from pystack.core.tcp.layer cimport MOST_CHUNKS, Chunks, Tcb, TcpLayer
from pystack.core.tcp.pacing cimport pacing_train
from pystack.core.tcp.scoreboard cimport sent_pipe
from pystack.core.tcp.send_buffer cimport train_goal
from pystack.core.tcp.tcb cimport tcb_unsent
from pystack.core.wire.tcp cimport seq_gt, seq_le, seq_lt, seq_max


cdef uint32_t may_be_sent(const Tcb* tcb) noexcept nogil:
    """By cwnd and the peer's window, in whole segments."""
    cdef uint32_t pipe = sent_pipe(tcb)
    cdef uint32_t room = tcb.congestion.cwnd - min(pipe, tcb.congestion.cwnd)
    cdef uint32_t edge = tcb.snd_una + tcb.snd_wnd
    cdef uint32_t window = edge - tcb.snd_nxt if seq_gt(edge, tcb.snd_nxt) else 0
    room = min(room, window)
    return room - room % tcb.smss


cdef bint add_chunk(Chunks* chunks, uint32_t at) noexcept nogil:
    if chunks.count == MOST_CHUNKS:
        return False
    chunks.ends[chunks.count] = at
    chunks.pushed[chunks.count] = False
    chunks.count += 1
    return True


cdef inline uint32_t last_begins(const Chunks* chunks, uint32_t sent) noexcept nogil:
    return sent if chunks.count < 2 else seq_max(chunks.ends[chunks.count - 2], sent)


cdef inline bint last_is_full(const Chunks* chunks, uint32_t sent, uint32_t goal) noexcept nogil:
    """Or there is none, or it is sent."""
    cdef uint32_t last = chunks.count - 1
    return (chunks.count == 0 or seq_le(chunks.ends[last], sent)
            or chunks.ends[last] - last_begins(chunks, sent) >= goal)


cdef inline void push_last(Chunks* chunks) noexcept nogil:
    chunks.pushed[chunks.count - 1] = True
    chunks.pushed_at = chunks.ends[chunks.count - 1]


cdef void begin(Chunks* chunks, uint32_t sent, uint32_t written) noexcept nogil:
    chunks.used = True
    chunks.pushed_at = written
    if written != sent:
        add_chunk(chunks, written)


cdef uint32_t fill(
        TcpLayer* tcp, Tcb* tcb, Chunks* chunks, uint32_t size, bint more) noexcept nogil:
    """Buffer by buffer, as Linux's tcp_sendmsg(): one that is full is sent, as far as `quota`
    allows, when it ends with PSH or nothing waits before it.
    """
    cdef uint32_t goal = train_goal(tcb)
    cdef uint32_t half = tcb.max_snd_wnd // 2
    cdef uint32_t sent = tcb.snd_nxt
    cdef uint32_t written = sent + tcb_unsent(tcb)
    cdef uint32_t quota = may_be_sent(tcb)
    cdef uint32_t left = size
    cdef uint32_t begins, step, last
    if not chunks.used:
        begin(chunks, sent, written)
    while left:
        if last_is_full(chunks, sent, goal):
            if written - sent >= tcb.settings.notsent_lowat:
                break
            if not add_chunk(chunks, written):
                # More than is remembered: as if the last one were longer.
                written += left
                left = 0
                chunks.ends[chunks.count - 1] = written
                break
        last = chunks.count - 1
        begins = last_begins(chunks, sent)
        step = min(goal - (chunks.ends[last] - begins), left)
        if left == size:
            chunks.pushed[last] = False
        written += step
        left -= step
        chunks.ends[last] = written
        if left == 0 or written - begins < goal:
            continue
        step = 0
        if written - chunks.pushed_at > half:
            push_last(chunks)
            step = min(quota, written - sent)
        elif begins == sent:
            step = min(pacing_train(tcp, tcb, tcb.smss, goal), min(quota, written - sent))
        sent += step
        quota -= step
    if left != size and (not more or written - chunks.pushed_at > half):
        push_last(chunks)
    chunks.sent_at_once = sent
    return size - left


cdef inline bint is_alone(const Tcb* tcb, uint32_t size, bint more) noexcept nogil:
    """Less than a segment, behind nothing."""
    return (size < tcb.smss and tcb.busy.send_ring.length == 0 and tcb.snd_nxt == tcb.snd_una
            and not more and tcb.settings.notsent_lowat != 0)


cdef inline void chunk_alone(Chunks* chunks, uint32_t sent, uint32_t size) noexcept nogil:
    chunks.count = 1
    chunks.ends[0] = chunks.pushed_at = sent + size
    chunks.pushed[0] = True
    chunks.used = True
    chunks.sent_at_once = sent


cdef uint32_t chunks_write(TcpLayer* tcp, Tcb* tcb, uint32_t size, bint more) noexcept nogil:
    if tcb.smss == 0:
        return size
    if is_alone(tcb, size, more):
        # The usual request or answer: what fill() would find, without its questions.
        chunk_alone(&tcb.busy.chunks, tcb.snd_nxt, size)
        return size
    return fill(tcp, tcb, &tcb.busy.chunks, size, more)


cdef void remove_first(Chunks* chunks, uint32_t count) noexcept nogil:
    cdef uint32_t i
    for i in range(count, chunks.count):
        chunks.ends[i - count] = chunks.ends[i]
        chunks.pushed[i - count] = chunks.pushed[i]
    chunks.count -= count


cdef void chunks_grow(Tcb* tcb, uint32_t size) noexcept nogil:
    cdef Chunks* chunks = &tcb.busy.chunks
    cdef uint32_t end = tcb.snd_nxt + size
    cdef bint pushed
    if seq_lt(tcb.snd_nxt, chunks.sent_at_once):
        return                  # there was nothing more yet
    while chunks.count > 1 and seq_gt(end, chunks.ends[0]):
        if seq_gt(chunks.ends[1], end):
            chunks.ends[0] = end
            return
        pushed = chunks.pushed[0]
        remove_first(chunks, 1)
        chunks.pushed[0] = chunks.pushed[0] or pushed


cdef void chunks_sent(Tcb* tcb) noexcept nogil:
    cdef Chunks* chunks = &tcb.busy.chunks
    cdef uint32_t gone = 0
    while gone < chunks.count and seq_le(chunks.ends[gone], tcb.snd_nxt):
        gone += 1
    if gone:
        remove_first(chunks, gone)


cdef int chunks_pushed(const Tcb* tcb, uint32_t end) noexcept nogil:
    cdef uint32_t i
    if not tcb.busy.chunks.used:
        return -1
    for i in range(tcb.busy.chunks.count):
        if tcb.busy.chunks.ends[i] == end:
            return tcb.busy.chunks.pushed[i]
    return 0


cdef bint chunks_first(const Tcb* tcb, uint32_t* end, bint* last) noexcept nogil:
    if tcb.busy.chunks.count == 0:
        return False
    end[0] = tcb.busy.chunks.ends[0]
    last[0] = tcb.busy.chunks.count == 1
    return True
