# Two stacks in virtual time with a wire between them, for what is said of one of them: `near`.
# Called by: instructions, crowd.
# RFCs: none.

from libc.stddef cimport size_t
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset
from pystack.core.ip.networks cimport ip_add_network
from pystack.core.memory.packet cimport (
    GSO_NONE, Packet, packet_free, packet_new, packet_pop, packet_total,
)
from pystack.core.stack cimport (
    CoreConfig, core_abort_all, core_advance, core_deadline, core_default_config, core_enter,
    core_free, core_input, core_new, core_take_ready, core_take_tx,
)
from pystack.core.tcp.calls cimport tcp_close, tcp_connect, tcp_open
from pystack.core.tcp.transfer cimport tcp_receive, tcp_send
from pystack.core.udp.datagram cimport datagram_close, datagram_connect, datagram_open
from pystack.core.wire.address cimport Addr, addr_from_v4
from pystack.device.segmentation cimport packet_complete_checksum

cdef extern from *:
    """
    #if defined(__clang__)
    #define KEPT __attribute__((noinline))
    #elif defined(__GNUC__)
    #define KEPT __attribute__((noipa))
    #else
    #define KEPT
    #endif
    static volatile int parts;

    /* callgrind is told to collect below this function only (--toggle-collect). */
    static KEPT void counted_call(void (*work)(void *), void *argument)
    {
        work(argument);
        parts = parts;      /* so that it is a call, not a jump */
    }

    /* callgrind writes what it has collected whenever this is called (--dump-before). */
    static KEPT void counted_part(void)
    {
        parts = parts + 1;
    }
    """
    void counted_call(void (*work)(void*) noexcept nogil, void* argument) nogil
    void counted_part() nogil

cdef enum:
    PREFIX_LENGTH = 96 + 24


cdef void take_in(void* argument) noexcept nogil:
    cdef Side* side = <Side*>argument
    core_input(side.core, side.packet, side.now)


cdef void settle(void* argument) noexcept nogil:
    """What a driver does after a batch of packets, or a caller after a call."""
    cdef Side* side = <Side*>argument
    cdef int events
    core_advance(side.core, side.now)
    core_take_tx(side.core, &side.out)
    while core_take_ready(side.core, &events) != NULL:
        pass
    core_deadline(side.core)


cdef void send(void* argument) noexcept nogil:
    cdef Side* side = <Side*>argument
    core_enter(side.core, side.now)
    side.result = tcp_send(
        &side.core.tcp, side.tcb, side.buffer, side.length, False, False, NULL)


cdef void receive(void* argument) noexcept nogil:
    cdef Side* side = <Side*>argument
    core_enter(side.core, side.now)
    side.result = tcp_receive(&side.core.tcp, side.tcb, side.buffer, side.length, False)


cdef Packet* handed_over(Side* source, Side* target, Packet* packet) noexcept:
    """What leaves one side, as it comes to the other."""
    cdef Packet* copy
    cdef uint8_t* end
    cdef int i
    if packet.gso == GSO_NONE:
        packet = packet_complete_checksum(&source.core.context.slab, packet)
    if packet == NULL:
        return NULL
    copy = packet_new(&target.core.context.slab, packet_total(packet))
    if copy != NULL:
        copy.length = packet_total(packet)
        copy.gso, copy.gso_size = packet.gso, packet.gso_size
        copy.csum = packet.csum
        copy.csum_start, copy.csum_offset = packet.csum_start, packet.csum_offset
        memcpy(copy.data, packet.data, packet.length)
        end = copy.data + packet.length
        for i in range(2):
            if packet.borrowed_length[i]:
                memcpy(end, packet.borrowed[i], packet.borrowed_length[i])
                end += packet.borrowed_length[i]
    packet_free(&source.core.context.slab, packet)
    return copy


cdef int64_t check(int64_t result) except -1:
    if result < 0:
        raise OSError(-result, "core")
    return result


cdef void counted(Work work, void* argument) noexcept nogil:
    counted_call(work, argument)


cdef void end_part() noexcept nogil:
    counted_part()


cdef class Pair:
    """Two stacks; callgrind sees what the calls of `near` do, apart from all else."""

    def __cinit__(self):
        memset(self.buffer, 0, TRAIN)
        self.now = 1_000_000_000
        self.begin_side(&self.near, NEAR, 1)
        self.begin_side(&self.far, FAR, 2)

    def __dealloc__(self):
        self.end_side(&self.near)
        self.end_side(&self.far)

    cdef begin_side(self, Side* side, uint32_t address, uint64_t seed):
        cdef CoreConfig config
        cdef Addr network = addr_from_v4(address & 0xFFFFFF00)
        core_default_config(&config)
        config.seed[0] = config.seed[1] = seed
        side.core = core_new(&config, self.now)
        if side.core == NULL:
            raise MemoryError
        side.buffer = self.buffer
        check(ip_add_network(&side.core.ip, &network, PREFIX_LENGTH))

    cdef void end_side(self, Side* side) noexcept:
        if side.core == NULL:
            return
        core_abort_all(side.core)
        self.close(side)
        if side.socket != NULL:
            datagram_close(&side.core.udp, side.socket)
        core_free(side.core)

    cdef void close(self, Side* side) noexcept:
        if side.tcb != NULL:
            side.tcb.endpoint.owner = NULL
            tcp_close(&side.core.tcp, side.tcb)
        side.tcb = NULL

    cdef int64_t call(self, Side* side, Work work, size_t length=0) except -1:
        side.now = self.now
        side.length = length
        side.result = 0
        if side == &self.near:
            counted_call(work, side)
        else:
            work(side)
        return check(side.result)

    cdef bint carry(self, Side* source, Side* target) except -1:
        """What one side has to send, to the other; False when that was nothing."""
        cdef Packet* packet
        cdef bint something
        self.call(source, settle)
        self.now += FLIGHT_NS
        packet = packet_pop(&source.out)
        something = packet != NULL
        while packet != NULL:
            target.packet = handed_over(source, target, packet)
            if target.packet == NULL:
                raise MemoryError
            self.call(target, take_in)
            packet = packet_pop(&source.out)
        return something

    cdef bint round_trip(self) except -1:
        """First what the far side has to say, then what the near one answers."""
        cdef bint something = self.carry(&self.far, &self.near)
        return self.carry(&self.near, &self.far) or something

    cdef connect(self, Side* side, int port, int which=0):
        """To one of the other side's addresses."""
        cdef Addr target = addr_from_v4((FAR if side == &self.near else NEAR) + which)
        side.tcb = tcp_open(&side.core.tcp, False)
        if side.tcb == NULL:
            raise MemoryError
        side.tcb.endpoint.owner = <void*>self
        core_enter(side.core, self.now)
        check(tcp_connect(&side.core.tcp, side.tcb, &target, <uint16_t>port))

    cdef connect_datagrams(self, int protocol, int port):
        cdef Addr target = addr_from_v4(NEAR)
        self.far.socket = datagram_open(&self.far.core.udp, <uint8_t>protocol, False)
        if self.far.socket == NULL:
            raise MemoryError
        check(datagram_connect(&self.far.core.udp, self.far.socket, &target, <uint16_t>port))

    cdef settled(self):
        while self.round_trip():
            pass
