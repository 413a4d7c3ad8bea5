# Device: where a stack's packets come from and go to. Compiled devices override read and write,
# Python ones send and perhaps receive.
# Called by: the drivers in engine/ (read, write, attach, detach), applications (the rest).
# RFCs: none.

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.errno cimport EBADF, EBUSY, EIO
from libc.stdint cimport uint8_t, uint32_t
from libc.string cimport memcpy, memset
from pystack.core.memory.packet cimport (
    CSUM_VERIFIED,
    PACKET_MAX,
    Packet,
    PacketQueue,
    PacketSlab,
    packet_free,
    packet_pop,
    packet_queue_release,
    packet_total,
)
from pystack.device.inbox cimport (
    Notify,
    inbox_attach,
    inbox_clear,
    inbox_open,
    inbox_put,
    inbox_release,
    inbox_take,
    inbox_wake,
)
from pystack.device.segmentation cimport packet_segment


cdef int device_gone(PacketSlab* slab, PacketQueue* queue, int errno) noexcept nogil:
    """Free a queue that cannot be sent any more, and return -errno."""
    packet_queue_release(slab, queue)
    return -errno


cdef bytes packet_bytes(const Packet* packet):
    """The packet in one piece, borrowed bytes included."""
    cdef bytes whole = PyBytes_FromStringAndSize(NULL, packet_total(packet))
    cdef uint8_t* at = <uint8_t*>PyBytes_AS_STRING(whole)
    cdef int part
    memcpy(at, packet.data, packet.length)
    at += packet.length
    for part in range(2):
        if packet.borrowed_length[part]:
            memcpy(at, packet.borrowed[part], packet.borrowed_length[part])
            at += packet.borrowed_length[part]
    return whole


cdef class Device:
    """Where a stack's packets come from and go to.

    To carry packets by other means than pystack has, subclass it and define `send`. Packets that
    arrive are handed to `deliver`; or define `fileno` and `receive`, and the stack asks for them
    when the file is readable. Packets are bytes that begin with their IP header.
    """

    def __cinit__(self, *args, **kwargs):
        self.mtu = 1500
        self.batch_bytes = BATCH_BYTES
        self.poll_fd = -1
        self.name = type(self).__name__
        self.local_addresses = ()
        self.shard_count = 1
        if inbox_open(&self.inbox):
            raise MemoryError

    def __init__(self, mtu=1500):
        """mtu: length of the longest packet, 68 to 65535 bytes; from 1280 where IPv6 is used."""
        if not MTU_MIN <= mtu <= MTU_MAX:
            raise ValueError(f"mtu {mtu} is not within {MTU_MIN} and {MTU_MAX}")
        self.mtu = mtu

    def __dealloc__(self):
        inbox_release(&self.inbox)

    # For applications; none of these waits for a stack's lock.

    @property
    def dropped(self):
        """Packets that the device lost: its queue was full, or Python code raised an exception."""
        return self.lost + self.inbox.dropped

    @property
    def up(self):
        """Whether a stack is there to take what is delivered, and to send."""
        return self.attached and not self.closed

    def close(self):
        """End it. Closing again does nothing; a stack that still uses it finds it gone."""
        self.closed = True
        if self.attached:
            inbox_wake(&self.inbox)
        elif not self.released:
            self.released = True
            inbox_clear(&self.inbox)
            self.release()

    def __enter__(self):
        return self

    def __exit__(self, kind=None, problem=None, traceback=None):
        self.close()

    def __repr__(self):
        state = " closed" if self.closed else ""
        return f"<{type(self).__name__} {self.name!r} mtu={self.mtu}{state}>"

    def deliver(self, packets):
        """Hand over packets that have arrived, an iterable of bytes.

        From any thread, also within send. The stack takes them in when its driver runs next; what
        does not fit into the queue is dropped, and so is everything once the device is closed.
        """
        cdef Packet view
        cdef bytes packet
        if self.closed:
            return
        memset(&view, 0, sizeof(view))
        if self.trusted:
            view.csum = CSUM_VERIFIED
        for packet in packets:
            if not 0 < PyBytes_GET_SIZE(packet) <= PACKET_MAX:
                raise ValueError(f"a packet has 1 to {PACKET_MAX} bytes, not {len(packet)}")
            view.data = <uint8_t*>PyBytes_AS_STRING(packet)
            view.length = <uint32_t>PyBytes_GET_SIZE(packet)
            inbox_put(&self.inbox, &view)

    # For subclasses to override.

    def send(self, packets):
        """Carry packets away: a list of bytes, each a packet of at most MTU bytes, checksums whole.

        Called by the driver with the stack's lock and the GIL held: it must not call the stack, nor
        wait for something that does. What it raises is logged once, and the packets are lost.
        """
        raise NotImplementedError(f"{type(self).__name__} does not define send")

    def receive(self):
        """Return packets that have arrived, a list of bytes; empty if there are none now.

        Called by the driver with the GIL but without the stack's lock when fileno() is readable;
        must not block. OSError means that the device is gone, but BlockingIOError: nothing now.
        """
        raise NotImplementedError(f"{type(self).__name__} does not define receive")

    def fileno(self):
        """The file whose readability means that receive has something; -1 if packets are delivered.

        Called by the driver once, when it starts.
        """
        return -1

    def configure(self, networks):
        """Prepare the other side for the stack's networks, a sequence of ipaddress networks.

        Called by the stack before it starts, with the GIL and without its lock; sets
        local_addresses if the other side has any. What it raises ends the start of the stack.
        """
        for network in networks:
            if network.version == 6 and self.mtu < MTU_MIN_IPV6:
                raise ValueError(
                    f"IPv6 needs an MTU of at least {MTU_MIN_IPV6}, {self.name} has {self.mtu}"
                )

    # For the driver.

    cdef int attach(self, Notify notify, void* context) except -1:
        if self.closed:
            raise OSError(EBADF, f"pystack: device {self.name} is closed")
        if self.attached:
            raise OSError(EBUSY, f"pystack: device {self.name} carries another stack already")
        self.poll_fd = self.fileno()
        self.attached = True
        inbox_attach(&self.inbox, notify, context)
        return 0

    cdef int detach(self) except -1:
        inbox_attach(&self.inbox, NULL, NULL)
        self.attached = False
        if self.closed:
            self.close()
        return 0

    cdef void hand_on(self, PacketSlab* slab, PacketQueue* strays) noexcept nogil:
        if not self.next_shard.closed:
            inbox_put(&self.next_shard.inbox, strays.first)
        packet_queue_release(slab, strays)

    cdef int read(self, Packet** empty, int room) noexcept nogil:
        cdef int taken, error
        if self.closed:
            return -EBADF
        taken = inbox_take(&self.inbox, empty, room)
        if taken == room or self.poll_fd < 0:
            return taken
        with gil:
            error = self.pull()
        if error:
            return -error
        return taken + inbox_take(&self.inbox, empty + taken, room - taken)

    cdef int write(self, PacketSlab* slab, PacketQueue* queue) noexcept nogil:
        cdef PacketQueue pieces
        if self.closed:
            return device_gone(slab, queue, EBADF)
        memset(&pieces, 0, sizeof(pieces))
        while queue.first != NULL:
            if packet_segment(slab, packet_pop(queue), &pieces) < 0:
                self.lost += 1
        if pieces.first != NULL:
            with gil:
                self.push(slab, &pieces)
        return 0

    cdef int release(self) except -1:
        return 0

    cdef int pull(self) noexcept:
        """Move what receive returns into the inbox; 0, or the errno if the device is gone."""
        try:
            self.deliver(self.receive())
        except BlockingIOError:
            return 0
        except OSError as problem:
            return problem.errno or EIO
        except Exception as problem:
            self.lost += 1
            self.log_once("receive", problem)
        return 0

    cdef void push(self, PacketSlab* slab, PacketQueue* pieces) noexcept:
        """Give packets to the subclass's send, and free them."""
        cdef Packet* packet
        count = pieces.count
        try:
            packets = []
            while pieces.first != NULL:
                packet = packet_pop(pieces)
                try:
                    packets.append(packet_bytes(packet))
                finally:
                    packet_free(slab, packet)
            self.send(packets)
        except Exception as problem:
            packet_queue_release(slab, pieces)
            self.lost += count
            self.log_once("send", problem)

    cdef void log_once(self, str what, object problem):
        """Log an exception of a Python method with its traceback; later ones are only counted."""
        if self.logged:
            return
        self.logged = True
        import logging  # slow to import, and seldom needed

        logging.getLogger("pystack").error(
            "%s.%s of device %s failed; packets are lost, further failures are not logged",
            type(self).__name__, what, self.name, exc_info=problem,
        )


def join_shards(devices):
    """Let the stacks of these devices, not yet in use, be the shards of one: see pystack.Shards."""
    cdef Device device
    cdef size_t i
    if not 1 <= len(devices) <= SHARDS_MAX:
        raise ValueError(f"{len(devices)} devices: shards have 1 to {SHARDS_MAX}")
    for i, device in enumerate(devices):
        device.next_shard = devices[(i + 1) % len(devices)]
        device.shard_count = len(devices)
