from collections.abc import Iterable, Sequence
from types import TracebackType

from typing_extensions import Self

from pystack.device.addressing import Address, Network

class Device:
    name: str
    """What messages call it."""
    trusted: bool
    """Checksums of what is delivered are not verified, since something else has seen to it."""
    local_addresses: tuple[Address, ...]
    """Addresses on its other side, which are not the stack's though its networks have them."""
    @property
    def mtu(self) -> int:
        """Length of the longest packet, in bytes."""
    @property
    def features(self) -> int:
        """Bits of what it takes as it is: packets without checksums, trains."""
    @property
    def closed(self) -> bool:
        """Whether it was closed, or the file behind it is gone."""
    @property
    def shard_count(self) -> int:
        """How many devices share its interface, this one included."""
    @property
    def up(self) -> bool: ...
    @property
    def dropped(self) -> int: ...
    def __init__(self, mtu: int = 1500) -> None: ...
    def close(self) -> None: ...
    def __enter__(self) -> Self: ...
    def __exit__(
        self,
        kind: type[BaseException] | None = None,
        problem: BaseException | None = None,
        traceback: TracebackType | None = None,
    ) -> None: ...
    def deliver(self, packets: Iterable[bytes]) -> None: ...
    def send(self, packets: list[bytes]) -> None: ...
    def receive(self) -> list[bytes]: ...
    def fileno(self) -> int: ...
    def configure(self, networks: Sequence[Network]) -> None: ...

def join_shards(devices: Sequence[Device]) -> None: ...
