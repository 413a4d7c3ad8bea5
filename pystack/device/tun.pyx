# TunDevice: packets to and from the Linux kernel, by a TUN interface with a virtio-net header.
# Called by: the drivers in engine/ (read, write), applications (the rest).
# RFCs: none.

from libc.errno cimport (
    EAGAIN,
    EBADF,
    EBADFD,
    EINTR,
    EINVAL,
    ENODEV,
    ENXIO,
    EOPNOTSUPP,
    errno,
)
from libc.stdint cimport uint8_t, uint32_t
from libc.string cimport memset
from posix.uio cimport iovec
from posix.unistd cimport close as os_close
from pystack.core.context cimport (
    FEATURE_CSUM,
    FEATURE_TSO4,
    FEATURE_TSO6,
    FEATURE_USO4,
    FEATURE_USO6,
)
from pystack.core.memory.check cimport check
from pystack.core.memory.packet cimport (
    CSUM_FULL,
    CSUM_PARTIAL,
    GSO_NONE,
    GSO_TCP4,
    GSO_TCP6,
    GSO_UDP4,
    PACKET_MAX,
    Packet,
    PacketQueue,
    PacketSlab,
    packet_free,
    packet_headroom,
    packet_pop,
)
from pystack.device.base cimport SHARDS_MAX, Device, device_gone
from pystack.device.inbox cimport inbox_take
from pystack.device.segmentation cimport packet_segment
from pystack.device.tun_open cimport (
    tun_attach,
    tun_attach_queue,
    tun_inspect,
    tun_open,
    tun_set_offloads,
)
from pystack.device.uring cimport (
    URING_ENTRIES,
    uring_close,
    uring_open,
    uring_read,
    uring_submit,
    uring_writev,
)
from pystack.device.virtio cimport VirtioHeader, virtio_read, virtio_write

from pystack.device import addressing

cdef extern from *:
    """
    #include <sys/syscall.h>
    #include <sys/uio.h>
    #include <unistd.h>
    /* As read(2) and its kin, but no points at which a thread can be cancelled: in a process with
       threads that costs two locked instructions each, of which nobody here has any use. */
    #define tun_read(fd, data, length) syscall(SYS_read, fd, data, length)
    #define tun_write(fd, data, length) syscall(SYS_write, fd, data, length)
    #define tun_writev(fd, parts, count) syscall(SYS_writev, fd, parts, count)
    """
    ssize_t tun_read(int fd, void* data, size_t length) nogil
    ssize_t tun_write(int fd, const void* data, size_t length) nogil
    ssize_t tun_writev(int fd, const iovec* parts, int count) nogil

OFFLOADS = {
    "csum": FEATURE_CSUM,
    "tso4": FEATURE_TSO4,
    "tso6": FEATURE_TSO6,
    "uso4": FEATURE_USO4,
    "uso6": FEATURE_USO6,
}

cdef enum:
    # Without trains, 32 segments of an Ethernet. The ACK of a batch lets the sender send as much
    # again. If that is more, a sender of this machine mostly sleeps, and all that it has to do for
    # each packet is done in our call that writes the ACK, instead of on another CPU.
    BATCH_BYTES_PLAIN = 48 << 10
    TOGETHER_LEAST = 3          # by one call; for two packets, two cost the same
    PARTS_MAX = 3               # a packet with its header, and what it borrows
    FEATURE_ALL = FEATURE_CSUM | FEATURE_TSO4 | FEATURE_TSO6 | FEATURE_USO4 | FEATURE_USO6


cdef uint32_t features_from(object offloads) except *:
    """DeviceFeature bits of True, False, or names such as "csum,tso4"."""
    cdef uint32_t features = 0
    if isinstance(offloads, bool):
        return FEATURE_ALL if offloads else 0
    for name in filter(None, offloads.split(",")):
        if name not in OFFLOADS:
            raise ValueError(f"offload {name!r}: not one of {', '.join(OFFLOADS)}")
        features |= OFFLOADS[name]
    if features and not features & FEATURE_CSUM:
        raise ValueError(f"offloads {offloads!r}: the others need csum")
    return features


cdef inline uint32_t feature_of(uint8_t gso) noexcept nogil:
    """The DeviceFeature bit that a train needs."""
    if gso == GSO_TCP4:
        return FEATURE_TSO4
    if gso == GSO_TCP6:
        return FEATURE_TSO6
    return FEATURE_USO4 if gso == GSO_UDP4 else FEATURE_USO6


cdef inline bint is_gone(int problem) noexcept nogil:
    """The interface was deleted or the file closed; anything else concerns one packet."""
    return problem == EBADFD or problem == EBADF or problem == ENODEV or problem == ENXIO


cdef int open_queue(TunDevice first) except -1:
    """One more file of its interface."""
    cdef int fd = tun_open()
    try:
        tun_attach_queue(fd, first.name, first.header_size != 0)
    except BaseException:
        os_close(fd)
        raise
    return fd


cdef class TunDevice(Device):
    """A TUN interface of Linux: the stack at one end, the kernel at the other.

    The interface, its addresses and its routes vanish when the device is closed and when the
    process ends, however it ends. Needs CAP_NET_ADMIN, but for a persistent interface that root
    has made for this user, and in the namespace of `pystack run`.
    """

    def __cinit__(self, *args, **kwargs):
        self.fd = -1
        self.without_gil = True

    def __init__(
        self,
        name="pystack%d",
        *,
        mtu=None,
        host_addresses=None,
        offloads=True,
        fd=None,
        configure=True,
        multi_queue=False,
        io_uring=True,
    ):
        """Make an interface, or use one that exists.

        name: %d stands for the first free number. If a persistent TUN interface has the name, that
            one is used, and its configuration left to who made it.
        mtu: 68 to 65535; by default 1500, or what a persistent interface has.
        host_addresses: the kernel's addresses; by default the first one of each network.
        offloads: what the kernel may leave undone, and trains it takes: "csum,tso4,tso6,uso4,uso6"
            or some of these; True: all that it can; False: none, and no virtio-net header.
        fd: an open TUN interface, wherever it came from; belongs to the device from now on.
        configure: False: leave addresses, routes, MTU and link state alone.
        multi_queue: an interface that can have several queues, of which this is one; see queues.
        io_uring: False: one system call for each packet, also where the kernel permits to read or
            write several by one.

        OSError: EPERM, EBUSY if the name is taken, ENOENT if there is no /dev/net/tun, and others;
        ValueError.
        """
        cdef uint32_t features = features_from(offloads)
        Device.__init__(self, 1500 if mtu is None else mtu)
        self.host_addresses = addressing.parse_host_addresses(host_addresses)
        try:
            if fd is None:
                self.fd = tun_open()
                self.name, self.ours = tun_attach(
                    self.fd, name, offloads is not False, multi_queue)
            else:
                self.fd = fd
            self.name, self.header_size = tun_inspect(self.fd)
            self.may_configure = configure and fd is None
            if self.header_size:
                self.features = tun_set_offloads(self.fd, features)
            if not self.features & (FEATURE_TSO4 | FEATURE_TSO6):
                self.batch_bytes = BATCH_BYTES_PLAIN
            if mtu is None and fd is None and not self.ours:
                from pystack.device import netlink  # slow to import

                self.mtu = netlink.mtu_of(self.name)
        except BaseException:
            self.closed = True
            if fd is None:
                self.release()
            self.fd = -1  # a given one remains its giver's
            raise
        if io_uring and uring_open(&self.reads) == 0:
            uring_open(&self.writes)

    def __dealloc__(self):
        uring_close(&self.reads)
        uring_close(&self.writes)
        if self.fd >= 0:
            os_close(self.fd)

    @classmethod
    def queues(
        cls,
        number,
        name="pystack%d",
        *,
        mtu=None,
        host_addresses=None,
        offloads=True,
        configure=True,
        io_uring=True,
    ):
        """A device for each of `number` queues (1 to 256) of one interface, for pystack.Shards.

        Linux spreads flows over the queues, and the packets of a flow come by the one by which its
        answers leave. The others: as for one device. A persistent interface must have been made
        with multi_queue. The interface vanishes with the last one; the first configures it.
        """
        cdef TunDevice first, other
        if not 1 <= number <= SHARDS_MAX:
            raise ValueError(f"{number} queues: an interface has 1 to {SHARDS_MAX}")
        how = {"host_addresses": host_addresses, "offloads": offloads, "io_uring": io_uring}
        first = cls(name, mtu=mtu, configure=configure, multi_queue=number > 1, **how)
        devices = [first]
        try:
            while len(devices) < number:
                other = cls(fd=open_queue(first), mtu=first.mtu, **how)
                other.first = first
                devices.append(other)
        except BaseException:
            for device in devices:
                device.close()
            raise
        return devices

    def fileno(self):
        """The file of the interface; -1 when it is closed."""
        return self.fd

    def configure(self, networks):
        """Route the networks to the interface; its addresses become local_addresses.

        FileExistsError if one of them is in use on this machine already; OSError.
        """
        Device.configure(self, networks)
        if self.first is not None:
            self.local_addresses = self.first.local_addresses
            return
        plan = addressing.plan(networks, self.host_addresses)
        self.local_addresses = plan.local_addresses
        if not self.may_configure:
            return
        from pystack.device import netlink  # slow to import

        if self.ours:
            netlink.check_networks(networks)
            netlink.configure(self.name, self.mtu, plan)
        else:
            self.local_addresses = netlink.check_ready(self.name, self.mtu, plan)

    cdef int release(self) except -1:
        cdef int fd = self.fd
        self.fd = -1
        uring_close(&self.reads)
        uring_close(&self.writes)
        if fd >= 0:
            os_close(fd)
        return 0

    cdef int read(self, Packet** empty, int room) noexcept nogil:
        cdef int filled = 0, first, i, outcome
        cdef bint together
        if self.closed:
            return -EBADF
        if self.next_shard is not None:
            filled = inbox_take(&self.inbox, empty, room)
        first = filled
        together = (self.behind and self.reads.requests != NULL
                    and TOGETHER_LEAST <= room - first <= URING_ENTRIES)
        if together:
            for i in range(first, room):
                uring_read(
                    &self.reads, self.fd, empty[i].data - self.header_size,
                    self.header_size + PACKET_MAX)
            uring_submit(&self.reads)
        for i in range(first, room):
            outcome = self.take(
                empty[i], self.reads.results[i - first] if together else self.read_now(empty[i]))
            if outcome == 0:
                empty[filled], empty[i] = empty[i], empty[filled]
                filled += 1
            elif outcome == -EAGAIN:
                if not together:
                    break
            elif outcome == -EOPNOTSUPP:
                uring_close(&self.reads)
            elif is_gone(-outcome):
                return filled if filled else outcome
            elif outcome != -EINTR:
                self.lost += 1
        self.behind = filled == room
        return filled

    cdef ssize_t read_now(self, Packet* packet) noexcept nogil:
        """What read(2) returns, or a negative errno."""
        cdef ssize_t got = tun_read(
            self.fd, packet.data - self.header_size, self.header_size + PACKET_MAX)
        return -errno if got < 0 else got

    cdef int take(self, Packet* packet, ssize_t got) noexcept nogil:
        """Make a packet of what a read has returned; 0 or a negative errno."""
        if got < 0:
            return <int>got
        if got <= self.header_size:
            return -EINVAL
        packet.length = <uint32_t>(got - self.header_size)
        if self.header_size == 0:
            packet.csum = CSUM_FULL
            packet.gso = GSO_NONE
            return 0
        if virtio_read(<VirtioHeader*>(packet.data - self.header_size), packet) < 0:
            return -EINVAL
        return 0

    cdef int write(self, PacketSlab* slab, PacketQueue* queue) noexcept nogil:
        cdef PacketQueue pieces
        cdef int problem = 0
        if self.closed:
            return device_gone(slab, queue, EBADF)
        memset(&pieces, 0, sizeof(pieces))
        while queue.first != NULL and not problem:
            if self.takes(queue.first):
                problem = self.write_some(slab, queue)
                continue
            if packet_segment(slab, packet_pop(queue), &pieces) < 0:
                self.lost += 1
            while pieces.first != NULL:
                problem = self.write_some(slab, &pieces)
        return device_gone(slab, queue, problem) if problem else 0

    cdef bint takes(self, const Packet* packet) noexcept nogil:
        """The kernel will cut this train, if it is one, and complete its checksum."""
        if packet.gso != GSO_NONE:
            return self.features & feature_of(packet.gso) != 0
        return packet.csum != CSUM_PARTIAL or self.features & FEATURE_CSUM

    cdef int write_some(self, PacketSlab* slab, PacketQueue* queue) noexcept nogil:
        """Write one or several packets from the head of a queue, as long as the kernel takes them
        as they are; 0, or the errno if the device is gone.

        What it does not take otherwise (the interface is down, no memory) is lost, as on any link.
        """
        cdef Packet* packets[URING_ENTRIES]
        cdef iovec[URING_ENTRIES][PARTS_MAX] parts
        cdef int[URING_ENTRIES] part_counts
        cdef bint together = queue.count >= TOGETHER_LEAST and self.writes.requests != NULL
        cdef int most = URING_ENTRIES if together else 1
        cdef int count = 0, problem = 0, i
        cdef ssize_t wrote
        while count < most and queue.first != NULL and self.takes(queue.first):
            packets[count] = packet_pop(queue)
            part_counts[count] = self.gather(packets[count], parts[count])
            if part_counts[count] == 0:
                self.lost += 1
                packet_free(slab, packets[count])
                continue
            if together:
                uring_writev(&self.writes, self.fd, parts[count], part_counts[count])
            count += 1
        if together:
            uring_submit(&self.writes)
        for i in range(count):
            if together and self.writes.results[i] == -EOPNOTSUPP:
                together = False
                uring_close(&self.writes)
            wrote = (self.writes.results[i] if together
                     else self.write_now(parts[i], part_counts[i]))
            if wrote < 0:
                self.lost += 1
                if is_gone(<int>-wrote):
                    problem = <int>-wrote
            packet_free(slab, packets[i])
        return problem

    cdef int gather(self, Packet* packet, iovec* parts) noexcept nogil:
        """In how many parts a packet lies, and where; 0 if its metadata is wrong.

        The virtio-net header goes into the packet's headroom: write(2) of one stretch costs less
        than writev(2) of two, and most packets borrow nothing.
        """
        cdef uint8_t* start = packet.data - self.header_size
        cdef int count = 1, part
        check(packet_headroom(packet) >= self.header_size)  # HEADER_SIZE_MAX says so
        if self.header_size:
            memset(start, 0, self.header_size)
            if virtio_write(<VirtioHeader*>start, packet) < 0:
                return 0
        parts[0].iov_base = start
        parts[0].iov_len = self.header_size + packet.length
        for part in range(PARTS_MAX - 1):
            if packet.borrowed_length[part]:
                parts[count].iov_base = <void*>packet.borrowed[part]
                parts[count].iov_len = packet.borrowed_length[part]
                count += 1
        return count

    cdef ssize_t write_now(self, const iovec* parts, int count) noexcept nogil:
        """What write(2) returns, or a negative errno."""
        cdef ssize_t wrote
        if count == 1:
            wrote = tun_write(self.fd, parts.iov_base, parts.iov_len)
        else:
            wrote = tun_writev(self.fd, parts, count)
        return -errno if wrote < 0 else wrote
