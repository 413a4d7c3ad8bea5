# A host of IP and datagram layer for Python tests: bytes in, bytes out, sockets on top.
# Called by: tests/scenario/test_udp_*.py, test_echo_sockets.py.
# RFCs: none.

import os
from collections import namedtuple
from ipaddress import IPv6Address, ip_address, ip_network

from libc.stdint cimport int64_t, uint8_t, uint16_t, uint64_t
from libc.string cimport memcpy, memset
from pystack.core.context cimport DEADLINE_MEMBERSHIP, Context, count, ready_pop
from pystack.core.counters import NAMES
from pystack.core.counters cimport Counter
from pystack.core.endpoint cimport MANNER_REPORT_ERRORS, MANNER_REPORT_EXTENSIONS, Endpoint
from pystack.core.error_queue cimport ErrorReport, error_queue_take
from pystack.core.ip cimport layer as ip_layer
from pystack.core.ip.fragments cimport ip_fragments_expire
from pystack.core.ip.membership_query cimport ip_membership_expire
from pystack.core.ip.input cimport ip_input
from pystack.core.ip.layer cimport IcmpError, IpLayer, IpVerdict, IpView, PolicyAction
from pystack.core.ip.networks cimport ip_add_network, ip_exclude_address
from pystack.core.ip.path_mtu cimport ip_path_mtu
from pystack.core.ip.policy cimport policy_set
from pystack.core.ip.setup cimport ip_init, ip_release
from pystack.core.memory cimport packet as memory
from pystack.core.memory.deadline cimport (
    DEADLINE_NEVER, DeadlineNode, deadline_first, deadline_pop, deadline_queue_release,
)
from pystack.core.memory.packet cimport Packet, PacketQueue, packet_free, packet_new, packet_pop
from pystack.core.memory.random cimport random_init
from pystack.core.udp cimport datagram
from pystack.core.udp.errors cimport udp_error
from pystack.core.udp.input cimport echo_input, udp_input
from pystack.core.udp.multicast cimport multicast_call
from pystack.core.udp.layer cimport Datagram, DatagramInfo, UdpLayer
from pystack.core.udp.setup cimport udp_init, udp_release
from pystack.core.wire.address cimport Addr, addr_load16, addr_store16
from pystack.device.segmentation cimport packet_segment

CSUM_FULL = memory.CSUM_FULL
CSUM_VERIFIED = memory.CSUM_VERIFIED
CSUM_PARTIAL = memory.CSUM_PARTIAL
GSO_NONE = memory.GSO_NONE
GSO_UDP4 = memory.GSO_UDP4
GSO_UDP6 = memory.GSO_UDP6
POLICY_ACCEPT = ip_layer.POLICY_ACCEPT
POLICY_REFUSE = ip_layer.POLICY_REFUSE
POLICY_DROP = ip_layer.POLICY_DROP
POLICY_MIRROR = ip_layer.POLICY_MIRROR

# What a device gets, metadata and all; and what a socket receives.
Sent = namedtuple("Sent", "data csum gso gso_size")
Report = namedtuple(
    "Report", "data remote port offender error origin type code info extension_at invalid"
)
Received = namedtuple("Received", "data source port destination gso_size ttl tos capacity")


cdef Addr to_addr(text):
    address = ip_address(text)
    if address.version == 4:
        address = IPv6Address(b"\0" * 10 + b"\xff\xff" + address.packed)
    cdef bytes packed = address.packed
    return addr_load16(packed)


cdef str from_addr(const Addr* addr):
    cdef uint8_t[16] packed
    addr_store16(packed, addr)
    address = IPv6Address(packed[:16])
    return str(address.ipv4_mapped or address)


cdef int64_t checked(int64_t code) except -1:
    if code < 0:
        raise OSError(-code, os.strerror(-code))
    return code


cdef class Host:
    """Addresses, an IP layer, a datagram layer; time stands still unless set."""

    cdef Context context
    cdef IpLayer ip
    cdef UdpLayer udp
    cdef bint is_closed

    def __cinit__(self, *networks, int mtu=1500, int max_train=65535, uint64_t seed=1):
        cdef uint64_t[2] key = [seed, 0]
        cdef Addr prefix
        memset(&self.context, 0, sizeof(Context))
        random_init(&self.context.random, key)
        self.context.mtu = mtu
        self.context.max_train = max_train
        self.context.secret = [seed, 1]
        assert ip_init(&self.ip, &self.context) == 0
        udp_init(&self.udp, &self.ip)
        for text in networks:
            network = ip_network(text)
            prefix = to_addr(network.network_address)
            checked(ip_add_network(&self.ip, &prefix, network.prefixlen + bits_before(network)))

    def __dealloc__(self):
        if not self.is_closed:
            self.close()
        memory.packet_slab_release(&self.context.slab)

    def close(self):
        """Release everything, sockets too; return how many packets are still held by somebody."""
        self.is_closed = True
        udp_release(&self.udp)
        ip_release(&self.ip)
        while ready_pop(&self.context.ready) != NULL:
            pass
        memory.packet_queue_release(&self.context.slab, &self.context.tx)
        memory.packet_queue_release(&self.context.slab, &self.context.loop)
        deadline_queue_release(&self.context.deadlines)
        return self.context.slab.live

    def exclude(self, address):
        cdef Addr addr = to_addr(address)
        checked(ip_exclude_address(&self.ip, &addr))

    def policy(self, network, PolicyAction action, int protocol=17, int first=0, int last=65535):
        network = ip_network(network)
        cdef Addr prefix = to_addr(network.network_address)
        cdef int length = network.prefixlen + bits_before(network)
        checked(policy_set(&self.ip, &prefix, length, protocol, first, last, action, 0))

    def path_mtu(self, local, remote):
        cdef Addr ours = to_addr(local)
        cdef Addr theirs = to_addr(remote)
        return ip_path_mtu(&self.ip, &ours, &theirs)

    def socket(self, int protocol=17, bint v6=False):
        return Socket(self, protocol, v6)

    def advance(self, double seconds):
        """Let time pass in steps, from deadline to deadline."""
        cdef int64_t until = self.context.now + <int64_t>(seconds * 1e9)
        cdef DeadlineNode* node
        while True:
            self.context.now = min(max(self.context.now, self.next_deadline()), until)
            node = deadline_pop(&self.context.deadlines, self.context.now)
            if node == NULL:
                if self.context.now >= until:
                    return
                continue
            if node.kind == DEADLINE_MEMBERSHIP:
                ip_membership_expire(&self.ip)
            else:
                ip_fragments_expire(&self.ip)

    cdef int64_t next_deadline(self):
        return deadline_first(&self.context.deadlines)

    @property
    def deadline(self):
        """Seconds from now, or None."""
        when = self.next_deadline()
        return None if when == DEADLINE_NEVER else (when - self.context.now) / 1e9

    @property
    def groups(self):
        return self.ip.membership.count

    @property
    def live(self):
        """Packets handed out by the slab and not yet freed."""
        return self.context.slab.live

    @property
    def counters(self):
        """Those that are not 0, by name."""
        return {name: n for name, n in zip(NAMES, self.context.counters, strict=True) if n}

    def receive(self, bytes data, int csum=0, int gso=0, int gso_size=0, int capacity=0):
        """Hand in a packet as a device would."""
        cdef Packet* packet = packet_new(&self.context.slab, max(len(data), capacity))
        memcpy(packet.data, <const uint8_t*>data, len(data))
        packet.length = len(data)
        packet.csum = <uint8_t>csum
        packet.gso = <uint8_t>gso
        packet.gso_size = <uint16_t>gso_size
        self.input(packet)
        self.settle()

    cdef input(self, Packet* packet):
        cdef IpView view
        cdef IcmpError error
        cdef IpVerdict verdict = ip_input(&self.ip, packet, &view, &error)
        if verdict == ip_layer.IP_UDP:
            udp_input(&self.udp, &view)
        elif verdict == ip_layer.IP_ECHO_REPLY:
            echo_input(&self.udp, &view)
        elif verdict == ip_layer.IP_TRANSPORT_ERROR:
            if not udp_error(&self.udp, &error):
                count(&self.context, Counter.ICMP_DROP_ERROR_NOT_OURS)
            packet_free(&self.context.slab, view.packet)
        elif verdict == ip_layer.IP_TCP:
            packet_free(&self.context.slab, view.packet)

    cdef settle(self):
        """Deliver what the host sends to itself."""
        while self.context.loop.count:
            self.input(packet_pop(&self.context.loop))

    def transmit(self):
        """The packets for a device that takes neither trains nor partial checksums."""
        cdef PacketQueue out
        cdef Packet* packet
        packets = []
        memset(&out, 0, sizeof(out))
        self.settle()
        while self.context.tx.count:
            packet = packet_pop(&self.context.tx)
            assert packet_segment(&self.context.slab, packet, &out) >= 1
        while out.count:
            packet = packet_pop(&out)
            packets.append(packet.data[: packet.length])
            packet_free(&self.context.slab, packet)
        return packets

    def transmit_raw(self):
        """The packets as they are queued for the device."""
        cdef Packet* packet
        packets = []
        self.settle()
        while self.context.tx.count:
            packet = packet_pop(&self.context.tx)
            data = packet.data[: packet.length]
            packets.append(Sent(data, packet.csum, packet.gso, packet.gso_size))
            packet_free(&self.context.slab, packet)
        return packets

    def ready(self):
        """The sockets that became ready, with their events, in order."""
        cdef Endpoint* endpoint
        found = []
        self.settle()
        while True:
            endpoint = ready_pop(&self.context.ready)
            if endpoint == NULL:
                return found
            found.append((<Socket>endpoint.owner, endpoint.ready))
            endpoint.ready = 0


def bits_before(network):
    return 96 if network.version == 4 else 0


cdef class Socket:
    """A Datagram and its calls, which raise OSError."""

    cdef Host host
    cdef Datagram* socket

    def __cinit__(self, Host host, int protocol, bint v6):
        self.host = host
        self.socket = datagram.datagram_open(&host.udp, protocol, v6)
        if self.socket == NULL:
            raise MemoryError
        self.socket.endpoint.owner = <void*>self

    def bind(self, address, int port=0):
        cdef Addr addr = to_addr(address)
        checked(datagram.datagram_bind(&self.host.udp, self.socket, &addr, port))

    def connect(self, address, int port=0):
        cdef Addr addr = to_addr(address)
        checked(datagram.datagram_connect(&self.host.udp, self.socket, &addr, port))

    def disconnect(self):
        checked(datagram.datagram_disconnect(&self.host.udp, self.socket))

    def send(self, bytes data, to=None, source=None, uint16_t gso_size=0):
        cdef Addr remote, local
        cdef Addr* address = NULL
        cdef Addr* from_ = NULL
        port = 0
        if to is not None:
            remote = to_addr(to[0])
            port = to[1]
            address = &remote
        if source is not None:
            local = to_addr(source)
            from_ = &local
        return checked(
            datagram.datagram_send(
                &self.host.udp, self.socket, address, port, from_, data, len(data), gso_size
            )
        )

    def recv(self):
        """The oldest datagram, or None."""
        cdef DatagramInfo info
        cdef Packet* packet
        self.host.settle()
        packet = datagram.datagram_take(self.socket, &info)
        if packet == NULL:
            return None
        received = received_of(packet, &info)
        packet_free(&self.host.context.slab, packet)
        return received

    def peek(self):
        cdef DatagramInfo info
        cdef Packet* packet = datagram.datagram_peek(self.socket, &info)
        return None if packet == NULL else received_of(packet, &info)

    def member(self, int call, group, source="::"):
        """Join, leave, join and leave a source, block and unblock one: 1 to 6."""
        cdef Addr of = to_addr(group)
        cdef Addr sender = to_addr(source)
        checked(multicast_call(&self.host.udp, self.socket, call, &of, &sender))

    def multicast(self, bint v6, source=None, ttl=None, loop=None, all=None):
        """IP_MULTICAST_IF, TTL, LOOP, ALL."""
        if source is not None:
            self.socket.multicast[v6].source = to_addr(source)
        if ttl is not None:
            self.socket.multicast[v6].ttl = ttl
        if loop is not None:
            self.socket.multicast[v6].loop = loop
        if all is not None:
            self.socket.multicast[v6].all = all
        return self

    def shut_read(self):
        checked(datagram.datagram_shut_read(&self.host.udp, self.socket))

    def shut_write(self):
        checked(datagram.datagram_shut_write(&self.host.udp, self.socket))

    def close(self):
        datagram.datagram_close(&self.host.udp, self.socket)
        self.socket = NULL

    def set(self, **options):
        """Set options by the names of their fields."""
        cdef Datagram* socket = self.socket
        for name, value in options.items():
            if name == "service":
                socket.endpoint.service = value
            elif name == "v6only":
                socket.endpoint.v6only = value
            elif name == "ttl":
                socket.endpoint.marking.ttl = value
            elif name == "tos":
                socket.endpoint.marking.tos = value
            elif name == "mtu_discover":
                socket.endpoint.marking.mtu_discover = value
            elif name == "reuse_address":
                socket.reuse_address = value
            elif name == "broadcast":
                socket.broadcast = value
            elif name == "report_errors":
                socket.endpoint.manners &= ~<int>MANNER_REPORT_ERRORS
                if value:
                    socket.endpoint.manners |= MANNER_REPORT_ERRORS
            elif name == "report_extensions":
                socket.endpoint.manners &= ~<int>MANNER_REPORT_EXTENSIONS
                if value:
                    socket.endpoint.manners |= MANNER_REPORT_EXTENSIONS
            elif name == "gro":
                socket.gro = value
            elif name == "queue_limit":
                socket.queue_limit = value
            else:
                raise TypeError(name)
        return self

    @property
    def name(self):
        return from_addr(&self.socket.endpoint.key.local), self.socket.endpoint.key.local_port

    @property
    def peer(self):
        """Who it is connected to, or None."""
        if not self.socket.connected:
            return None
        return from_addr(&self.socket.endpoint.key.remote), self.socket.endpoint.key.remote_port

    def take_report(self):
        """The oldest error of the error queue, or None."""
        cdef ErrorReport report
        cdef Packet* packet = error_queue_take(self.socket.endpoint.errors, &report)
        if packet == NULL:
            return None
        fields = Report(
            packet.data[: packet.length], from_addr(&report.remote), report.port,
            from_addr(&report.offender), report.error, report.origin, report.icmp_type,
            report.icmp_code, report.info, report.extension_at, bool(report.extension_invalid),
        )
        packet_free(&self.host.context.slab, packet)
        return fields

    @property
    def queue_bytes(self):
        return self.socket.queue_bytes

    @property
    def error(self):
        """The pending error, which stays pending."""
        return self.socket.endpoint.error


cdef received_of(const Packet* packet, const DatagramInfo* info):
    return Received(
        packet.data[: packet.length],
        from_addr(&info.source),
        info.source_port,
        from_addr(&info.destination),
        info.gso_size,
        info.ttl,
        info.tos,
        packet.capacity,
    )
