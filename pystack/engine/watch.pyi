from collections.abc import Callable
from contextvars import Context

from typing_extensions import Self

from pystack.engine.endpoint import Handle
from pystack.engine.world import Task

READ: int
WRITE: int

class Watcher:
    def use_fds(self, wake_read: int, wake_write: int) -> None: ...
    def call_task(self, task: Task) -> None: ...
    def take(self) -> list[Watch]: ...

class Watch:
    @property
    def armed(self) -> int: ...
    def __new__(
        cls,
        watcher: Watcher,
        handle: Handle,
        callback: Callable[[int], object],
        context: Context,
    ) -> Self: ...
    def arm(self, events: int) -> None: ...
    def cancel(self) -> None: ...
    def forget(self) -> None: ...
    def deliver(self) -> None: ...
