# Node: a host or a router: a stack, its wires, and the routes between them.
# Called by: the engine of its stack (write), ways (arrive), pystack.testing (the rest).
# RFCs: 1812 sections 4.3 and 5.

from libc.errno cimport EBADF
from libc.stdint cimport uint32_t
from libc.stdlib cimport free, malloc, realloc
from libc.string cimport memset
from pystack.core.ip.icmp cimport icmp_hops_exceeded, icmp_net_unreachable, icmp_too_big
from pystack.core.ip.networks cimport ip_is_local
from pystack.core.memory.packet cimport (
    Packet,
    PacketQueue,
    PacketSlab,
    packet_free,
    packet_hand_over,
    packet_linearize,
    packet_pop,
)
from pystack.core.wire.address cimport Addr, addr_in_prefix
from pystack.device.base cimport Device, device_gone
from pystack.device.segmentation cimport packet_complete_checksum, packet_cut
from pystack.engine.engine cimport addr_from
from pystack.engine.virtual cimport VirtualDriver
from pystack.link.forwarding cimport (
    EXPIRED,
    MARTIAN,
    PASS_ON,
    Hop,
    Verdict,
    count_hop,
    fragment,
    hop_destination,
    hop_judge,
    hop_read,
)
from pystack.link.way cimport Ether, Receiver, Way, WaySettings

cdef enum:
    NO_PORT = -1

cdef enum Message:
    SAY_EXPIRED = 1
    SAY_NO_ROUTE = 2
    SAY_TOO_BIG = 3


cdef class Interface(Device):
    """The device of a node's stack: what it sends goes to the wire that the routes say."""

    def __init__(self, Node node, str name, mtu=1500):
        Device.__init__(self, mtu)
        self.node = node
        self.name = name

    cdef int write(self, PacketSlab* slab, PacketQueue* queue) noexcept nogil:
        if self.closed:
            return device_gone(slab, queue, EBADF)
        self.node.carry(slab, queue)
        return 0

    def deliver(self, packets):
        raise TypeError("pystack: packets reach a virtual host by its links only")


cdef class Node(Receiver):
    """A host or a router of a virtual network."""

    def __cinit__(self, Ether ether, VirtualDriver driver, bint forwards):
        self.ether = ether
        self.driver = driver
        self.forwards = self.filters = forwards
        self.ways = []

    def __dealloc__(self):
        free(self.routes)
        free(self.ports)

    # How it is connected.

    def add_port(self, Way way, bint edge):
        """Have one more wire, which leads out by `way`; its number.

        edge: no router is at its other end.
        """
        cdef int number = len(self.ways)
        cdef Port* ports = <Port*>realloc(self.ports, (number + 1) * sizeof(Port))
        if ports == NULL:
            raise MemoryError
        ports[number].way = <void*>way
        ports[number].edge = edge
        self.ports = ports
        self.ways.append(way)
        return number

    def set_routes(self, routes):
        """routes: (prefix of 16 bytes, length, port) each; the longest prefix decides."""
        cdef list ordered = sorted(routes, key=lambda route: -route[1])
        cdef Route* fresh = <Route*>malloc(max(1, len(ordered)) * sizeof(Route))
        cdef int i
        if fresh == NULL:
            raise MemoryError
        for i in range(len(ordered)):
            fresh[i].prefix = addr_from(ordered[i][0])
            fresh[i].length = ordered[i][1]
            fresh[i].port = ordered[i][2]
        free(self.routes)
        self.routes = fresh
        self.route_count = len(ordered)

    def set_mtu(self, uint32_t mtu):
        """Of its stack."""
        self.driver.set_mtu(mtu)

    cdef int route_of(self, const Addr* destination) noexcept nogil:
        cdef int i
        for i in range(self.route_count):
            if addr_in_prefix(destination, &self.routes[i].prefix, self.routes[i].length):
                return self.routes[i].port
        return NO_PORT

    # Out of its own stack.

    cdef void carry(self, PacketSlab* slab, PacketQueue* queue) noexcept nogil:
        """Cut trains, and put each packet on the wire that leads to its destination."""
        cdef PacketQueue pieces
        cdef Packet* packet
        cdef Addr destination
        cdef int port
        memset(&pieces, 0, sizeof(pieces))
        while queue.first != NULL:
            packet_cut(slab, packet_pop(queue), &pieces)
        while pieces.first != NULL:
            packet = packet_linearize(slab, packet_pop(&pieces))
            if packet == NULL:
                continue
            destination = hop_destination(packet)
            port = self.route_of(&destination)
            if port == NO_PORT:
                self.no_route += 1
                packet_free(slab, packet)
                continue
            packet_hand_over(slab, &self.ether.slab, packet)
            # Its own packets are as long as its MTU lets them be: nobody is there to tell it.
            self.emit(packet, port, True)

    cdef void emit(self, Packet* packet, int port, bint fragile) noexcept nogil:
        """Put a packet on a wire, in fragments if it is too long and may be cut."""
        cdef void* way = self.ports[port].way
        cdef const WaySettings* s = &(<Way>way).settings
        cdef PacketQueue pieces
        if s.mtu == 0 or packet.length <= s.mtu:
            (<Way>way).enqueue(packet)
            return
        if fragile or s.black_hole:
            (<Way>way).refuse(packet)
            return
        memset(&pieces, 0, sizeof(pieces))
        packet_complete_checksum(&self.ether.slab, packet)
        self.fragmented += 1
        fragment(&self.ether.slab, packet, s.mtu, &pieces)
        while pieces.first != NULL:
            (<Way>way).enqueue(packet_pop(&pieces))

    # In from a wire.

    cdef void arrive(self, Packet* packet, int port, bint more) noexcept nogil:
        if self.forwards:
            self.forward(packet, port, more)
        else:
            self.driver.input(packet, &self.ether.slab, more)

    cdef void forward(self, Packet* packet, int port, bint more) noexcept nogil:
        """What a router does, in the order of RFC 1812 section 5.2.1."""
        cdef Hop hop
        cdef Verdict verdict
        cdef const WaySettings* s
        cdef int out
        if hop_read(packet, &hop) < 0:
            self.bad_headers += 1
            self.drop(packet)
            return
        if self.is_for_us(&hop.destination):
            self.driver.input(packet, &self.ether.slab, more)
            return
        verdict = hop_judge(packet, &hop)
        # RFC 2827: where hosts are, nobody sends in the name of somebody who is elsewhere.
        if self.filters and self.ports[port].edge and self.route_of(&hop.source) != port:
            verdict = MARTIAN
        if verdict == EXPIRED:
            self.expired += 1
            self.say(packet, SAY_EXPIRED, 0)
            self.drop(packet)
            return
        if verdict != PASS_ON:
            self.martians += 1
            self.drop(packet)
            return
        out = self.route_of(&hop.destination)
        if out == NO_PORT:
            self.no_route += 1
            self.say(packet, SAY_NO_ROUTE, 0)
            self.drop(packet)
            return
        s = &(<Way>self.ports[out].way).settings
        if s.mtu and packet.length > s.mtu and hop.fragile:
            self.too_long += 1
            if not s.black_hole:
                self.say(packet, SAY_TOO_BIG, s.mtu)
            self.drop(packet)
            return
        count_hop(packet)
        self.forwarded += 1
        self.emit(packet, out, hop.fragile)

    cdef bint is_for_us(self, const Addr* destination) noexcept nogil:
        return (self.driver.engine is not None and self.driver.engine.core != NULL
                and ip_is_local(&self.driver.engine.core.ip, destination))

    cdef void say(self, Packet* packet, int what, uint32_t mtu) noexcept nogil:
        """Tell the sender of a packet, under the rules and the rate limit of ICMP errors."""
        if self.driver.engine is None or self.driver.engine.enter() < 0:
            return
        packet_complete_checksum(&self.ether.slab, packet)
        if what == SAY_EXPIRED:
            icmp_hops_exceeded(&self.driver.engine.core.ip, packet.data, packet.length)
        elif what == SAY_NO_ROUTE:
            icmp_net_unreachable(&self.driver.engine.core.ip, packet.data, packet.length)
        else:
            icmp_too_big(&self.driver.engine.core.ip, packet.data, packet.length, mtu)
        self.driver.rung = True
        self.driver.engine.unlock()

    cdef void drop(self, Packet* packet) noexcept nogil:
        packet_free(&self.ether.slab, packet)
