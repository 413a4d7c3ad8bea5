# The core's contract: packets in, time forward, packets out, who became ready. One Core is one
# stack.
# Called by: the drivers in engine/, one caller at a time (they hold the lock). Never calls anything
# above it.
# RFCs: none of its own.

from libc.stdint cimport int64_t, uint32_t, uint64_t
from pystack.core.context cimport Context
from pystack.core.endpoint cimport Endpoint
from pystack.core.ip.layer cimport IpLayer
from pystack.core.memory.packet cimport Packet, PacketQueue
from pystack.core.tcp.config cimport TcpConfig
from pystack.core.tcp.layer cimport TcpLayer
from pystack.core.udp.layer cimport UdpLayer

ctypedef struct CoreConfig:
    uint64_t seed[2]            # the only source of randomness
    uint32_t mtu
    uint32_t max_train          # 0: no trains are handed to the device
    uint32_t other_shards       # on the queues of the same device; see core_take_strays
    TcpConfig tcp

ctypedef struct Core:
    Context context
    IpLayer ip
    UdpLayer udp
    TcpLayer tcp

cdef void core_default_config(CoreConfig* config) noexcept nogil
# NULL: out of memory.
cdef Core* core_new(const CoreConfig* config, int64_t now) noexcept nogil
# Endpoints still held must have been closed or aborted; everything else is freed, nothing is sent.
cdef void core_free(Core* core) noexcept nogil
# Every entry starts with the time, ns, never going back: socket calls are preceded by core_enter.
cdef void core_enter(Core* core, int64_t now) noexcept nogil
# Takes the packet, whose buffer may have come from packet_new(&core.context.slab, ...).
cdef void core_input(Core* core, Packet* packet, int64_t now) noexcept nogil
# Fire what is due.
cdef void core_advance(Core* core, int64_t now) noexcept nogil
# When core_advance wants to be called next: ns, DEADLINE_NEVER if there is nothing to wait for.
cdef int64_t core_deadline(const Core* core) noexcept nogil
# Finish what the calls and inputs since last time have set in motion (output once per batch,
# loop-back, native services) and move all packets for the device to `out`. Their borrowed bytes
# are valid until the core is next entered.
cdef void core_take_tx(Core* core, PacketQueue* out) noexcept nogil
# The packets that another shard is to look at, as they came; after core_take_tx.
cdef void core_take_strays(Core* core, PacketQueue* out) noexcept nogil
# The next endpoint with an owner that became ready, its events in *events; NULL: none left. Call
# after core_take_tx.
cdef Endpoint* core_take_ready(Core* core, int* events) noexcept nogil
# An endpoint that this stack answers by itself, at every address: TCP and UDP. 0 or a negative
# errno.
cdef int core_serve(Core* core, int service, int protocol, int port) noexcept nogil
# Reset every connection and close every listener, held or not: RSTs are left for core_take_tx;
# holders see READY_ERROR
# (ECONNABORTED) and still have to tcp_close what they hold.
cdef void core_abort_all(Core* core) noexcept nogil
