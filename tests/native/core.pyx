# One Core in a test's hands: packets in and out as bytes, time set by hand, TCP calls, a look
# inside.
# Called by: tests/scenario, tests/property.

import ipaddress
from types import SimpleNamespace

from cpython.object cimport PyObject
from cpython.ref cimport Py_DECREF, Py_INCREF
from libc.stdint cimport int64_t, uint8_t
from libc.string cimport memcpy
from pystack.core.endpoint cimport MANNER_REPORT_ERRORS, Endpoint
from pystack.core.error_queue cimport ErrorReport, error_queue_take
from pystack.core.ip.layer cimport PROTOCOL_UDP, PolicyAction
from pystack.core.ip.networks cimport ip_add_network
from pystack.core.ip.policy cimport policy_set
from pystack.core.memory.deadline cimport DEADLINE_NEVER, deadline_of, deadline_set
from pystack.core.memory.loan cimport Lender, lender_repay
from pystack.core.memory.packet cimport (
    GSO_NONE, GSO_TCP4, GSO_TCP6, GSO_UDP4, GSO_UDP6, Packet, PacketQueue, packet_buffer,
    packet_free, packet_new, packet_pop,
)
from pystack.core.stack cimport (
    Core, CoreConfig, core_abort_all, core_advance, core_deadline, core_default_config,
    core_enter, core_free, core_input, core_new, core_serve, core_take_ready, core_take_tx,
)
from pystack.core.tcp.busy cimport tcb_is_awake, tcb_wake
from pystack.core.tcp.calls cimport (
    tcp_abort, tcp_accept, tcp_bind, tcp_close, tcp_connect, tcp_fast_open, tcp_listen, tcp_open,
    tcp_poll, tcp_shutdown,
)
from pystack.core.tcp.config cimport TcpConfig
from pystack.core.tcp.congestion.algorithm cimport CONGESTION_LOSS
from pystack.core.tcp.congestion.bbr_state cimport BBR_UNIT, BbrState
from pystack.core.tcp.congestion.interface cimport congestion_reduce, congestion_undo
from pystack.core.tcp.layer cimport Tcb, TcpBusy
from pystack.core.tcp.lookup cimport connection_find
from pystack.core.tcp.metrics cimport metrics_find
from pystack.core.tcp.metrics_cache cimport Metrics
from pystack.core.tcp.rate cimport rate_of
from pystack.core.tcp.settings cimport tcp_get_option, tcp_set_option
from pystack.core.tcp.setup cimport tcp_default_config
from pystack.core.tcp.transfer cimport tcp_peek, tcp_receive, tcp_send
from pystack.core.udp.datagram cimport (
    datagram_bind, datagram_close, datagram_connect, datagram_open, datagram_send, datagram_take,
)
from pystack.core.udp.layer cimport Datagram, DatagramInfo
from pystack.core.udp.multicast cimport multicast_call
from pystack.core.wire.address cimport Addr, addr_load16, addr_v4
from pystack.device.segmentation cimport packet_segment

from pystack.core.counters import NAMES

STATES = ("CLOSED", "LISTEN", "SYN-SENT", "SYN-RECEIVED", "ESTABLISHED", "FIN-WAIT-1",
          "FIN-WAIT-2", "CLOSE-WAIT", "CLOSING", "LAST-ACK", "TIME-WAIT")
TCB_SIZE = sizeof(Tcb)
BUSY_SIZE = sizeof(TcpBusy)


cdef Addr to_addr(text):
    cdef bytes packed
    address = ipaddress.ip_address(text)
    if address.version == 4:
        packed = bytes(10) + b"\xff\xff" + address.packed
    else:
        packed = address.packed
    return addr_load16(packed)


class CallError(OSError):
    """A negative errno from the core."""


cdef check(int64_t result):
    if result < 0:
        raise CallError(-result, "core")
    return result


cdef TcpConfig configured(TcpConfig config, dict changes) except *:
    """A configuration with some fields changed, by the names of tcp/config.pxd."""
    cdef dict fields = config
    unknown = set(changes) - set(fields)
    if unknown:
        raise TypeError(f"TcpConfig has no {unknown}")
    fields.update(changes)
    return fields


def default_tcp_config():
    """The core's TcpConfig where nobody says otherwise, by the names of its fields."""
    cdef TcpConfig config
    tcp_default_config(&config)
    return config


def fixed_buffers(changes):
    """Buffers of 1 MiB, or of the size that a test gives, without auto-tuning unless it asks."""
    changes = {"receive_buffer": 1 << 20, "send_buffer": 1 << 20, "window_scale": 7} | changes
    for name in ("receive_buffer", "send_buffer"):
        changes.setdefault(f"{name}_max", changes[name])
    return changes


cdef class Host:
    """One stack. Times in ns; start at 1 s, so that a zero never looks like a time."""

    cdef Core* core
    cdef public int64_t now

    def __cinit__(self, *networks, seed=(1, 2), mtu=1500, max_train=65535, **tcp):
        cdef CoreConfig config
        self.now = 1_000_000_000
        core_default_config(&config)
        config.seed[0], config.seed[1] = seed
        config.mtu = mtu
        config.max_train = max_train
        config.tcp = configured(config.tcp, fixed_buffers(tcp))
        self.core = core_new(&config, self.now)
        if self.core == NULL:
            raise MemoryError
        for network in networks:
            self.add_network(network)

    def add_network(self, network):
        net = ipaddress.ip_network(network)
        cdef Addr prefix = to_addr(str(net.network_address))
        check(ip_add_network(
            &self.core.ip, &prefix, net.prefixlen + (96 if net.version == 4 else 0)))

    def __dealloc__(self):
        self.free()

    def free(self):
        if self.core != NULL:
            core_free(self.core)
            self.core = NULL

    def input(self, bytes packet, int gso_size=0):
        """Hand in one packet; with gso_size, a train of TCP segments or of datagrams."""
        cdef bint v6 = packet[0] >> 4 == 6
        cdef Packet* p = packet_new(&self.core.context.slab, len(packet))
        # At the end of its memory, so that a sanitizer sees who reads on.
        p.data = packet_buffer(p) + p.capacity - len(packet)
        memcpy(p.data, <const uint8_t*>packet, len(packet))
        p.length = len(packet)
        if gso_size:
            p.gso_size = gso_size
            if packet[6 if v6 else 9] == PROTOCOL_UDP:
                p.gso = GSO_UDP6 if v6 else GSO_UDP4
            else:
                p.gso = GSO_TCP6 if v6 else GSO_TCP4
        core_input(self.core, p, self.now)

    def advance(self, int64_t ns):
        """Let time pass in one step."""
        self.now += ns
        core_advance(self.core, self.now)

    @property
    def deadline(self):
        """ns, or None."""
        cdef int64_t when = core_deadline(self.core)
        return None if when == DEADLINE_NEVER else when

    @property
    def protocol_deadline(self):
        """The first that is not only a look at who may rest; ns, or None."""
        cdef int64_t rest = deadline_of(&self.core.context.deadlines, &self.core.tcp.rest)
        deadline_set(&self.core.context.deadlines, &self.core.tcp.rest, DEADLINE_NEVER)
        when = self.deadline
        deadline_set(&self.core.context.deadlines, &self.core.tcp.rest, rest)
        return when

    def take(self, bint cut=True):
        """All packets for the device; trains cut and checksums completed, unless cut is False."""
        cdef PacketQueue queue, pieces
        cdef Packet* packet
        out = []
        queue.first = queue.last = pieces.first = pieces.last = NULL
        queue.count = pieces.count = 0
        core_take_tx(self.core, &queue)
        packet = packet_pop(&queue)
        while packet != NULL:
            if cut:
                packet_segment(&self.core.context.slab, packet, &pieces)
            else:
                out.append((packet.length + packet.borrowed_length[0] + packet.borrowed_length[1],
                            packet.gso_size if packet.gso != GSO_NONE else 0))
                packet_free(&self.core.context.slab, packet)
            packet = packet_pop(&queue)
        packet = packet_pop(&pieces)
        while packet != NULL:
            whole = packet.data[:packet.length]
            if packet.borrowed_length[0]:
                whole += packet.borrowed[0][:packet.borrowed_length[0]]
            if packet.borrowed_length[1]:
                whole += packet.borrowed[1][:packet.borrowed_length[1]]
            out.append(whole)
            packet_free(&self.core.context.slab, packet)
            packet = packet_pop(&pieces)
        return out

    def take_ready(self):
        """[(identity, events)] of what became ready; identity as in Tcp.identity."""
        cdef int events
        cdef Endpoint* endpoint = core_take_ready(self.core, &events)
        out = []
        while endpoint != NULL:
            out.append((<size_t>endpoint, events))
            endpoint = core_take_ready(self.core, &events)
        return out

    def policy(self, prefix, action, protocol=0, first_port=0, last_port=65535):
        net = ipaddress.ip_network(prefix)
        cdef Addr p = to_addr(str(net.network_address))
        check(policy_set(&self.core.ip, &p, net.prefixlen + (96 if net.version == 4 else 0),
                         protocol, first_port, last_port, <PolicyAction><int>action, 0))

    def serve(self, int service, int protocol, int port):
        return check(core_serve(self.core, service, protocol, port))

    def abort_all(self):
        core_abort_all(self.core)

    def tcp(self, bint v6=False):
        """An open TCP socket."""
        cdef Tcp socket = Tcp.__new__(Tcp)
        socket.host = self
        socket.tcb = tcp_open(&self.core.tcp, v6)
        socket.tcb.endpoint.owner = <void*>socket
        return socket

    def datagram(self, bint v6=False, bint report_errors=False):
        """An open UDP socket."""
        cdef Udp socket = Udp.__new__(Udp)
        socket.host = self
        socket.socket = datagram_open(&self.core.udp, 17, v6)
        socket.socket.endpoint.owner = <void*>socket
        socket.socket.endpoint.manners = MANNER_REPORT_ERRORS if report_errors else 0
        return socket

    def find(self, local, int local_port, remote, int remote_port):
        """A look at the TCB of a 4-tuple, or None. Not held: valid until the next entry."""
        cdef Addr ours = to_addr(local)
        cdef Addr theirs = to_addr(remote)
        cdef Tcb* tcb = connection_find(&self.core.tcp, &ours, local_port, &theirs, remote_port)
        if tcb == NULL:
            return None
        cdef Tcp view = Tcp.__new__(Tcp)
        view.host = self
        view.tcb = tcb
        return view

    @property
    def counters(self):
        return {name: self.core.context.counters[i] for i, name in enumerate(NAMES)
                if self.core.context.counters[i]}

    @property
    def live_packets(self):
        return self.core.context.slab.live

    @property
    def connections(self):
        """TCBs alive, listeners included."""
        return self.core.tcp.connection_count

    @property
    def metrics(self):
        """How many destinations are remembered."""
        return self.core.tcp.metrics.entries.count

    def remembered(self, Tcp socket):
        """What is remembered of a socket's destination; times in ns."""
        cdef Metrics* entry = metrics_find(&self.core.tcp, socket.tcb)
        if entry == NULL:
            return None
        return {"rtt": entry.rtt, "rttvar": entry.rttvar, "cwnd": entry.cwnd,
                "ssthresh": entry.ssthresh, "reordering": entry.reordering, "mss": entry.mss,
                "cookie": entry.cookie[:entry.cookie_length]}

    @property
    def time_wait(self):
        return self.core.tcp.time_wait.count


ctypedef struct LentBytes:
    Lender lender
    PyObject* owner


cdef void give_back(Lender* lender) noexcept nogil:
    with gil:
        lent = <Lent>(<LentBytes*>lender).owner
        lent.data = None
        Py_DECREF(lent)


cdef class Lent:
    """Bytes that are sent from where they lie."""

    cdef LentBytes loan
    cdef readonly bytes data

    def __init__(self, data):
        self.data = data
        self.loan.lender.repaid = give_back
        self.loan.lender.loans = 1
        self.loan.owner = <PyObject*>self
        Py_INCREF(self)


cdef class Tcp:
    """The calls on one TCB, and its insides by the RFC's names."""

    cdef readonly Host host
    cdef Tcb* tcb

    @property
    def identity(self):
        return <size_t>self.tcb

    def bind(self, address, int port):
        cdef Addr a = to_addr(address)
        core_enter(self.host.core, self.host.now)
        return check(tcp_bind(&self.host.core.tcp, self.tcb, &a, port))

    def listen(self, int backlog=16):
        core_enter(self.host.core, self.host.now)
        return check(tcp_listen(&self.host.core.tcp, self.tcb, backlog))

    def accept(self):
        cdef Tcb* child = tcp_accept(&self.host.core.tcp, self.tcb)
        if child == NULL:
            return None
        cdef Tcp socket = Tcp.__new__(Tcp)
        socket.host = self.host
        socket.tcb = child
        child.endpoint.owner = <void*>socket
        return socket

    def connect(self, address, int port):
        cdef Addr a = to_addr(address)
        core_enter(self.host.core, self.host.now)
        return check(tcp_connect(&self.host.core.tcp, self.tcb, &a, port))

    def fast_open(self, address, int port, bytes data):
        """How much of the data the SYN carries."""
        cdef Addr a = to_addr(address)
        core_enter(self.host.core, self.host.now)
        return check(tcp_fast_open(
            &self.host.core.tcp, self.tcb, &a, port, data, len(data)))

    def send(self, bytes data, bint more=False, bint urgent=False):
        core_enter(self.host.core, self.host.now)
        return check(tcp_send(&self.host.core.tcp, self.tcb, data, len(data), more, urgent, NULL))

    def lend(self, bytes data):
        """Send it from where it lies: (how much was taken, whose `data` is None when it may go)."""
        cdef Lent lent = Lent(data)
        core_enter(self.host.core, self.host.now)
        taken = check(tcp_send(
            &self.host.core.tcp, self.tcb, data, len(data), False, False, &lent.loan.lender))
        lender_repay(&lent.loan.lender)
        return taken, lent

    def receive(self, int length=65536, bint peek=False):
        cdef bytearray target = bytearray(length)
        core_enter(self.host.core, self.host.now)
        count = check(tcp_receive(&self.host.core.tcp, self.tcb, target, length, peek))
        return bytes(target[:count])

    def peek(self, int length, int offset):
        cdef bytearray target = bytearray(length)
        core_enter(self.host.core, self.host.now)
        count = check(tcp_peek(&self.host.core.tcp, self.tcb, target, length, offset))
        return bytes(target[:count])

    def shutdown(self, int how):
        core_enter(self.host.core, self.host.now)
        return check(tcp_shutdown(&self.host.core.tcp, self.tcb, how))

    def close(self):
        core_enter(self.host.core, self.host.now)
        tcp_close(&self.host.core.tcp, self.tcb)
        self.tcb = NULL

    def abort(self):
        core_enter(self.host.core, self.host.now)
        tcp_abort(&self.host.core.tcp, self.tcb)
        self.tcb = NULL

    def set_option(self, int level, int option, int64_t value):
        core_enter(self.host.core, self.host.now)
        return check(tcp_set_option(&self.host.core.tcp, self.tcb, level, option, value))

    def get_option(self, int level, int option):
        cdef int64_t value
        check(tcp_get_option(&self.host.core.tcp, self.tcb, level, option, &value))
        return value

    def poll(self):
        return tcp_poll(self.tcb)

    def reduce(self):
        """What a loss does to the window, without one."""
        tcb_wake(&self.host.core.tcp, self.tcb)
        congestion_reduce(&self.host.core.tcp, self.tcb, CONGESTION_LOSS)

    def undo(self):
        tcb_wake(&self.host.core.tcp, self.tcb)
        congestion_undo(&self.host.core.tcp, self.tcb)

    def cubic(self, name):
        """W_max in segments, K in seconds, is there a curve; None without any state."""
        if self.tcb.congestion.cubic == NULL:
            return None
        return {"w_max": self.tcb.congestion.cubic.curve.w_max,
                "cubic_k": self.tcb.congestion.cubic.curve.k / 1024.0,
                "in_epoch": bool(self.tcb.congestion.cubic.curve.in_epoch)}[name]

    @property
    def bbr(self):
        """What BBR knows and does; None for a connection that does not use it."""
        cdef const BbrState* bbr = self.tcb.rare.bbr
        if bbr == NULL:
            return None
        return SimpleNamespace(
            mode=("STARTUP", "DRAIN", "PROBE_BW", "PROBE_RTT")[bbr.mode], cycle=bbr.cycle,
            bandwidth=bbr.bandwidth.value[0], min_rtt=bbr.min_rtt, rounds=bbr.rounds,
            pacing_rate=bbr.pacing_rate, pacing_gain=<double>bbr.pacing_gain / BBR_UNIT,
            cwnd_gain=<double>bbr.cwnd_gain / BBR_UNIT, conserving=bool(bbr.conserving),
            policed=bbr.policed if bbr.policed_in_use else None,
            extra_acked=max(bbr.extra_acked[0], bbr.extra_acked[1]))

    def __getattr__(self, name):
        if self.tcb == NULL:
            raise AttributeError(f"{name}: the socket is closed")
        if name == "state":
            return STATES[self.tcb.state]
        if name == "port":
            return self.tcb.endpoint.key.local_port
        if name == "local":
            return str(ipaddress.ip_address(addr_v4(&self.tcb.endpoint.key.local)))
        if name == "error":
            return self.tcb.endpoint.error
        if name == "cwnd":
            return self.tcb.congestion.cwnd
        if name == "ssthresh":
            return self.tcb.congestion.ssthresh
        if name == "delivery_rate":
            return rate_of(self.tcb)
        if name in ("w_max", "cubic_k", "in_epoch"):
            return self.cubic(name)
        if name == "srtt":
            return self.tcb.rtt.srtt
        if name == "rttvar":
            return self.tcb.rtt.mdev * 1000 // 4
        if name == "rto":
            return self.tcb.rtt.rto
        if name == "backoff":
            return self.tcb.backoff
        if name == "searching":
            return self.tcb.rare.search != NULL
        if name == "busy":
            return self.tcb.busy.sent.count != 0 or self.tcb.busy.out_of_order.count != 0
        if name == "settings_id":
            return <size_t>self.tcb.settings
        if name == "awake":
            return tcb_is_awake(self.tcb)
        if name == "ring_memory":
            return self.tcb.busy.send_ring.capacity + self.tcb.busy.received.ring.capacity
        fields = {
            "iss": self.tcb.iss, "snd_una": self.tcb.snd_una, "snd_nxt": self.tcb.snd_nxt,
            "snd_wnd": self.tcb.snd_wnd, "irs": self.tcb.irs, "rcv_nxt": self.tcb.rcv_nxt,
            "rcv_edge": self.tcb.rcv_edge, "smss": self.tcb.smss,
            "packets_out": self.tcb.busy.packets_out, "sacked_out": self.tcb.busy.sacked_out,
            "lost_out": self.tcb.busy.lost_out, "retrans_out": self.tcb.busy.retrans_out,
            "ca_state": self.tcb.busy.ca_state, "recover": self.tcb.busy.recover,
            "app_limited": self.tcb.busy.app_limited,
            "rate_app_limited": bool(self.tcb.rate_app_limited),
            "reordering": self.tcb.reordering, "reordering_seen": self.tcb.rare.reordering_seen,
            "reo_wnd_steps": self.tcb.rack_steps, "reo_wnd_persist": self.tcb.rack_persist,
            "delivered": self.tcb.delivered, "lost": self.tcb.rare.lost,
            "total_retransmitted": self.tcb.rare.total_retransmitted,
            "min_rtt": self.tcb.rtt.min_us * 1000, "rack_rtt": self.tcb.busy.rack.rtt,
            "tail_probing": bool(self.tcb.busy.tail_probing), "frto": bool(self.tcb.busy.frto),
            "undo": bool(self.tcb.busy.undo),
            "undo_retransmitted": self.tcb.busy.undo_retransmitted,
            "prr_delivered": self.tcb.busy.prr_delivered, "prr_out": self.tcb.busy.prr_out,
            "user_timeout_ms": self.tcb.settings.user_timeout_ms,
            "retransmits": self.tcb.busy.retransmits, "snd_scale": self.tcb.snd_scale,
            "rcv_scale": self.tcb.rcv_scale, "sack_ok": bool(self.tcb.sack_ok),
            "timestamps_ok": bool(self.tcb.timestamps_ok), "ts_recent": self.tcb.ts_recent,
            "urgent_in": bool(self.tcb.urgent_in), "rcv_up": self.tcb.rcv_up,
            "retransmit_at": self.tcb.busy.retransmit_at, "ack_at": self.tcb.busy.ack_at,
            "other_at": self.tcb.other_at, "max_snd_wnd": self.tcb.max_snd_wnd,
        }
        try:
            return fields[name]
        except KeyError:
            raise AttributeError(name) from None


cdef class Udp:
    """The calls on one datagram socket; tests/native/udp.pyx shows more of it."""

    cdef Host host
    cdef Datagram* socket

    def bind(self, address, int port):
        cdef Addr a = to_addr(address)
        core_enter(self.host.core, self.host.now)
        return check(datagram_bind(&self.host.core.udp, self.socket, &a, port))

    def connect(self, address, int port):
        cdef Addr a = to_addr(address)
        core_enter(self.host.core, self.host.now)
        return check(datagram_connect(&self.host.core.udp, self.socket, &a, port))

    def send(self, bytes data, address, int port, int gso_size=0):
        cdef Addr a = to_addr(address)
        core_enter(self.host.core, self.host.now)
        return check(datagram_send(&self.host.core.udp, self.socket, &a, port, NULL,
                                   data, len(data), gso_size))

    def receive(self):
        """The oldest datagram, or None."""
        cdef DatagramInfo info
        cdef Packet* packet = datagram_take(self.socket, &info)
        if packet == NULL:
            return None
        data = packet.data[:packet.length]
        packet_free(&self.host.core.context.slab, packet)
        return data

    def take_error(self):
        """What the oldest error of the error queue quotes, or None."""
        cdef ErrorReport report
        cdef Packet* packet = error_queue_take(self.socket.endpoint.errors, &report)
        if packet == NULL:
            return None
        data = packet.data[:packet.length]
        packet_free(&self.host.core.context.slab, packet)
        return data

    def member(self, int call, group, source):
        """Join, leave, join and leave a source, block and unblock one: 1 to 6."""
        cdef Addr of = to_addr(group)
        cdef Addr sender = to_addr(source)
        core_enter(self.host.core, self.host.now)
        return check(multicast_call(&self.host.core.udp, self.socket, call, &of, &sender))

    def close(self):
        core_enter(self.host.core, self.host.now)
        datagram_close(&self.host.core.udp, self.socket)
        self.socket = NULL
