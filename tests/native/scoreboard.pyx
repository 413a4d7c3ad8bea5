# The scoreboard of a connection that is not on any wire: what is sent, what is said to have
# arrived, time and timeouts are a test's.
# Called by: tests/property/test_tcp_scoreboard.py.
# RFCs: none.

from libc.stdint cimport int64_t, uint32_t
from libc.string cimport memset
from pystack.core.stack cimport (
    Core, CoreConfig, core_default_config, core_enter, core_free, core_new,
)
from pystack.core.tcp.arrival cimport arrival_acked, arrival_sacked
from pystack.core.tcp.busy cimport tcb_wake
from pystack.core.tcp.calls cimport tcp_close, tcp_open
from pystack.core.tcp.layer cimport CA_OPEN, Sent, SentMark, SentQueue, Tcb
from pystack.core.tcp.news cimport AckNews
from pystack.core.tcp.rack cimport rack_detect_loss
from pystack.core.tcp.recovery cimport recovery_timeout
from pystack.core.tcp.scoreboard cimport (
    sent_again, sent_highest_sacked, sent_last, sent_next_lost, sent_push, sent_retransmitted,
    sent_unmark_lost,
)
from pystack.core.tcp.sent_order cimport NO_RECORD, order_after, order_newer, order_older
from pystack.core.wire.tcp cimport TcpOptions

SEGMENT = 100
MIN_RTT = 4_000_000
cdef uint32_t START = 0xFFFFF000    # so that numbers wrap


cdef class Board:
    """Numbers are relative to the first that is sent; times in ns."""

    cdef Core* core
    cdef Tcb* tcb
    cdef public int64_t now

    def __cinit__(self, bint reorders):
        cdef CoreConfig config
        self.now = 1_000_000_000
        core_default_config(&config)
        self.core = core_new(&config, self.now)
        if self.core == NULL:
            raise MemoryError
        self.tcb = tcp_open(&self.core.tcp, False)
        if self.tcb == NULL or not tcb_wake(&self.core.tcp, self.tcb):
            raise MemoryError
        self.tcb.sack_ok = True
        self.tcb.smss = SEGMENT
        self.tcb.max_snd_wnd = 1 << 20
        self.tcb.snd_una = self.tcb.snd_nxt = START
        self.tcb.rtt.min_us = MIN_RTT // 1000
        self.tcb.rtt.srtt = 2 * MIN_RTT
        # D-SACKs are believed, as after a recovery has begun.
        self.tcb.busy.undo = True
        self.tcb.busy.undo_marker = self.tcb.busy.recover = START
        if reorders:
            sent_push(self.tcb, START, START + 1, SEGMENT, 0, self.now)
            sent_again(self.tcb, sent_last(self.tcb, SEGMENT), self.now)
            self.tcb.snd_nxt += 1
            self.arrived(1, [])
            self.tcb.rare.reordering_seen = 1

    def __dealloc__(self):
        if self.core == NULL:
            return
        if self.tcb != NULL:
            tcp_close(&self.core.tcp, self.tcb)
        core_free(self.core)

    def advance(self, int64_t ns):
        self.now += ns
        core_enter(self.core, self.now)

    def send(self, uint32_t length):
        cdef uint32_t end = self.tcb.snd_nxt + length
        if sent_push(self.tcb, self.tcb.snd_nxt, end, SEGMENT, 0, self.now) < 0:
            raise MemoryError
        self.tcb.snd_nxt = end

    def arrived(self, uint32_t ack, blocks):
        """An ACK; the first of the blocks is a D-SACK where its place says so."""
        cdef AckNews news
        cdef TcpOptions options
        memset(&news, 0, sizeof(news))
        news.prior_una = self.tcb.snd_una
        news.reordered = self.tcb.snd_nxt
        news.prior_highest = sent_highest_sacked(self.tcb)
        self.tcb.snd_una = START + ack
        options.sack_count = len(blocks)
        for i, (start, end) in enumerate(blocks):
            options.sack[i].start = START + <uint32_t>start
            options.sack[i].end = START + <uint32_t>end
        if blocks:
            arrival_sacked(&self.core.tcp, self.tcb, START + ack, &options, &news)
        arrival_acked(&self.core.tcp, self.tcb, &news)

    def detect(self):
        return rack_detect_loss(&self.core.tcp, self.tcb)

    def repeat(self, uint32_t size):
        """Send again what is next; where that begins, or None."""
        cdef Sent* sent = sent_next_lost(self.tcb, size, SEGMENT)
        if sent == NULL:
            return None
        sent_retransmitted(self.tcb, sent, self.now)
        return sent.seq - START

    def probe(self):
        """A tail loss probe of what was sent last."""
        cdef Sent* sent = sent_last(self.tcb, SEGMENT)
        if sent != NULL:
            sent_again(self.tcb, sent, self.now)

    def time_out(self):
        recovery_timeout(&self.core.tcp, self.tcb)

    def undo(self):
        sent_unmark_lost(self.tcb)
        self.tcb.busy.ca_state = CA_OPEN

    # --- what a walk from end to end finds

    @property
    def records(self):
        cdef const SentQueue* queue = &self.tcb.busy.sent
        cdef const Sent* sent
        found = []
        for at in range(<int>queue.count):
            sent = queue.items + queue.first + <uint32_t>at
            found.append({
                "seq": sent.seq - START, "end": sent.end - START, "flags": sent.flags,
                "sent_at": sent.sent_at, "known_to": sent.newer - START,
                "segments": (sent.end - sent.seq + sent.mss - 1) // sent.mss,
            })
        return found

    @property
    def order(self):
        """Numbers of the records in order of their last transmission; and from its other end."""
        cdef const SentQueue* queue = &self.tcb.busy.sent
        cdef SentMark none
        cdef uint32_t at
        memset(&none, 0, sizeof(none))
        there, back = [], []
        at = order_after(queue, &none)
        while at != NO_RECORD:
            there.append(at)
            at = order_newer(queue, at)
        if there:
            at = there[len(there) - 1]
            while at != NO_RECORD:
                back.append(at)
                at = order_older(queue, at)
        return there, back

    @property
    def sums(self):
        return dict(self.tcb.busy.sent.order), {
            "packets_out": self.tcb.busy.packets_out, "sacked_out": self.tcb.busy.sacked_out,
            "lost_out": self.tcb.busy.lost_out, "retrans_out": self.tcb.busy.retrans_out,
            "to_repeat": self.tcb.busy.to_repeat,
        }

    @property
    def highest_sacked(self):
        return sent_highest_sacked(self.tcb) - START

    @property
    def una(self):
        return self.tcb.snd_una - START

    @property
    def nxt(self):
        return self.tcb.snd_nxt - START

    @property
    def rack(self):
        """What RACK knows, and the reordering window that goes with it (RFC 8985 section 6.2)."""
        window = min(MIN_RTT // 4 * self.tcb.rack_steps, self.tcb.rtt.srtt)
        if self.tcb.rare.reordering_seen == 0 and (
                self.tcb.busy.ca_state >= 3 or self.tcb.busy.sacked_out >= self.tcb.reordering):
            window = 0
        rack = self.tcb.busy.rack
        return {
            "sent_at": rack.sent_at, "end": rack.end - START, "rtt": rack.rtt, "window": window,
        }
