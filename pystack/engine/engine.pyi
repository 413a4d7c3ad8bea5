import logging
import threading
import weakref

from typing_extensions import Self

from pystack.device.base import Device
from pystack.engine.world import Actor

NAMES: tuple[str, ...]
logger: logging.Logger
engines: weakref.WeakSet[Engine]

def close_all() -> None: ...
def forget_all() -> None: ...

class Engine:
    @property
    def device(self) -> Device | None: ...
    @property
    def thread(self) -> threading.Thread | None: ...
    @property
    def closed(self) -> bool: ...
    @property
    def live_packets(self) -> int: ...
    def __new__(
        cls,
        device: Device | None,
        mtu: int,
        seed_high: int,
        seed_low: int,
        now: int | None = None,
        tcp: dict[str, int] | None = None,
        crank: Actor | None = None,
    ) -> Self: ...
    def configure_tcp(self, tcp: dict[str, int]) -> None: ...
    def attach(self) -> None: ...
    def close(self) -> None: ...
    def counters(self) -> dict[str, int]: ...
    def set_capture(self, writer: object | None) -> None: ...
