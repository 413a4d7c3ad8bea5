# Opening TUN: /dev/net/tun, interfaces by name, offloads, and errors that say what to do.
# Called by: tun.
# RFCs: none.

from libc.errno cimport EACCES, EBUSY, EINVAL, ENODEV, ENOENT, ENXIO, EPERM, errno
from libc.stdint cimport uint32_t
from libc.string cimport memcpy, memset
from posix.fcntl cimport (
    F_GETFD,
    F_GETFL,
    F_SETFD,
    F_SETFL,
    FD_CLOEXEC,
    O_CLOEXEC,
    O_NONBLOCK,
    O_RDWR,
    fcntl,
    open,
)
from pystack.core.context cimport (
    FEATURE_CSUM,
    FEATURE_TSO4,
    FEATURE_TSO6,
    FEATURE_USO4,
    FEATURE_USO6,
)
from pystack.device.virtio cimport VIRTIO_HEADER_SIZE

import os

cdef extern from *:
    """
    #include <net/if.h>
    #include <sys/ioctl.h>
    #include <linux/if_tun.h>
    #ifndef TUN_F_USO4  /* Linux 6.2 */
    #define TUN_F_USO4 0x20
    #define TUN_F_USO6 0x40
    #endif
    """
    enum:
        IFNAMSIZ
        IFF_TUN
        IFF_NO_PI
        IFF_PERSIST
        IFF_VNET_HDR
        IFF_TUN_EXCL
        IFF_MULTI_QUEUE
        TUN_F_CSUM
        TUN_F_TSO4
        TUN_F_TSO6
        TUN_F_USO4
        TUN_F_USO6
    # These are computed from the direction bits of the architecture.
    unsigned long TUNSETIFF
    unsigned long TUNGETIFF
    unsigned long TUNSETOFFLOAD
    unsigned long TUNGETVNETHDRSZ
    unsigned long TUNSETVNETHDRSZ
    struct ifreq:
        char* ifr_name
        short ifr_flags
    int ioctl(int fd, unsigned long request, ...) nogil

cdef enum:
    FEATURE_TSO = FEATURE_TSO4 | FEATURE_TSO6
    FEATURE_USO = FEATURE_USO4 | FEATURE_USO6


cdef int tun_open() except -1:
    """Open /dev/net/tun, without an interface yet."""
    cdef int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC)
    if fd >= 0:
        return fd
    problem = errno
    if problem in (ENOENT, ENXIO, ENODEV):
        raise OSError(
            problem,
            "pystack: there is no /dev/net/tun. Load the kernel's module with `modprobe tun`; "
            "into a container, pass it with `--device /dev/net/tun`",
        )
    if problem in (EACCES, EPERM):
        raise OSError(
            problem,
            "pystack: cannot open /dev/net/tun: permission denied. Run as root, or let everybody "
            "open it, as most systems do: `sudo chmod 0666 /dev/net/tun`",
        )
    raise OSError(problem, f"pystack: cannot open /dev/net/tun: {os.strerror(problem)}")


cdef int set_interface(int fd, bytes name, int flags):
    """TUNSETIFF; 0 or the errno. The name that it became is asked for by tun_inspect."""
    cdef ifreq request
    memset(&request, 0, sizeof(request))
    memcpy(request.ifr_name, <const char*>name, len(name))
    request.ifr_flags = <short>flags
    return 0 if ioctl(fd, TUNSETIFF, &request) == 0 else errno


cdef inline int flags_of(bint with_header, bint multi_queue) noexcept:
    cdef int flags = IFF_TUN | IFF_NO_PI
    if with_header:
        flags |= IFF_VNET_HDR
    if multi_queue:
        flags |= IFF_MULTI_QUEUE
    return flags


cdef tuple tun_attach(int fd, str name, bint with_header, bint multi_queue):
    """Give fd an interface; return its name and whether it was made now."""
    cdef int flags = flags_of(with_header, multi_queue)
    cdef int problem
    cdef bint made
    encoded = checked_name(name)
    problem = set_interface(fd, encoded, flags | IFF_TUN_EXCL)
    made = problem != EBUSY
    if not made:  # it exists: ours to use if somebody made it persistent, and nobody uses it
        problem = set_interface(fd, encoded, flags)
    if problem == EINVAL and not made:
        check_queues(fd, name, encoded, flags)
    if problem == 0 and not made and not is_persistent(fd):
        problem = EBUSY  # this is one more queue beside those of its owner
    if problem:
        raise OSError(problem, "pystack: " + why_not(name, problem, made))
    if with_header:
        tun_set_header_size(fd, VIRTIO_HEADER_SIZE)
    return tun_inspect(fd)[0], made


cdef int tun_attach_queue(int fd, str name, bint with_header) except -1:
    problem = set_interface(fd, os.fsencode(name), flags_of(with_header, True))
    if problem:
        raise OSError(
            problem, f"pystack: cannot make a queue of interface {name}: {os.strerror(problem)}"
        )
    return 0


cdef bint is_persistent(int fd) except -1:
    """Whether the interface outlives its files: somebody made it for others to use."""
    return interface_of(fd).ifr_flags & IFF_PERSIST != 0


cdef int check_queues(int fd, str name, bytes encoded, int flags) except -1:
    """An interface that these flags do not fit: perhaps the opposite of multi_queue does."""
    if set_interface(fd, encoded, flags ^ IFF_MULTI_QUEUE) not in (0, EBUSY):
        return 0
    if flags & IFF_MULTI_QUEUE:
        raise OSError(EINVAL, f"pystack: interface {name} has one queue, for one worker. Make it "
                      "with multi_queue, or choose another name")
    raise OSError(EINVAL, f"pystack: interface {name} was made with multi_queue, for several "
                  "workers. Make it without, or choose another name")


cdef bytes checked_name(str name):
    """The name as bytes, if the kernel would take it; else ValueError."""
    encoded = os.fsencode(name)
    if not 0 < len(encoded) < IFNAMSIZ:
        raise ValueError(f"interface name {name!r}: must have 1 to {IFNAMSIZ - 1} characters")
    template = name.replace("%d", "", 1)
    if template in (".", "..") or any(one in "/:%\0" or one.isspace() for one in template):
        raise ValueError(
            f"interface name {name!r}: no spaces, no '/' or ':'; '%d' once, for a number"
        )
    return encoded


cdef str why_not(str name, int problem, bint would_be_made):
    """One sentence on why TUNSETIFF failed, and one on what to do."""
    if problem == EPERM and would_be_made:
        return (
            f"cannot make interface {name}: that needs CAP_NET_ADMIN. Run as root, use "
            "`pystack run` or `--rootless`, or have root make one that is yours: "
            f"`sudo ip tuntap add dev {name.replace('%d', '0')} mode tun user {os.getuid()}`"
        )
    if problem == EPERM:
        return f"interface {name} belongs to another user. Choose another name"
    if problem == EBUSY:
        return f"interface {name} is in use by another program. Choose another name"
    if problem == EINVAL and not would_be_made:
        return f"interface {name} exists, and is not a TUN interface. Choose another name"
    return f"cannot make interface {name}: {os.strerror(problem)}"


cdef ifreq interface_of(int fd) except *:
    """TUNGETIFF: its name and flags. OSError."""
    cdef ifreq request
    memset(&request, 0, sizeof(request))
    if ioctl(fd, TUNGETIFF, &request) != 0:
        raise OSError(errno, f"pystack: file {fd} is not an open TUN interface")
    return request


cdef tuple tun_inspect(int fd):
    """Return the interface's name and the size of its header; make fd non-blocking."""
    cdef ifreq request = interface_of(fd)
    cdef int size = 0
    name = os.fsdecode(<bytes>request.ifr_name)
    if not request.ifr_flags & IFF_TUN or not request.ifr_flags & IFF_NO_PI:
        raise OSError(
            EINVAL,
            f"pystack: cannot use interface {name}: it must have been opened with IFF_TUN (no "
            "Ethernet) and IFF_NO_PI (no protocol bytes before each packet)",
        )
    if request.ifr_flags & IFF_VNET_HDR:
        size = header_size_of(fd, name)
    fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK)
    fcntl(fd, F_SETFD, fcntl(fd, F_GETFD) | FD_CLOEXEC)
    return name, size


cdef int header_size_of(int fd, str name) except -1:
    cdef int size = 0
    if ioctl(fd, TUNGETVNETHDRSZ, &size) != 0:
        raise OSError(errno, f"pystack: {name} does not tell the size of its virtio-net header")
    if not VIRTIO_HEADER_SIZE <= size <= HEADER_SIZE_MAX:
        raise OSError(EINVAL, f"pystack: {name} has a virtio-net header of {size} bytes")
    return size


cdef int tun_set_header_size(int fd, int size) except -1:
    if ioctl(fd, TUNSETVNETHDRSZ, &size) != 0:
        raise OSError(errno, f"pystack: TUNSETVNETHDRSZ: {os.strerror(errno)}")
    return 0


cdef unsigned long tun_offloads(uint32_t features):
    """DeviceFeature bits as TUN_F_ bits."""
    cdef unsigned long bits = 0
    if features & FEATURE_CSUM:
        bits |= TUN_F_CSUM
    if features & FEATURE_TSO4:
        bits |= TUN_F_TSO4
    if features & FEATURE_TSO6:
        bits |= TUN_F_TSO6
    if features & FEATURE_USO4:
        bits |= TUN_F_USO4
    if features & FEATURE_USO6:
        bits |= TUN_F_USO6
    return bits


cdef uint32_t tun_set_offloads(int fd, uint32_t features):
    """Offer features to the kernel, fewer and fewer until it accepts; return which.

    A kernel that hands out a kind of train also takes it: one set serves both directions. USO
    came with Linux 6.2, and only for both families at once.
    """
    for given_up in (0, FEATURE_USO, FEATURE_USO | FEATURE_TSO):
        accepted = features & ~<uint32_t>given_up
        if ioctl(fd, TUNSETOFFLOAD, tun_offloads(accepted)) == 0:
            return accepted
    ioctl(fd, TUNSETOFFLOAD, <unsigned long>0)
    return 0
