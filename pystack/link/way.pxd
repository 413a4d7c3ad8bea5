# Way: one direction of a simulated wire.
# Called by: node (enqueue), world (act), pystack.link (the settings).
# RFCs: none; Gilbert 1960, Elliott 1963 (bursts of loss).

from libc.stdint cimport int64_t, uint32_t, uint64_t
from pystack.core.memory.packet cimport Packet, PacketQueue, PacketSlab
from pystack.core.memory.random cimport Random
from pystack.engine.world cimport Actor

cdef enum Fate:                 # what happens to a packet, as on_depart is told
    FATE_NONE = 0
    FATE_QUEUE_FULL = 1
    FATE_PARTITION = 2
    FATE_LOST = 3
    FATE_CORRUPTED = 4
    FATE_HELD_BACK = 5
    FATE_DUPLICATED = 6

cdef enum Effect:               # each has random numbers of its own: one more moves no other
    EFFECT_LOSS = 0
    EFFECT_JITTER = 1
    EFFECT_REORDER = 2
    EFFECT_DUPLICATE = 3
    EFFECT_CORRUPT = 4
    EFFECT_COUNT = 5

ctypedef struct WaySettings:    # changed at any time
    int64_t delay               # ns
    int64_t jitter              # ns: the delay varies by up to so much, packets stay in order
    int64_t reorder_by          # ns that a packet is held back to be overtaken
    double rate                 # bit/s; 0: no limit
    uint64_t queue_packets      # that wait for the wire, the one that is being sent aside
    uint64_t queue_bytes
    uint64_t mark               # packets in the queue from which on ECN says so; 0: never
    double loss_good            # chance of loss in either state, and of leaving it
    double loss_bad
    double good_to_bad
    double bad_to_good
    double reorder
    double duplicate
    double corrupt
    uint32_t mtu
    bint black_hole             # what is too long for the wire vanishes without an error

# What the ways of one network share.
cdef class Ether:
    cdef PacketSlab slab

# Where a way leads to.
cdef class Receiver:
    # Takes a packet out of the ether's slab; port: what the receiver calls the wire.
    # more: others arrive at this instant.
    cdef void arrive(self, Packet* packet, int port, bint more) noexcept nogil

cdef class Way(Actor):
    cdef readonly str name
    cdef Ether ether
    cdef Receiver receiver          # at the far end; None: not connected yet
    cdef int port                   # what it calls this wire
    cdef WaySettings settings
    cdef Random[<int>EFFECT_COUNT] random
    cdef bint bad                   # state of the Gilbert-Elliott model
    cdef readonly bint cut          # partitioned
    cdef readonly bint held
    cdef PacketQueue waiting
    cdef uint64_t waiting_bytes
    cdef Packet* sending            # NULL: the wire is free
    cdef int64_t sent_at            # when its last bit is on the wire
    cdef PacketQueue flying         # in order of arrival
    cdef int64_t last_arrival       # of those
    cdef PacketQueue late           # held back, in order of arrival
    cdef uint64_t held_bytes
    cdef object depart_tap          # called with (packet, time_ns, what happens to it or None)
    cdef public object on_arrive
    cdef object filter              # called with a packet; False: it is lost
    cdef readonly uint64_t packets  # that were put in, what is too long aside
    cdef readonly uint64_t delivered
    cdef readonly uint64_t delivered_bytes
    cdef readonly uint64_t lost     # by chance, by the filter
    cdef readonly uint64_t overflowed
    cdef readonly uint64_t partitioned
    cdef readonly uint64_t too_long
    cdef readonly uint64_t corrupted
    cdef readonly uint64_t duplicated
    cdef readonly uint64_t reordered
    cdef readonly uint64_t marked
    cdef readonly uint64_t longest_queue
    # Takes a packet out of the network's slab.
    cdef void enqueue(self, Packet* packet) noexcept nogil
    cdef void catch_up(self) noexcept nogil
    cdef void transmit(self, Packet* packet, int64_t now) noexcept nogil
    cdef void depart(self, Packet* packet, int64_t now) noexcept nogil
    cdef void fly(self, Packet* packet, int64_t arrival, bint late) noexcept nogil
    cdef PacketQueue* first_to_arrive(self) noexcept nogil
    cdef void arrive(self) noexcept nogil
    cdef void set_due(self) noexcept nogil
    cdef bint chance(self, Effect effect, double probability) noexcept nogil
    cdef bint is_lost(self, Packet* packet) noexcept nogil
    cdef bint passes_filter(self, Packet* packet) noexcept with gil
    cdef void refuse(self, Packet* packet) noexcept nogil
    cdef void drop(self, Packet* packet) noexcept nogil
    cdef void tell_departure(self, Packet* packet, Fate fate) noexcept with gil
    cdef void tell_arrival(self, Packet* packet) noexcept with gil
