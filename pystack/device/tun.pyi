from collections.abc import Iterable

from pystack.device.addressing import Address
from pystack.device.base import Device

OFFLOADS: dict[str, int]

class TunDevice(Device):
    @property
    def ours(self) -> bool:
        """Whether this device has made the interface, rather than found it."""
    def __init__(
        self,
        name: str = "pystack%d",
        *,
        mtu: int | None = None,
        host_addresses: Iterable[str | Address] | None = None,
        offloads: bool | str = True,
        fd: int | None = None,
        configure: bool = True,
        multi_queue: bool = False,
        io_uring: bool = True,
    ) -> None: ...
    @classmethod
    def queues(
        cls,
        number: int,
        name: str = "pystack%d",
        *,
        mtu: int | None = None,
        host_addresses: Iterable[str | Address] | None = None,
        offloads: bool | str = True,
        configure: bool = True,
        io_uring: bool = True,
    ) -> list[TunDevice]: ...
