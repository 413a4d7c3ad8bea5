"""A TCP/IP stack that lives in a Python process.

Stack and what belongs to it are loaded when they are first used. The constants of socket are here
too, and those options of Linux that socket lacks.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pystack.connection import Connection
    from pystack.device.base import Device
    from pystack.device.packets import PacketPipe
    from pystack.device.pcap import PcapWriter
    from pystack.device.pipe import PipeDevice
    from pystack.device.tun import TunDevice
    from pystack.doorman import AnyListener, FlowRequest
    from pystack.errorqueue import ExtendedError, extended_error
    from pystack.patching import patch
    from pystack.shards import Shards
    from pystack.socket import Socket
    from pystack.stack import Stack
    from pystack.tcpconfig import TcpConfig, UnsupportedSysctls
    from pystack.tcpinfo import TcpInfo

try:
    import pystack.compiled as _compiled  # type: ignore[import-not-found]
except ModuleNotFoundError:  # a build in which each module is a file of its own
    pass
else:
    from pystack.onefile import install as _install

    _install(_compiled)

__version__ = "0.1.0"

__all__ = [
    "AnyListener",
    "Connection",
    "Device",
    "ExtendedError",
    "FlowRequest",
    "PacketPipe",
    "PcapWriter",
    "PipeDevice",
    "Shards",
    "Socket",
    "Stack",
    "TcpConfig",
    "TcpInfo",
    "TunDevice",
    "UnsupportedSysctls",
    "__version__",
    "extended_error",
    "patch",
]

_MODULES = {
    "AnyListener": "pystack.doorman",
    "Connection": "pystack.connection",
    "Device": "pystack.device.base",
    "ExtendedError": "pystack.errorqueue",
    "FlowRequest": "pystack.doorman",
    "PacketPipe": "pystack.device.packets",
    "PcapWriter": "pystack.device.pcap",
    "PipeDevice": "pystack.device.pipe",
    "Shards": "pystack.shards",
    "Socket": "pystack.socket",
    "Stack": "pystack.stack",
    "TcpConfig": "pystack.tcpconfig",
    "TcpInfo": "pystack.tcpinfo",
    "TunDevice": "pystack.device.tun",
    "UnsupportedSysctls": "pystack.tcpconfig",
    "extended_error": "pystack.errorqueue",
    "patch": "pystack.patching",
}
_CONSTANTS = (
    "AF_", "AI_", "EAI_", "IPPROTO_", "IPV6_", "IP_", "MCAST_", "MSG_", "SHUT_", "SOCK_", "SOL_",
    "SOMAXCONN", "SO_", "TCP_", "UDP_",
)  # fmt: skip


def __getattr__(name: str) -> object:
    import sys

    value: object
    if name in ("aio", "testing", "trio"):
        value = _load(f"pystack.{name}")
    elif name == "TunDevice" and sys.platform != "linux":
        value = _NoTunDevice
    elif name in _MODULES:
        value = getattr(_load(_MODULES[name]), name)
    elif name.startswith(_CONSTANTS):
        value = _constant(name)
    else:
        raise AttributeError(f"module 'pystack' has no attribute {name!r}")
    globals()[name] = value
    return value


def _load(module: str) -> object:
    from importlib import import_module

    try:
        return import_module(module)
    except ModuleNotFoundError as missing:
        if not str(missing.name).startswith("pystack."):
            raise
        raise ImportError(
            f"pystack: {__path__[0]} is its source, which is not compiled: run `pip install -e .` "
            "there, or work in another directory"
        ) from None


def _constant(name: str) -> object:
    import socket

    from pystack.sockopt import NUMBERS

    if hasattr(socket, name):
        return getattr(socket, name)
    if name in NUMBERS:
        return NUMBERS[name]
    raise AttributeError(f"module 'pystack' has no attribute {name!r}")


class _NoTunDevice:
    """TunDevice, where there is none."""

    def __init__(self, *args: object, **kwargs: object) -> None:
        import errno
        import sys

        raise OSError(
            errno.EOPNOTSUPP,
            f"pystack: TunDevice is for Linux, not for {sys.platform}; subclass pystack.Device, "
            "or give the stack no device and carry its packets yourself",
        )


def __dir__() -> list[str]:
    return __all__
