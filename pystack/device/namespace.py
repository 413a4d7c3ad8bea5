"""A command in a network namespace of its own, its TUN interface's files out here. Linux only.

Called by: cli (`pystack run`, `serve --rootless`), probe, and the harness of tests/interop.
RFCs: none.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import pickle
import select
import signal
import socket
import struct
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NoReturn, Protocol

CLONE_NEWUSER = 0x10000000
CLONE_NEWNET = 0x40000000

SIOCGIFFLAGS, SIOCSIFFLAGS = 0x8913, 0x8914
IFF_UP = 1

CAP_NET_BIND_SERVICE, CAP_NET_ADMIN, CAP_NET_RAW = 10, 12, 13
CAPABILITY_VERSION = 0x20080522
PR_SET_PDEATHSIG = 1
FILES_MAX = 253  # SCM_MAX_FD of Linux: with one message
PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE = 47, 2

# Passed on to the command; what a terminal sends, the command gets from the terminal itself.
FORWARDED = (
    signal.SIGTERM,
    signal.SIGHUP,
    signal.SIGINT,
    signal.SIGQUIT,
    signal.SIGUSR1,
    signal.SIGUSR2,
)
FROM_TERMINAL = (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP)

# sysctls that keep ordinary users from making namespaces: path, value that does so, remedy.
OBSTACLES = (
    (
        "/proc/sys/kernel/apparmor_restrict_unprivileged_userns",
        "1",
        "sudo sysctl kernel.apparmor_restrict_unprivileged_userns=0",
    ),
    (
        "/proc/sys/kernel/unprivileged_userns_clone",
        "0",
        "sudo sysctl kernel.unprivileged_userns_clone=1",
    ),
    ("/proc/sys/user/max_user_namespaces", "0", "sudo sysctl user.max_user_namespaces=10000"),
)

libc = ctypes.CDLL(None, use_errno=True)


class NamespaceError(OSError):
    """This machine does not let us make a namespace; the text says what would."""


class Tun(Protocol):
    """What make_tuns returns several of: a TunDevice, for a queue."""

    def fileno(self) -> int: ...


class Child:
    """A process in a namespace of its own; it waits until start lets it become the command."""

    def __init__(self, pid: int, fds: list[int], control: socket.socket) -> None:
        self.pid = pid
        self.fds = fds  # of the TUN interface in the namespace, by queue; the caller's
        self._control = control
        self._status: int | None = None

    def start(self) -> None:
        """Let it run the command; FileNotFoundError or PermissionError if that is not possible."""
        with self._control:
            self._control.send(b"go")
            receive(self._control)  # nothing but the end of the connection if the command runs

    def wait(self, noted: Callable[[], int] = lambda: 0) -> int:
        """Wait for the command to end; return its exit status, 128 + n if signal n ended it.

        In the main thread, signals to us are passed on to the command meanwhile; and the one that
        `noted` returns, 0 for none, when from then on they are.
        """
        if threading.current_thread() is threading.main_thread():
            with wakeups(*FORWARDED, signal.SIGCHLD) as signals:
                if number := noted():
                    os.kill(self.pid, number)
                while not self._ended():
                    self._forward(signals())
        else:
            self._ended(block=True)
        assert self._status is not None
        return self._status

    def close(self) -> None:
        """End the process if it still runs."""
        self._control.close()
        if not self._ended():
            os.kill(self.pid, signal.SIGKILL)
            self._ended(block=True)

    def __enter__(self) -> Child:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _ended(self, block: bool = False) -> bool:
        if self._status is None:
            pid, status = os.waitpid(self.pid, 0 if block else os.WNOHANG)
            if pid:
                code = os.waitstatus_to_exitcode(status)
                self._status = code if code >= 0 else 128 - code
        return self._status is not None

    def _forward(self, signals: bytes) -> None:
        for number in signals:
            if number == signal.SIGCHLD or (number in FROM_TERMINAL and in_foreground()):
                continue
            os.kill(self.pid, number)


def spawn_in_namespace(command: Sequence[str], make_tuns: Callable[[], Sequence[Tun]]) -> Child:
    """Start a process in a new network namespace, as root or not, and get its TUN interface.

    make_tuns runs in the namespace, with the capabilities to make and configure interfaces.
    NamespaceError, or what make_tuns raises if that is an OSError or ValueError.
    """
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid == 0:
        ours.close()
        become_command(theirs, command, make_tuns)
    theirs.close()
    try:
        fds = receive(ours)
        if not fds:
            raise NamespaceError(errno.EIO, "pystack: the process in the namespace died")
    except BaseException:
        ours.close()
        os.waitpid(pid, 0)
        raise
    return Child(pid, fds, ours)


def become_command(
    control: socket.socket, command: Sequence[str], make_tuns: Callable[[], Sequence[Tun]]
) -> NoReturn:
    """The child's part. The control connection closes when the command is executed."""
    try:
        enter_new_namespace()
        tuns = make_tuns()
        socket.send_fds(control, [b"tun"], [tun.fileno() for tun in tuns])
        if control.recv(8):
            execute(command)
    except BaseException as problem:
        with suppress(OSError):
            control.send(pickle.dumps(portable(problem)))
    finally:
        os._exit(127)


def execute(command: Sequence[str]) -> NoReturn:
    """Become the command, which ends when our parent does."""
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    for ignored_by_python in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(ignored_by_python, signal.SIG_DFL)
    try:
        os.execvp(command[0], [*command])
    except OSError as problem:
        raise OSError(problem.errno, os.strerror(problem.errno or 0), command[0]) from None


def portable(problem: BaseException) -> BaseException:
    """The exception, or one that says the same and can be pickled for the parent."""
    if isinstance(problem, NamespaceError):
        return NamespaceError(*problem.args)
    if isinstance(problem, OSError):
        file = () if problem.filename is None else (problem.filename,)
        return OSError(problem.errno, problem.strerror, *file)
    if isinstance(problem, ValueError):
        return ValueError(str(problem))
    return RuntimeError(f"{type(problem).__name__}: {problem}")


def receive(control: socket.socket) -> list[int]:
    """Take the child's next message: files, or an exception, which is raised; [] if it closed."""
    message, fds, _, _ = socket.recv_fds(control, 65536, FILES_MAX)
    if message and not fds:
        raise pickle.loads(message)
    return fds


def enter_new_namespace(as_root: bool = False) -> None:
    """Move this process, which must have one thread only, into a network namespace with `lo` up.

    Where that needs it, into a user namespace too: in it we are still ourselves, and what we
    execute may configure the network; or we are root. NamespaceError.
    """
    if os.geteuid() == 0 and unshare(CLONE_NEWNET) == 0:
        bring_up("lo")
        return
    uid, gid = os.geteuid(), os.getegid()
    failure = unshare(CLONE_NEWUSER | CLONE_NEWNET)
    if failure:
        raise NamespaceError(failure, f"pystack: cannot make a user namespace: {why_not(failure)}")
    try:
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"{0 if as_root else uid} {uid} 1")
        Path("/proc/self/gid_map").write_text(f"{0 if as_root else gid} {gid} 1")
        bring_up("lo")
        keep_capabilities()
    except OSError as problem:
        number = problem.errno or errno.EPERM
        raise NamespaceError(
            number, f"pystack: this machine makes user namespaces useless: {why_not(number)}"
        ) from problem


def unshare(flags: int) -> int:
    """0 or the errno. os.unshare came with Python 3.12 only."""
    return 0 if libc.unshare(flags) == 0 else ctypes.get_errno()


def why_not(number: int) -> str:
    """What keeps us from making a namespace, and what to do."""
    for path, value, remedy in OBSTACLES:
        with suppress(OSError):
            if Path(path).read_text().strip() == value:
                return f"{Path(path).name} is {value}. Run as root, or: `{remedy}`"
    return f"{os.strerror(number)}. Run as root, or where containers may nest"


def bring_up(interface: str) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        request = struct.pack("16sH22x", interface.encode(), 0)
        flags = struct.unpack_from("H", fcntl.ioctl(any_socket, SIOCGIFFLAGS, request), 16)[0]
        request = struct.pack("16sH22x", interface.encode(), flags | IFF_UP)
        fcntl.ioctl(any_socket, SIOCSIFFLAGS, request)


def keep_capabilities() -> None:
    """Let the programs that we execute as an ordinary user ping, capture and configure, too."""
    wanted = (CAP_NET_BIND_SERVICE, CAP_NET_ADMIN, CAP_NET_RAW)
    header = (ctypes.c_uint32 * 2)(CAPABILITY_VERSION, 0)
    sets = (ctypes.c_uint32 * 6)()  # effective, permitted, inheritable of capabilities 0..31; 32..
    check(libc.capget(header, sets))
    for capability in wanted:
        sets[2] |= 1 << capability
    check(libc.capset(header, sets))
    for capability in wanted:
        check(libc.prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, capability, 0, 0))


def check(result: int) -> None:
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def in_foreground() -> bool:
    """We are in the foreground of a terminal: what is typed there signals the command as well."""
    try:
        with open("/dev/tty") as terminal:
            return os.tcgetpgrp(terminal.fileno()) == os.getpgrp()
    except OSError:
        return False


@contextmanager
def wakeups(*numbers: signal.Signals) -> Iterator[Callable[[], bytes]]:
    """Catch signals; gives a function that waits for some and returns their numbers.

    Each is caught here or by the handler before, never by both. What wakes is a pipe, since a
    signal may reach another thread, and then interrupts no call of this one.
    """
    caught = bytearray()
    reader, writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    previous = {
        number: signal.signal(number, lambda number, _: caught.append(number)) for number in numbers
    }
    previous_fd = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    waiter = select.poll()  # select() does not know the many files of many workers
    waiter.register(reader, select.POLLIN)

    def wait() -> bytes:
        while not caught:
            waiter.poll()
            os.read(reader, 256)
        numbers = bytes(caught)
        del caught[: len(numbers)]
        return numbers

    try:
        yield wait
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(previous_fd)
        os.close(reader)
        os.close(writer)
