# A host with an IP layer and nothing above it, for Python tests: bytes in, bytes out, time by hand.
# Called by: tests/scenario/test_ip_*.py, test_icmp.py, test_fragments.py, test_path_mtu.py, ...
# RFCs: none.

import os
from collections import namedtuple
from ipaddress import IPv6Address, ip_address, ip_network

from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset
from pystack.core cimport context as core_context
from pystack.core cimport endpoint
from pystack.core.context cimport Context
from pystack.core.counters import NAMES
from pystack.core.ip cimport fragment_table, path_mtu_cache
from pystack.core.ip cimport icmp as ip_icmp
from pystack.core.ip cimport layer as ip_layer
from pystack.core.ip.fragments cimport ip_fragments_expire
from pystack.core.ip.icmp cimport icmp_port_unreachable, icmp_protocol_unreachable
from pystack.core.ip.input cimport ip_input, ip_mirror
from pystack.core.ip.layer cimport (
    IcmpError, IpLayer, IpSend, IpVerdict, IpView, PolicyAction
)
from pystack.core.ip.networks cimport (
    ip_add_network, ip_choose_source, ip_exclude_address, ip_is_local
)
from pystack.core.ip.output cimport ip_output, ip_packet_new
from pystack.core.ip.path_mtu cimport ip_path_mtu, ip_path_mtu_lower
from pystack.core.ip.policy cimport policy_find, policy_set
from pystack.core.ip.setup cimport ip_init, ip_release
from pystack.core.memory cimport packet as memory
from pystack.core.memory.deadline cimport (
    DEADLINE_NEVER, DeadlineNode, deadline_first, deadline_pop, deadline_queue_release
)
from pystack.core.memory.packet cimport (
    Packet, PacketQueue, packet_buffer, packet_free, packet_new, packet_pop
)
from pystack.core.memory.random cimport random_init
from pystack.core.wire.address cimport Addr, addr_load16, addr_store16

CSUM_FULL = memory.CSUM_FULL
CSUM_VERIFIED = memory.CSUM_VERIFIED
CSUM_PARTIAL = memory.CSUM_PARTIAL
GSO_NONE = memory.GSO_NONE
GSO_TCP4 = memory.GSO_TCP4
GSO_TCP6 = memory.GSO_TCP6
GSO_UDP4 = memory.GSO_UDP4
ACCEPT = ip_layer.POLICY_ACCEPT
REFUSE = ip_layer.POLICY_REFUSE
DROP = ip_layer.POLICY_DROP
MIRROR = ip_layer.POLICY_MIRROR
DONT = endpoint.MTU_DISCOVER_DONT
WANT = endpoint.MTU_DISCOVER_WANT
DO = endpoint.MTU_DISCOVER_DO
UNREACHABLE = ip_layer.ICMP_ERROR_UNREACHABLE
PORT_UNREACHABLE = ip_layer.ICMP_ERROR_PORT_UNREACHABLE
TOO_BIG = ip_layer.ICMP_ERROR_TOO_BIG
TIME_EXCEEDED = ip_layer.ICMP_ERROR_TIME_EXCEEDED
PARAMETER = ip_layer.ICMP_ERROR_PARAMETER
FRAGMENT_DATAGRAMS_MAX = fragment_table.FRAGMENT_DATAGRAMS_MAX
FRAGMENT_PIECES_MAX = fragment_table.FRAGMENT_PIECES_MAX
PATH_MTU_ENTRIES_MAX = path_mtu_cache.PATH_MTU_ENTRIES_MAX
ICMP_ERRORS_BURST = ip_icmp.ICMP_ERRORS_BURST
ICMP_ERRORS_PER_SECOND = ip_icmp.ICMP_ERRORS_PER_SECOND
VERDICTS = {
    ip_layer.IP_TCP: "tcp",
    ip_layer.IP_UDP: "udp",
    ip_layer.IP_ECHO_REPLY: "echo reply",
    ip_layer.IP_TRANSPORT_ERROR: "error",
}

# What the device gets; what a transport gets: a packet, or an error about one.
Sent = namedtuple("Sent", "data csum csum_start csum_offset gso gso_size")
Delivered = namedtuple("Delivered", "to source destination protocol payload ttl tos csum gso_size")
Error = namedtuple(
    "Error", "to local remote reporter protocol transport kind error mtu type code"
)


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


cdef int prefix_length(network):
    return network.prefixlen + (96 if network.version == 4 else 0)


cdef int64_t checked(int64_t code) except -1:
    if code < 0:
        raise OSError(-code, os.strerror(-code))
    return code


cdef Packet* packet_of(Context* context, bytes data) except NULL:
    """A packet whose bytes end where its memory ends, so that a sanitizer sees who reads on."""
    cdef Packet* packet = packet_new(&context.slab, len(data))
    if packet == NULL:
        raise MemoryError
    packet.data = packet_buffer(packet) + packet.capacity - len(data)
    memcpy(packet.data, <const uint8_t*>data, len(data))
    packet.length = len(data)
    return packet


cdef object sent_of(const Packet* packet):
    cdef bytes data = packet.data[:packet.length]
    for i in range(2):
        if packet.borrowed_length[i]:
            data += packet.borrowed[i][:packet.borrowed_length[i]]
    return Sent(
        data, packet.csum, packet.csum_start, packet.csum_offset, packet.gso, packet.gso_size
    )


cdef class IpHost:
    """Networks and an IP layer; time stands still unless advanced."""

    cdef Context context
    cdef IpLayer ip
    cdef bytes borrowed         # keeps alive what a packet in the tx queue borrows

    def __cinit__(self, *networks, exclude=(), int mtu=1500, int max_train=65535, uint64_t seed=1):
        cdef uint64_t[2] key = [seed, 0]
        memset(&self.context, 0, sizeof(Context))
        random_init(&self.context.random, key)
        self.context.mtu = mtu
        self.context.max_train = max_train
        self.context.secret = [seed, 1]
        if ip_init(&self.ip, &self.context) < 0:
            raise MemoryError
        for network in networks:
            self.add_network(network)
        for address in exclude:
            self.exclude(address)

    def __dealloc__(self):
        self.close()

    def close(self):
        """Release everything; return how many packets and deadlines are still held by somebody."""
        if self.ip.context != NULL:
            ip_release(&self.ip)
        memory.packet_queue_release(&self.context.slab, &self.context.tx)
        memory.packet_queue_release(&self.context.slab, &self.context.loop)
        left = self.context.slab.live + self.context.deadlines.registered
        deadline_queue_release(&self.context.deadlines)
        memory.packet_slab_release(&self.context.slab)
        return left

    # Networks and policy

    def add_network(self, text, strict=True):
        network = ip_network(text) if strict else None
        if network is None:
            address, length = text.split("/")
            return self.add_prefix(address, int(length) + (96 if "." in address else 0))
        return self.add_prefix(str(network.network_address), prefix_length(network))

    def add_prefix(self, address, int length):
        cdef Addr prefix = to_addr(address)
        checked(ip_add_network(&self.ip, &prefix, length))

    def exclude(self, address):
        cdef Addr addr = to_addr(address)
        checked(ip_exclude_address(&self.ip, &addr))

    def is_local(self, address):
        cdef Addr addr = to_addr(address)
        return bool(ip_is_local(&self.ip, &addr))

    def choose_source(self, destination):
        cdef Addr addr = to_addr(destination)
        cdef Addr source
        checked(ip_choose_source(&self.ip, &addr, &source))
        return from_addr(&source)

    def policy(
        self, text, int action, int protocol=0, int first=0, int last=65535, uint32_t token=0
    ):
        network = ip_network(text)
        address = str(network.network_address)
        length = prefix_length(network)
        self.policy_prefix(address, length, action, protocol, first, last, token)

    def policy_prefix(
        self, address, int length, int action, int protocol=0, int first=0, int last=65535,
        uint32_t token=0
    ):
        cdef Addr prefix = to_addr(address)
        checked(policy_set(
            &self.ip, &prefix, length, protocol, first, last, <PolicyAction>action, token
        ))

    def policy_find(self, destination, int protocol, int port):
        cdef Addr addr = to_addr(destination)
        cdef uint32_t token = 99
        action = <int>policy_find(&self.ip, &addr, protocol, port, &token)
        return action, token

    def policy_rules(self):
        """How many prefixes the table holds, and how many prefix lengths it looks at."""
        return self.ip.policy.prefixes.count, self.ip.policy.length_count

    # Path MTU

    def path_mtu(self, local, remote):
        cdef Addr ours = to_addr(local)
        cdef Addr theirs = to_addr(remote)
        return ip_path_mtu(&self.ip, &ours, &theirs)

    def path_mtu_lower(self, local, remote, uint32_t mtu):
        cdef Addr ours = to_addr(local)
        cdef Addr theirs = to_addr(remote)
        return ip_path_mtu_lower(&self.ip, &ours, &theirs, mtu)

    @property
    def path_mtu_entries(self):
        return self.ip.path_mtus.entries.count

    # State

    @property
    def live(self):
        """Packets handed out by the slab and not yet freed."""
        return self.context.slab.live

    @property
    def counters(self):
        """Those that are not 0, by name."""
        return {name: n for name, n in zip(NAMES, self.context.counters, strict=True) if n}

    def slab_release(self):
        """Give back the memory of free packets, so that the next packet allocates."""
        memory.packet_slab_release(&self.context.slab)

    @property
    def reassembling(self):
        return self.ip.fragments.count

    @property
    def deadline_s(self):
        """Seconds until the next deadline, or None."""
        cdef int64_t first = deadline_first(&self.context.deadlines)
        return None if first == DEADLINE_NEVER else (first - self.context.now) / 1e9

    def advance(self, double seconds):
        cdef DeadlineNode* node
        self.context.now += <int64_t>(seconds * 1e9)
        node = deadline_pop(&self.context.deadlines, self.context.now)
        while node != NULL:
            assert node.kind == core_context.DEADLINE_FRAGMENTS
            assert node.owner == &self.ip
            ip_fragments_expire(&self.ip)
            node = deadline_pop(&self.context.deadlines, self.context.now)

    # Packets

    def receive(
        self, bytes data, *, int csum=0, int csum_start=0, int csum_offset=0, int gso=0,
        int gso_size=0, answer=None
    ):
        """Hand in a packet as a device would; return what a transport gets, or None.

        answer: what the transport does with it: "port unreachable", "mirror", ...
        """
        cdef Packet* packet = packet_of(&self.context, data)
        packet.csum = <uint8_t>csum
        packet.csum_start = <uint16_t>csum_start
        packet.csum_offset = <uint16_t>csum_offset
        packet.gso = <uint8_t>gso
        packet.gso_size = <uint16_t>gso_size
        return self.input(packet, answer)

    cdef input(self, Packet* packet, answer):
        cdef IpView view
        cdef IcmpError error
        cdef IpVerdict verdict
        memset(&view, 0xA5, sizeof(IpView))
        memset(&error, 0xA5, sizeof(IcmpError))
        verdict = ip_input(&self.ip, packet, &view, &error)
        if verdict == ip_layer.IP_TAKEN:
            return None
        if verdict == ip_layer.IP_TRANSPORT_ERROR:
            delivered = error_of(&error)
        else:
            delivered = delivered_of(verdict, &view)
        if answer == "mirror":
            ip_mirror(&self.ip, &view)
            return delivered
        if answer == "port unreachable":
            icmp_port_unreachable(&self.ip, &view)
        elif answer == "protocol unreachable":
            icmp_protocol_unreachable(&self.ip, &view)
        packet_free(&self.context.slab, view.packet)
        return delivered

    def send(
        self, source, destination, int protocol, bytes payload, *, bytes borrowed=b"", int ttl=0,
        int tos=0, int discover=1, uint32_t flow_label=0, int csum=0, int csum_offset=0,
        int gso=0, int gso_size=0
    ):
        """Send as a transport would; return 0 or a negative errno. See transmit and loop."""
        cdef IpSend send
        cdef Packet* packet = ip_packet_new(&self.ip, len(payload))
        if packet == NULL:
            raise MemoryError
        memset(&send, 0, sizeof(IpSend))
        send.source = to_addr(source)
        send.destination = to_addr(destination)
        send.protocol = protocol
        send.marking.ttl = ttl
        send.marking.tos = tos
        send.marking.mtu_discover = discover
        send.marking.flow_label = flow_label
        memcpy(packet.data, <const uint8_t*>payload, len(payload))
        packet.length = len(payload)
        self.borrowed = borrowed
        packet.borrowed[0] = <const uint8_t*>self.borrowed
        packet.borrowed_length[0] = len(borrowed) // 2
        packet.borrowed[1] = <const uint8_t*>self.borrowed + len(borrowed) // 2
        packet.borrowed_length[1] = len(borrowed) - len(borrowed) // 2
        packet.csum = <uint8_t>csum
        packet.csum_offset = <uint16_t>csum_offset
        packet.gso = <uint8_t>gso
        packet.gso_size = <uint16_t>gso_size
        return ip_output(&self.ip, packet, &send)

    def transmit(self):
        """Take what the device is to send."""
        return self.take(&self.context.tx)

    def looped(self):
        """Take what the host has sent to itself."""
        return self.take(&self.context.loop)

    cdef take(self, PacketQueue* queue):
        cdef Packet* packet = packet_pop(queue)
        taken = []
        while packet != NULL:
            taken.append(sent_of(packet))
            packet_free(&self.context.slab, packet)
            packet = packet_pop(queue)
        return taken

    def loop(self, answer=None):
        """Hand in what the host has sent to itself, as the stack does; what the transports get."""
        cdef Packet* packet = packet_pop(&self.context.loop)
        delivered = []
        while packet != NULL:
            delivered.append(self.input(packet, answer))
            packet = packet_pop(&self.context.loop)
        return delivered


cdef object delivered_of(IpVerdict verdict, const IpView* view):
    assert view.packet.data <= view.payload
    assert view.payload + view.length == view.packet.data + view.packet.length
    return Delivered(
        VERDICTS[verdict], from_addr(&view.source), from_addr(&view.destination), view.protocol,
        view.payload[:view.length], view.ttl, view.tos, view.packet.csum, view.packet.gso_size
    )


cdef object error_of(const IcmpError* error):
    return Error(
        VERDICTS[ip_layer.IP_TRANSPORT_ERROR], from_addr(&error.local), from_addr(&error.remote),
        from_addr(&error.reporter), error.protocol, error.transport[:error.length], error.kind,
        error.error, error.mtu, error.icmp_type, error.icmp_code
    )
