"""pystack in virtual time as the target of scripts: nothing sleeps, nothing is left to chance.

Called by: the runner.
RFCs: none.
"""

from __future__ import annotations

import socket
from dataclasses import replace
from typing import Any

from pystack.script.commands import Environment
from pystack.script.errors import Unsupported
from pystack.script.nodes import Event
from pystack.script.pending import Pending, PendingCall
from pystack.script.settings import Settings
from pystack.script.world import Steps, Target, World
from pystack.stack import Stack
from pystack.tcpconfig import (
    TFO_CLIENT_NO_COOKIE,
    TFO_SERVER_COOKIE_NOT_REQUIRED,
    TcpConfig,
    UnsupportedSysctls,
)

START = 1_000_000_000_000  # ns: the stack has been there for a while when a script begins
SEED = 1
STUCK = 10_000  # turns without time passing

# What scripts expect: Linux, which reduces for a mark as it does for a loss, has the older HyStart
# and its own estimate of Reno, and lets a RST end TIME-WAIT.
PROFILE = TcpConfig(abe=False, hystart_classic=True, cubic_reno_pace=False, rfc1337=False)


class VirtualTarget(Target):
    """A stack with one address, turned by hand."""

    emulated = True
    real_time = False

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.config = PROFILE
        self.environment = Environment()
        self._stack: Stack | None = None
        self._now = START
        self._turns = 0
        self._sent: list[tuple[int, bytes]] = []

    @property
    def stack(self) -> Stack:
        """Made when it is first needed: until then commands can configure it."""
        if self._stack is None:
            local = self.settings.local
            self._stack = Stack(
                f"{local}/{local.max_prefixlen}",
                address=local,
                mtu=self.mtu_of(self.environment),
                seed=SEED,
                now=self._now,
                tcp=self.config,
            )
        return self._stack

    def configure(self, environment: Environment) -> None:
        before = self.environment
        self.environment = replace(environment, route=dict(environment.route))
        config = self.config_of(environment)
        if self._stack is not None:
            if self.mtu_of(environment) != self.mtu_of(before):
                raise Unsupported("another MTU while the script runs")
            if config != self.config:
                self._stack.configure(config)
            if environment.flush_metrics != before.flush_metrics:
                self._forget_metrics(self._stack)
        self.config = config

    def mtu_of(self, environment: Environment) -> int:
        """Of the device, or of the only route if that is less."""
        mtu = environment.mtu or self.settings.mtu
        route = environment.route.get("mtu", "")
        return min(mtu, int(route)) if route.isdecimal() and int(route) else mtu

    def config_of(self, environment: Environment) -> TcpConfig:
        """Settings and route attributes as a TcpConfig."""
        try:
            config = TcpConfig.from_sysctls(environment.sysctls, PROFILE)
        except UnsupportedSysctls as problem:
            raise Unsupported(f"the setting {problem}") from None
        except ValueError as problem:
            raise Unsupported(str(problem)) from None
        for name, value in environment.route.items():
            config = with_route(config, name, value)
        return config

    def _forget_metrics(self, stack: Stack) -> None:
        """What is remembered of destinations, cookies included."""
        stack.forget_metrics()

    def start(self) -> None:
        return

    def now(self) -> int:
        return self._now - START

    # Time.

    def advance(self, until: int, wake: int | None) -> bool:
        limit = until if wake is None else min(until, wake)
        due = self._stack.deadline if self._stack is not None else None
        if due is not None and due - START <= limit:
            self._turn(max(due, self._now))
            return False
        self._turn(max(limit + START, self._now))
        return limit == until

    def _turn(self, now: int) -> None:
        self._turns = self._turns + 1 if now == self._now else 0
        if self._turns > STUCK:
            raise RuntimeError("the stack asks again and again to be called, but time stands still")
        self._now = now
        if self._stack is not None:
            self._stack.poll(now)
            self._collect()

    def _collect(self) -> None:
        for packet in self.stack.transmit():
            if not self.environment.drop_output:
                self._sent.append((self.now(), packet))

    def packets(self) -> list[tuple[int, bytes]]:
        if self._stack is not None:
            self._collect()
        sent, self._sent = self._sent, []
        return sent

    def inject(self, packet: bytes) -> None:
        self.stack.receive(packet, self._now)
        self._collect()

    # Sockets.

    def socket(self, family: int, kind: int, protocol: int) -> socket.socket:
        return self.stack.socket(family, kind, protocol)

    def pending(self, world: World, event: Event, steps: Steps, returns: int | None) -> Pending:
        return PendingCall(world, event, steps, returns)

    def ready(self, sock: Any) -> int:
        return int(sock.poll())

    def ioctl(self, sock: Any, request: int) -> int:
        value: int = sock.ioctl(request)
        return value

    def close(self) -> None:
        if self._stack is not None:
            self._stack.close()


def with_route(config: TcpConfig, name: str, value: str) -> TcpConfig:
    """An attribute of the only route there is."""
    try:
        if name == "mtu":
            return config  # of the whole stack
        if name == "initcwnd":
            return replace(config, initial_window=int(value))
        if name == "advmss":
            return replace(config, advertised_mss=int(value))
        if name == "rto_min":
            seconds = (
                float(value.removesuffix("ms")) / 1000
                if value.endswith("ms")
                else (
                    float(value.removesuffix("s")) if value.endswith("s") else float(value) / 1000
                )
            )
            return replace(config, rto_min=seconds)
        if name == "fastopen_no_cookie":
            without = TFO_CLIENT_NO_COOKIE | TFO_SERVER_COOKIE_NOT_REQUIRED
            return replace(config, fastopen=config.fastopen | without) if int(value) else config
        if name == "congctl":
            return replace(config, congestion_control=value)
    except ValueError as problem:
        raise Unsupported(f"the route attribute {name} {value}: {problem}") from None
    raise Unsupported(f"the route attribute {name}")
