# Way: one direction of a simulated wire.
# Called by: node (enqueue), world (act), pystack.link (the settings).
# RFCs: none; Gilbert 1960, Elliott 1963 (bursts of loss).
#
# A packet waits in the queue until the wire is free, is put on it bit by bit, and then flies. What
# happens to it there is decided when its last bit has left, so lost packets have used the wire too.
# Nobody needs to know just then, as long as nothing can arrive before what flies already: so most
# packets leave in the sight of the next one (catch_up), and take one event, their arrival.

from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset
from pystack.core.memory.packet cimport (
    CSUM_FULL,
    PACKET_MAX,
    Packet,
    PacketQueue,
    PacketSlab,
    packet_free,
    packet_new,
    packet_pop,
    packet_push,
    packet_queue_release,
    packet_slab_release,
)
from pystack.core.memory.random cimport random_init, random_next
from pystack.core.wire.bytes cimport load16, store16
from pystack.core.wire.checksum cimport csum_update16
from pystack.device.segmentation cimport packet_complete_checksum
from pystack.engine.clock cimport NEVER
from pystack.engine.world cimport Actor, World

cdef extern from *:
    """
    #ifdef __GNUC__
    #define PREFETCH(where) __builtin_prefetch(where)
    #else
    #define PREFETCH(where) ((void)(where))
    #endif
    """
    void prefetch "PREFETCH" (const void* where) noexcept nogil

cdef enum:
    SECOND = 1_000_000_000
    HELD_LIMIT = 64 << 20       # bytes of packets that fly or are held; more is lost
    ECN_CE = 3

# By the numbers of Fate.
cdef tuple FATES = (
    None, "queue full", "partition", "lost", "corrupted", "held back", "duplicated")


cdef inline int64_t* arrival_of(Packet* packet) noexcept nogil:
    """A packet's own note: when it arrives."""
    return <int64_t*>packet.control


cdef Packet* copy_of(PacketSlab* slab, const Packet* packet) noexcept nogil:
    """NULL: there is no memory."""
    cdef Packet* copy = packet_new(slab, packet.length)
    if copy == NULL:
        return NULL
    memcpy(copy.data, packet.data, packet.length)
    copy.length = packet.length
    copy.csum = packet.csum
    copy.csum_start = packet.csum_start
    copy.csum_offset = packet.csum_offset
    return copy


cdef bint mark_congestion(Packet* packet) noexcept nogil:
    """Set CE if the packet is of an ECN-capable transport (RFC 3168 section 5)."""
    cdef uint8_t* ip = packet.data
    cdef uint16_t word
    if ip[0] >> 4 == 4:
        if not ip[1] & ECN_CE:
            return False
        word = load16(ip)
        ip[1] |= ECN_CE
        store16(ip + 10, csum_update16(load16(ip + 10), word, load16(ip)))
    else:
        if not ip[1] >> 4 & ECN_CE:
            return False
        ip[1] |= ECN_CE << 4
    return True


cdef bytes octets(PacketSlab* slab, Packet* packet):
    # It cannot fail: of a partial checksum packet_cut has seen that it is within the packet.
    packet_complete_checksum(slab, packet)
    return PyBytes_FromStringAndSize(<char*>packet.data, packet.length)


cdef class Ether:
    """The memory for packets on the wires of one network."""

    def __dealloc__(self):
        packet_slab_release(&self.slab)

    @property
    def live_packets(self):
        return self.slab.live


cdef class Receiver:
    """Where a way leads to."""

    cdef void arrive(self, Packet* packet, int port, bint more) noexcept nogil:
        pass


cdef class Way(Actor):
    """One direction of a wire; its settings change with `set`."""

    def __cinit__(
        self, World world, Ether ether, str name, uint64_t seed_high, uint64_t seed_low
    ):
        cdef uint64_t[2] seed = [seed_high, seed_low]
        cdef int effect
        world.add(self)
        self.name = name
        self.ether = ether
        for effect in range(<int>EFFECT_COUNT):
            seed[1] = seed_low + <uint64_t>effect
            random_init(&self.random[effect], seed)
        memset(&self.settings, 0, sizeof(self.settings))

    def connect(self, Receiver receiver, int port):
        """Say where it leads to; port: what is there calls it so."""
        self.receiver = receiver
        self.port = port

    # What an application may do, at any time.

    def set(self, **changes):
        """Change settings by the names in WaySettings, or what packets are asked about: filter."""
        cdef WaySettings* s = &self.settings
        self.catch_up()
        if "delay" in changes:
            s.delay = changes["delay"]
        if "jitter" in changes:
            s.jitter = changes["jitter"]
        if "reorder_by" in changes:
            s.reorder_by = changes["reorder_by"]
        if "rate" in changes:
            s.rate = changes["rate"]
        if "queue_packets" in changes:
            s.queue_packets = changes["queue_packets"]
        if "queue_bytes" in changes:
            s.queue_bytes = changes["queue_bytes"]
        if "mark" in changes:
            s.mark = changes["mark"]
        if "loss" in changes:
            s.loss_good, s.loss_bad, s.good_to_bad, s.bad_to_good = changes["loss"]
        if "reorder" in changes:
            s.reorder = changes["reorder"]
        if "duplicate" in changes:
            s.duplicate = changes["duplicate"]
        if "corrupt" in changes:
            s.corrupt = changes["corrupt"]
        if "mtu" in changes:
            s.mtu = changes["mtu"]
        if "black_hole" in changes:
            s.black_hole = changes["black_hole"]
        if "filter" in changes:
            self.filter = changes["filter"]
        self.set_due()

    @property
    def on_depart(self):
        return self.depart_tap

    @on_depart.setter
    def on_depart(self, tap):
        self.catch_up()
        self.depart_tap = tap
        self.set_due()

    def inject(self, bytes data):
        """Put a packet, or nonsense, on the wire as if its sender had."""
        cdef Packet* packet
        if len(data) > PACKET_MAX:
            raise ValueError(f"a packet has up to {PACKET_MAX} bytes, not {len(data)}")
        packet = packet_new(&self.ether.slab, <uint32_t>len(data))
        if packet == NULL:
            raise MemoryError
        memcpy(packet.data, <const char*>data, len(data))
        packet.length = <uint32_t>len(data)
        self.enqueue(packet)

    def partition(self):
        """Lose everything from now on, what is on its way included."""
        self.catch_up()
        self.cut = True

    def heal(self):
        self.catch_up()
        self.cut = False

    def hold(self):
        """Let nothing arrive from now on; nothing is lost."""
        self.held = True
        self.set_due()

    def release(self):
        """Let everything arrive that was held, in its order."""
        self.held = False
        self.set_due()

    @property
    def mtu(self):
        """0: no limit."""
        return self.settings.mtu

    @property
    def queued(self):
        """Packets that wait for the wire."""
        self.catch_up()
        return self.waiting.count

    @property
    def flying_packets(self):
        self.catch_up()
        return self.flying.count + self.late.count + (self.sending != NULL)

    def settle(self):
        """Bring the counters up to date."""
        self.catch_up()

    def close(self):
        """Free all that is on it."""
        packet_queue_release(&self.ether.slab, &self.waiting)
        packet_queue_release(&self.ether.slab, &self.flying)
        packet_queue_release(&self.ether.slab, &self.late)
        if self.sending != NULL:
            packet_free(&self.ether.slab, self.sending)
            self.sending = NULL
        self.depart_tap = self.on_arrive = self.filter = None
        self.due(NEVER)

    # A packet's way.

    cdef void enqueue(self, Packet* packet) noexcept nogil:
        """Put a packet on the wire, or into the queue, or drop it because that is full."""
        self.packets += 1
        self.catch_up()
        if self.sending == NULL:
            self.transmit(packet, self.world.now)
            self.set_due()
            return
        if (self.waiting.count >= self.settings.queue_packets
                or self.waiting_bytes + packet.length > self.settings.queue_bytes):
            self.overflowed += 1
            if self.depart_tap is not None:
                self.tell_departure(packet, FATE_QUEUE_FULL)
            self.drop(packet)
            return
        if self.settings.mark and self.waiting.count >= self.settings.mark:
            self.marked += mark_congestion(packet)
        packet_push(&self.waiting, packet)
        self.waiting_bytes += packet.length
        self.longest_queue = max(self.longest_queue, <uint64_t>self.waiting.count)

    cdef void transmit(self, Packet* packet, int64_t now) noexcept nogil:
        """The wire is free: begin to put a packet on it."""
        if self.settings.rate <= 0:
            self.depart(packet, now)
            return
        self.sending = packet
        self.sent_at = now + <int64_t>(packet.length * 8 * <double>SECOND / self.settings.rate)

    cdef void catch_up(self) noexcept nogil:
        """Let all leave that has left by now, each in its time."""
        cdef Packet* packet = self.sending
        while packet != NULL and self.sent_at <= self.world.now:
            self.sending = NULL
            self.depart(packet, self.sent_at)
            while self.sending == NULL and self.waiting.first != NULL:
                packet = packet_pop(&self.waiting)
                self.waiting_bytes -= packet.length
                self.transmit(packet, self.sent_at)
            packet = self.sending

    cdef int act(self) except -1:
        """Something has left, or arrives."""
        self.catch_up()
        self.arrive()
        self.set_due()
        return 0

    cdef void set_due(self) noexcept nogil:
        cdef int64_t when = NEVER
        if not self.held:
            if self.flying.first != NULL:
                when = arrival_of(self.flying.first)[0]
            if self.late.first != NULL:
                when = min(when, arrival_of(self.late.first)[0])
        if self.sending != NULL and (
                self.depart_tap is not None or self.filter is not None
                or when > self.sent_at + max(self.settings.delay - self.settings.jitter, 0)):
            when = min(when, self.sent_at)
        self.due(max(when, self.world.now))

    cdef void depart(self, Packet* packet, int64_t now) noexcept nogil:
        """The last bit has left: what happens to it on its way?"""
        cdef WaySettings* s = &self.settings
        cdef int64_t arrival = now + s.delay
        cdef Packet* copy = NULL
        cdef Fate fate = FATE_NONE
        cdef bint late
        cdef bint corrupted
        if self.cut:
            self.partitioned += 1
            fate = FATE_PARTITION
        elif self.is_lost(packet):
            self.lost += 1
            fate = FATE_LOST
        if fate != FATE_NONE:
            if self.depart_tap is not None:
                self.tell_departure(packet, fate)
            self.drop(packet)
            return
        if s.jitter:
            arrival += <int64_t>(
                (random_next(&self.random[<int>EFFECT_JITTER]) >> 11) * (2.0 * s.jitter) / 2.0**53)
            arrival = max(arrival - s.jitter, now)
        corrupted = self.chance(EFFECT_CORRUPT, s.corrupt)
        if corrupted:
            self.corrupted += 1
            fate = FATE_CORRUPTED
        late = self.chance(EFFECT_REORDER, s.reorder)
        if late:
            self.reordered += 1
            arrival += s.reorder_by
            fate = FATE_HELD_BACK
        if self.chance(EFFECT_DUPLICATE, s.duplicate):
            self.duplicated += 1
            copy = copy_of(&self.ether.slab, packet)
            fate = FATE_DUPLICATED
        if self.depart_tap is not None:
            self.tell_departure(packet, fate)
        if corrupted:
            spoil(&self.ether.slab, packet, random_next(&self.random[<int>EFFECT_CORRUPT]))
        self.fly(packet, arrival, late)
        if copy != NULL:
            self.fly(copy, arrival, late)

    cdef bint chance(self, Effect effect, double probability) noexcept nogil:
        """Whether it happens this time."""
        if probability <= 0:
            return False
        return (random_next(&self.random[<int>effect]) >> 11) / 2.0**53 < probability

    cdef bint is_lost(self, Packet* packet) noexcept nogil:
        cdef WaySettings* s = &self.settings
        if s.good_to_bad > 0:
            if self.chance(EFFECT_LOSS, s.bad_to_good if self.bad else s.good_to_bad):
                self.bad = not self.bad
        else:
            self.bad = False
        if self.chance(EFFECT_LOSS, s.loss_bad if self.bad else s.loss_good):
            return True
        return self.filter is not None and not self.passes_filter(packet)

    cdef void fly(self, Packet* packet, int64_t arrival, bint late) noexcept nogil:
        cdef Packet** at
        if self.held_bytes + packet.capacity > HELD_LIMIT:
            self.overflowed += 1
            self.drop(packet)
            return
        self.held_bytes += packet.capacity
        if not late:
            self.last_arrival = arrival = max(arrival, self.last_arrival)
            arrival_of(packet)[0] = arrival
            packet_push(&self.flying, packet)
            return
        arrival_of(packet)[0] = arrival
        at = &self.late.first
        while at[0] != NULL and arrival_of(at[0])[0] <= arrival:
            at = &at[0].next
        packet.next = at[0]
        at[0] = packet
        self.late.count += 1
        if packet.next == NULL:
            self.late.last = packet

    cdef PacketQueue* first_to_arrive(self) noexcept nogil:
        """The queue whose first packet has arrived by now; NULL: none has."""
        cdef PacketQueue* queue = &self.flying
        if self.late.first != NULL and (
                queue.first == NULL
                or arrival_of(self.late.first)[0] < arrival_of(queue.first)[0]):
            queue = &self.late
        if self.held or queue.first == NULL or arrival_of(queue.first)[0] > self.world.now:
            return NULL
        return queue

    cdef void arrive(self) noexcept nogil:
        """Deliver what has arrived by now."""
        cdef Packet* packet
        cdef PacketQueue* queue = self.first_to_arrive()
        while queue != NULL:
            packet = packet_pop(queue)
            if queue.first != NULL:         # much else has been in the cache since they were sent
                prefetch(queue.first.data)
                prefetch(queue.first.next)
            queue = self.first_to_arrive()
            self.held_bytes -= packet.capacity
            if self.cut:
                self.partitioned += 1
                self.drop(packet)
                continue
            self.delivered += 1
            self.delivered_bytes += packet.length
            if self.on_arrive is not None:
                self.tell_arrival(packet)
            self.receiver.arrive(packet, self.port, queue != NULL)

    cdef void refuse(self, Packet* packet) noexcept nogil:
        """It is too long for the wire."""
        self.too_long += 1
        self.drop(packet)

    cdef void drop(self, Packet* packet) noexcept nogil:
        packet_free(&self.ether.slab, packet)

    # What is asked and told. An exception is raised where the network's user waits next: who sends
    # just now has done no wrong.

    cdef bint passes_filter(self, Packet* packet) noexcept with gil:
        try:
            return self.filter(octets(&self.ether.slab, packet))
        except BaseException as problem:
            self.world.fail(problem)
        return False

    cdef void tell_departure(self, Packet* packet, Fate fate) noexcept with gil:
        try:
            self.depart_tap(octets(&self.ether.slab, packet), self.world.now, FATES[<int>fate])
        except BaseException as problem:
            self.world.fail(problem)

    cdef void tell_arrival(self, Packet* packet) noexcept with gil:
        try:
            self.on_arrive(octets(&self.ether.slab, packet), self.world.now, None)
        except BaseException as problem:
            self.world.fail(problem)


cdef void spoil(PacketSlab* slab, Packet* packet, uint64_t where) noexcept nogil:
    """Turn over one bit, so that whoever receives it has to look at the checksums."""
    cdef uint32_t bit = <uint32_t>(where % (<uint64_t>packet.length * 8))
    packet_complete_checksum(slab, packet)
    packet.data[bit >> 3] ^= 1 << (bit & 7)
    packet.csum = CSUM_FULL
