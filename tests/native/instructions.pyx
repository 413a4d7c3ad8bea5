# Paths of a packet through one stack, so that callgrind can count what that one does.
# Called by: tools/instructions, tests/unit/test_instructions.py.
# RFCs: none.

from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.string cimport memset
from native.pair cimport (
    DISCARD_PORT, ECHO_PORT, MSS, TRAIN, Pair, check, counted, end_part, receive, send, settle,
)
from pystack.core.endpoint cimport SERVICE_DISCARD, SERVICE_ECHO
from pystack.core.ip.layer cimport PROTOCOL_ICMP, PROTOCOL_TCP, PROTOCOL_UDP
from pystack.core.memory.packet cimport Packet, packet_free, packet_pop
from pystack.core.stack cimport core_enter, core_serve
from pystack.core.tcp.ack cimport ack_input
from pystack.core.tcp.calls cimport tcp_accept, tcp_bind, tcp_close, tcp_listen, tcp_open
from pystack.core.tcp.layer cimport Tcb, TcpLayer
from pystack.core.udp.datagram cimport datagram_send, datagram_take
from pystack.core.udp.layer cimport DatagramInfo
from pystack.core.wire.address cimport Addr, addr_any
from pystack.core.wire.tcp cimport TCP_ACK, TCP_OPT_SACK, TcpOptions, TcpSegment

cdef enum:
    SMALL = 64                  # bytes of an echoed datagram; of a ping with its header
    WARM_UP = 24                # times: slow start is over
    STEP_NS = 100_000           # from one selective acknowledgment to the next
    FEW = 16                    # of them in a round trip
    MANY = 1000
    WIDE = 1 << 24              # bytes of windows that limit nothing

ctypedef struct Report:
    TcpLayer* tcp
    Tcb* tcb
    TcpSegment seg
    TcpOptions options


cdef void take_report(void* argument) noexcept nogil:
    cdef Report* report = <Report*>argument
    ack_input(report.tcp, report.tcb, &report.seg, &report.options)


cdef class Path(Pair):
    """What is set up once, and then taken any number of times.

    `arrived` is what has come where it should; each time adds `amount`.
    """

    cdef int64_t count
    amount = 1

    def warm_up(self):
        """Up to where each time is like the one before: slow start is over."""
        for _ in range(WARM_UP):
            self.once()
            self.settled()

    def arrived(self):
        return self.count


cdef class TrainIn(Path):
    """A train of 44 segments, for the service discard, and its acknowledgment."""

    amount = TRAIN

    def begin(self):
        check(core_serve(self.near.core, SERVICE_DISCARD, PROTOCOL_TCP, DISCARD_PORT))
        self.connect(&self.far, DISCARD_PORT)
        self.settled()

    def once(self):
        self.call(&self.far, send, TRAIN)
        self.round_trip()

    def arrived(self):
        return self.far.tcb.snd_una


cdef class SegmentIn(Path):
    """A full segment, its checksum not yet verified, read by a socket; half an acknowledgment."""

    amount = MSS

    def begin(self):
        cdef Addr here = addr_any(False)
        cdef Tcb* listener = tcp_open(&self.near.core.tcp, False)
        if listener == NULL:
            raise MemoryError
        check(tcp_bind(&self.near.core.tcp, listener, &here, DISCARD_PORT))
        check(tcp_listen(&self.near.core.tcp, listener, 1))
        self.connect(&self.far, DISCARD_PORT)
        self.settled()
        self.near.tcb = tcp_accept(&self.near.core.tcp, listener)
        tcp_close(&self.near.core.tcp, listener)
        if self.near.tcb == NULL:
            raise RuntimeError("no connection to accept")
        self.near.tcb.endpoint.owner = <void*>self

    def once(self):
        self.call(&self.far, send, MSS)
        self.round_trip()
        self.count += self.call(&self.near, receive, TRAIN)


cdef class TrainOut(Path):
    """A train of 44 segments, written by a socket, and its acknowledgment."""

    amount = TRAIN

    def begin(self):
        check(core_serve(self.far.core, SERVICE_DISCARD, PROTOCOL_TCP, DISCARD_PORT))
        self.connect(&self.near, DISCARD_PORT)
        self.settled()

    def once(self):
        self.call(&self.near, send, TRAIN)
        self.carry(&self.near, &self.far)
        self.carry(&self.far, &self.near)

    def arrived(self):
        return self.near.tcb.snd_una


cdef class Request(Path):
    """One byte and its echo on a connection that stays."""

    def begin(self):
        check(core_serve(self.near.core, SERVICE_ECHO, PROTOCOL_TCP, ECHO_PORT))
        self.connect(&self.far, ECHO_PORT)
        self.settled()

    def once(self):
        self.call(&self.far, send, 1)
        self.round_trip()
        self.count += self.call(&self.far, receive, 1)


cdef class Visit(Path):
    """A connection that the peer opens and closes."""

    cdef uint64_t listeners

    def begin(self):
        check(core_serve(self.near.core, SERVICE_DISCARD, PROTOCOL_TCP, DISCARD_PORT))
        self.listeners = self.near.core.tcp.connection_count

    def once(self):
        self.connect(&self.far, DISCARD_PORT)
        self.round_trip()
        self.close(&self.far)
        self.round_trip()
        self.round_trip()
        self.count += self.near.core.tcp.connection_count == self.listeners


cdef class UdpEcho(Path):
    """A datagram of 64 bytes and its echo."""

    amount = SMALL

    def begin(self):
        check(core_serve(self.near.core, SERVICE_ECHO, PROTOCOL_UDP, ECHO_PORT))
        self.connect_datagrams(PROTOCOL_UDP, ECHO_PORT)

    def once(self):
        cdef DatagramInfo info
        cdef Packet* packet
        check(datagram_send(
            &self.far.core.udp, self.far.socket, NULL, 0, NULL, self.buffer, SMALL, 0))
        self.round_trip()
        packet = datagram_take(self.far.socket, &info)
        if packet != NULL:
            self.count += packet.length
            packet_free(&self.far.core.context.slab, packet)


cdef class IcmpEcho(UdpEcho):
    """A ping with 56 bytes, and its answer."""

    def begin(self):
        self.buffer[0] = 8          # an echo request
        self.connect_datagrams(PROTOCOL_ICMP, 0)


cdef class Losses(Path):
    """Segments of one MSS go out, one by one; nothing comes back but what a test makes up."""

    cdef Report report
    cdef uint32_t start
    cdef uint32_t step
    window = FEW                # steps in a round trip

    def begin(self):
        check(core_serve(self.far.core, SERVICE_DISCARD, PROTOCOL_TCP, DISCARD_PORT))
        self.near.core.context.max_train = 0
        self.connect(&self.near, DISCARD_PORT)
        self.settled()
        self.near.tcb.send_buffer = WIDE
        memset(&self.report, 0, sizeof(Report))
        self.report.tcp, self.report.tcb = &self.near.core.tcp, self.near.tcb
        self.report.seg.seq = self.near.tcb.rcv_nxt
        self.report.seg.flags = TCP_ACK
        self.report.seg.window = WIDE >> self.near.tcb.snd_scale
        self.report.options.present = TCP_OPT_SACK
        self.start = self.report.seg.ack = self.near.tcb.snd_una
        self.near.tcb.snd_wnd = WIDE

    def once(self):
        """A step of the flow: what was sent a round trip ago is reported, as much is sent."""
        self.now += STEP_NS
        core_enter(self.near.core, self.now)
        self.near.tcb.congestion.cwnd = WIDE
        if self.step >= self.window:
            self.say(self.step - self.window)
            counted(take_report, &self.report)
        self.write()
        self.step += 1

    cdef write(self, int segments=1):
        cdef Packet* packet
        for _ in range(segments):
            self.near.tcb.congestion.cwnd = WIDE
            self.call(&self.near, send, MSS)
            self.call(&self.near, settle)
            packet = packet_pop(&self.near.out)
            while packet != NULL:
                packet_free(&self.near.core.context.slab, packet)
                packet = packet_pop(&self.near.out)

    cdef say(self, uint32_t step):
        """What arrived of what was sent in this step and before; those before have been said."""

    cdef block(self, uint32_t first, uint32_t end):
        """The report's next block: these segments."""
        cdef uint32_t place = self.report.options.sack_count
        self.report.options.sack[place].start = self.start + first * MSS
        self.report.options.sack[place].end = self.start + end * MSS
        self.report.options.sack_count += 1
        self.count += 1

    def warm_up(self):
        for _ in range(3 * self.window):
            self.once()


cdef class Holes(Losses):
    """Of two segments one is lost: a report of the latest, the retransmission, new text."""

    amount = 3                  # blocks

    cdef say(self, uint32_t step):
        if step >= <uint32_t>self.window:
            # The retransmissions of a round trip before have arrived.
            self.report.seg.ack = self.start + 2 * (step - self.window + 1) * MSS
        self.report.options.sack_count = 0
        for i in range(min(step + 1, <uint32_t>3)):
            self.block(2 * (step - i) + 1, 2 * (step - i) + 2)

    cdef write(self, int segments=1):
        Losses.write(self, 2 * segments)


cdef class ManyHoles(Holes):
    """The same with 4,000 segments outstanding instead of 64."""

    window = MANY


cdef class Block(Losses):
    """All but one segment arrive, however often that is sent: a report, new text."""

    amount = 1

    cdef say(self, uint32_t step):
        self.report.options.sack_count = 0
        self.block(1, step + 2)

    def begin(self):
        Losses.begin(self)
        self.write()
        self.step = 1

cdef class LongBlock(Block):
    """The same with 3,000 segments outstanding at the beginning instead of 48."""

    window = MANY


PATHS = {
    "tcp-train-in": TrainIn,
    "tcp-segment-in": SegmentIn,
    "tcp-train-out": TrainOut,
    "tcp-request": Request,
    "tcp-connect-close": Visit,
    "udp-echo": UdpEcho,
    "icmp-echo": IcmpEcho,
    "tcp-holes": Holes,
    "tcp-holes-many": ManyHoles,
    "tcp-block": Block,
    "tcp-block-many": LongBlock,
}


def take(str name, int times):
    """Take a path so many times, as a part of the profile; RuntimeError if something got lost."""
    cdef Path path = PATHS[name]()
    path.begin()
    path.warm_up()
    before = path.arrived()
    end_part()
    for _ in range(times):
        path.once()
    end_part()
    arrived = (path.arrived() - before) % (1 << 32)
    if arrived != path.amount * times:
        raise RuntimeError(f"{name}: {arrived} of {path.amount * times} arrived")
