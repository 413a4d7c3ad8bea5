"""Every socket option, with values of every kind: set and got as the kernel does.

What differs, and why, is in DIFFERENT; docs/reference/socket-options.md says so to users.
"""

from __future__ import annotations

import errno
import socket
import sys
from collections.abc import Callable

import pytest

from pystack import Stack, sockopt

KINDS = {
    "tcp4": (socket.AF_INET, socket.SOCK_STREAM),
    "tcp6": (socket.AF_INET6, socket.SOCK_STREAM),
    "udp4": (socket.AF_INET, socket.SOCK_DGRAM),
    "udp6": (socket.AF_INET6, socket.SOCK_DGRAM),
}
NUMBERS = (0, 1, 2, 3, 4, -1, -5, 64, 88, 255, 256, 1000, 8000, 32767, 32768, 65535, 65536)
NUMBERS += (200_001, 1 << 20, 0x7FFFFFFF)
STRUCTS = (b"", b"\1", b"\1\0", b"\1\0\0\0\0\0\0\0", bytes(16))

MULTICAST = "groups: test_socket_multicast"
NOT_OF_STREAMS = "Linux keeps it for streams too, where it has no effect"
NOT_OF_DATAGRAMS = "Linux keeps it for datagrams too, where it has no effect"
# Name -> (kinds, of which values, why). Kinds by their beginning; values None: all.
DIFFERENT: dict[str, tuple[str, tuple[object, ...] | None, str]] = {
    "SO_SNDBUF": ("", None, "the default is the stack's; datagrams are not queued for sending"),
    "SO_RCVBUF": ("", (None, -1, -5, 0x7FFFFFFF), "the limits are the stack's"),
    "SO_OOBINLINE": ("", None, "urgent data is always in line (RFC 6093)"),
    "SO_NO_CHECK": ("tcp", None, NOT_OF_STREAMS),
    "IP_MSFILTER": ("tcp", None, MULTICAST),
    "SO_KEEPALIVE": ("udp", None, NOT_OF_DATAGRAMS),
    "SO_LINGER": ("udp", None, NOT_OF_DATAGRAMS),
    "SO_RCVLOWAT": ("udp", None, NOT_OF_DATAGRAMS),
    "SO_MAX_PACING_RATE": ("udp", None, NOT_OF_DATAGRAMS),
    "SO_BUF_LOCK": ("udp", None, NOT_OF_DATAGRAMS),
    "TCP_CONGESTION": ("tcp", None, "the default is the stack's"),
    "TCP_CC_INFO": ("tcp", None, "of the algorithm, which is another one"),
    "TCP_FASTOPEN_KEY": ("tcp", None, "Linux has no key before somebody sets or needs one"),
    "TCP_TIMESTAMP": ("tcp", None, "a clock"),
    "TCP_NOTSENT_LOWAT": ("tcp", (-1,), "no limit is told as 0, the default"),
    "TCP_RTO_MAX_MS": ("tcp", (32767, 65535), "Linux rounds to its ticks"),
    "TCP_RTO_MIN_US": ("tcp", None, "Linux rounds to its ticks, and takes two at least"),
    "TCP_DELACK_MAX_US": ("tcp", None, "Linux rounds to its ticks, and takes two at least"),
    "IP_MTU_DISCOVER": ("", (3, 4), "packets beyond the path MTU are not sent on purpose"),
    "IPV6_MTU_DISCOVER": ("", (3, 4), "packets beyond the path MTU are not sent on purpose"),
    "IPV6_MTU": ("", None, "the path says it; it cannot be set"),
    "IPV6_UNICAST_HOPS": ("", (0, bytes(16)), "0 hops are refused, as IP_TTL refuses them"),
    "IPV6_HOPLIMIT": ("", STRUCTS, "of control messages only: an error all the same"),
    "IPV6_PKTINFO": ("", None, "of control messages only: an error all the same"),
    "IP_PKTINFO": ("tcp", None, NOT_OF_STREAMS),
    "IP_RECVTTL": ("tcp", None, NOT_OF_STREAMS),
    "IP_RECVTOS": ("tcp", None, NOT_OF_STREAMS),
    "IPV6_RECVPKTINFO": ("tcp", None, NOT_OF_STREAMS),
    "IPV6_RECVHOPLIMIT": ("tcp", None, NOT_OF_STREAMS),
    "IPV6_RECVTCLASS": ("tcp", None, NOT_OF_STREAMS),
    "IP_RECVORIGDSTADDR": ("tcp", None, NOT_OF_STREAMS),
    "IPV6_RECVORIGDSTADDR": ("tcp", None, NOT_OF_STREAMS),
    "IPV6_FLOWINFO": ("tcp", None, NOT_OF_STREAMS),
    "SO_RXQ_OVFL": ("tcp", None, NOT_OF_STREAMS),
    "IP_MINTTL": ("udp", None, NOT_OF_DATAGRAMS),
    "IPV6_MINHOPCOUNT": ("udp", None, NOT_OF_DATAGRAMS),
    "IP_BIND_ADDRESS_NO_PORT": ("udp", None, "ports of datagram sockets do not run short so"),
}
OPTIONS = [
    (name, level, option)
    for (_, level), options in sockopt.LINUX.items()
    for name, option in options.items()
    if not any(word in name for word in ("MULTICAST", "MCAST", "SOURCE", "MEMBERSHIP", "GROUP"))
]


def outcome(call: Callable[[], object]) -> object:
    """What it returns, or the name of its error."""
    try:
        return call()
    except OSError as problem:
        return errno.errorcode[problem.errno or 0]


def heard(sock: socket.socket, level: int, option: int, value: object) -> tuple[object, object]:
    """What becomes of an option that is set, if value is not None, and then asked for."""
    with sock:
        done = None if value is None else outcome(lambda: sock.setsockopt(level, option, value))
        return done, outcome(lambda: sock.getsockopt(level, option, 4))


def is_different(name: str, kind: str, value: object) -> bool:
    kinds, values, _ = DIFFERENT.get(name, ("none", None, ""))
    return kind.startswith(kinds) and (values is None or value in values)


@pytest.mark.skipif(sys.platform != "linux", reason="the judge is Linux")
@pytest.mark.parametrize(("name", "level", "option"), OPTIONS, ids=[name for name, *_ in OPTIONS])
def test_an_option_does_what_the_kernel_does(name, level, option):
    values = (None, *NUMBERS, *STRUCTS)
    with Stack("10.0.0.0/24", "fd00::/64") as stack:
        for kind, (family, type) in KINDS.items():
            with socket.socket(family, type) as probe:
                known = heard(probe, level, option, None)[1] != "ENOPROTOOPT"
            for value in values:
                if is_different(name, kind, value):
                    continue
                kernel = heard(socket.socket(family, type), level, option, value)
                if not known and kernel == (value and "ENOPROTOOPT", "ENOPROTOOPT"):
                    continue  # of a newer Linux, or of others
                assert heard(stack.socket(family, type), level, option, value) == kernel, (
                    kind,
                    value,
                )


def test_what_differs_is_told_of_options_that_exist():
    assert DIFFERENT.keys() <= {name for name, *_ in OPTIONS}
