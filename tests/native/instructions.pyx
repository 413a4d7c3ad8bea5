# Paths of a packet through one stack, so that callgrind can count what that one does.
# Called by: tools/instructions, tests/unit/test_instructions.py.
# RFCs: none.

from libc.stdint cimport int64_t, uint64_t
from native.pair cimport (
    DISCARD_PORT, ECHO_PORT, MSS, TRAIN, Pair, check, end_part, receive, send,
)
from pystack.core.endpoint cimport SERVICE_DISCARD, SERVICE_ECHO
from pystack.core.ip.layer cimport PROTOCOL_ICMP, PROTOCOL_TCP, PROTOCOL_UDP
from pystack.core.memory.packet cimport Packet, packet_free
from pystack.core.stack cimport core_serve
from pystack.core.tcp.calls cimport tcp_accept, tcp_bind, tcp_close, tcp_listen, tcp_open
from pystack.core.tcp.layer cimport Tcb
from pystack.core.udp.datagram cimport datagram_send, datagram_take
from pystack.core.udp.layer cimport DatagramInfo
from pystack.core.wire.address cimport Addr, addr_any

cdef enum:
    SMALL = 64                  # bytes of an echoed datagram; of a ping with its header
    WARM_UP = 24                # times: slow start is over


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


PATHS = {
    "tcp-train-in": TrainIn,
    "tcp-segment-in": SegmentIn,
    "tcp-train-out": TrainOut,
    "tcp-request": Request,
    "tcp-connect-close": Visit,
    "udp-echo": UdpEcho,
    "icmp-echo": IcmpEcho,
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
