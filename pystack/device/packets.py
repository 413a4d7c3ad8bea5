"""PacketPipe: packets that the program carries itself, without a descriptor, on any system.

Called by: applications.
RFCs: none.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, Callable, Iterable
from typing import TYPE_CHECKING, Any

from pystack.device.base import Device

if TYPE_CHECKING:
    from typing_extensions import Buffer


class PacketPipe(Device):
    """A stack's end of whatever carries packets: a VPN, a WebSocket, a USB pipe, a queue.

    Packets are bytes that begin with their IP header. Those that arrive go to `deliver`, many in
    one call and from any thread, or come out of an async iterator: `feed`. Those that leave go to
    a callable.
    """

    def __init__(
        self,
        send: Callable[[Any], object],
        mtu: int = 1500,
        *,
        single: bool = False,
        trusted: bool = False,
        name: str = "packets",
    ) -> None:
        """send: gets a list of packets, whose checksums are whole; with `single` one packet a call.

        It is called with the stack locked: it must not call the stack, nor wait for something that
        does; `deliver` may be called. What it raises is logged once, and the packets are lost.
        mtu: 68 to 65535; from 1280 where IPv6 is used.
        trusted: checksums of what arrives are not verified, since something else has seen to it.
        """
        super().__init__(mtu)
        self.name = name
        self.trusted = trusted
        self._send = send
        self._single = single

    def send(self, packets: list[bytes]) -> None:
        if not self._single:
            self._send(packets)
            return
        for packet in packets:
            self._send(packet)

    async def feed(self, source: AsyncIterable[Buffer | Iterable[Buffer]]) -> None:
        """Deliver what comes out of an async iterator, packets or lists of them, until its end."""
        async for item in source:
            if isinstance(item, (bytes, bytearray, memoryview)):
                self.deliver((bytes(item),))
            else:
                self.deliver(bytes(one) for one in item)  # type: ignore[union-attr]
