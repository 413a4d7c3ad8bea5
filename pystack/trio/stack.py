"""trio.Stack: a stack that trio turns, in its own thread.

Called by: applications.
RFCs: none.
"""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING, Any

import trio

from pystack import stack as blocking
from pystack.device.base import Device
from pystack.trio.attachment import attach

if TYPE_CHECKING:
    from typing_extensions import Self


class Stack(blocking.Stack):
    """A pystack.Stack that the running trio turns: it has no thread of its own."""

    def __init__(self, *networks: str | blocking.Network, device: Device, **options: Any) -> None:
        """As pystack.Stack; begins with `async with`, or with the first call that needs it."""
        super().__init__(*networks, device=device, driver="caller", **options)

    async def __aenter__(self) -> Self:
        attach(self)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None = None,
        problem: BaseException | None = None,
        traceback: TracebackType | None = None,
    ) -> None:
        self.close()
        with trio.CancelScope(shield=True):
            await trio.lowlevel.checkpoint()
