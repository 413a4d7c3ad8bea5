"""One script, one run: events in their order and at their time, against one target.

Called by: drill (many scripts), tests.
RFCs: none.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from pystack.script.aggregate import Aggregate
from pystack.script.build import build_icmp, build_tcp, build_udp
from pystack.script.calls import check_known, close_descriptor, run_call
from pystack.script.code import CodeBlocks
from pystack.script.commands import Environment, run_commands
from pystack.script.compare import compare
from pystack.script.connection import Connection, is_of, observe_inbound
from pystack.script.errors import Mismatch, Unsupported
from pystack.script.nodes import Call, Code, Command, Event, Packet, Script, Tcp, Udp
from pystack.script.pending import Pending
from pystack.script.render import live_text
from pystack.script.schedule import Clock, Due, late, seconds
from pystack.script.settings import Settings
from pystack.script.wire import Live, Segment, decode
from pystack.script.world import Target, World

SECOND = 10**9
FOREVER = 20_000 * SECOND  # how long `*` waits in virtual time
FOREVER_REAL = 600 * SECOND
GRACE = 1 * SECOND  # for a call that still blocks at the end, or when another one comes
LAST_PACKETS = 8


@dataclass(frozen=True)
class Seen:
    """A packet of a run. time: ns since its start."""

    time: int
    inbound: bool
    data: bytes
    connection: Connection | None = None


@dataclass
class Outcome:
    """How a run has ended."""

    script: str
    result: str  # pass, fail, unsupported
    problem: str = ""
    event: Event | None = None
    expected: str = ""
    seen: str = ""
    at: int = 0  # ns since the start
    packets: list[str] = field(default_factory=list)  # the last ones
    relaxed: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    ip: str = "v4"


class Run:
    """A script being run."""

    def __init__(
        self,
        script: Script,
        settings: Settings,
        target: Target,
        watch: Callable[[Seen], None] | None = None,
    ) -> None:
        """watch: is shown every packet."""
        self.script = script
        self.settings = settings
        self.target = target
        self.watch = watch
        self.world = World(settings, target)
        self.clock = Clock(settings)
        self.code = CodeBlocks()
        self.environment = Environment()
        self.queue: deque[Seen] = deque()
        self.log: deque[Seen] = deque(maxlen=64)
        self.pending: Pending | None = None
        self.reached = 0  # when the event before was over
        self.relaxed: set[str] = set()
        self.warnings: list[str] = []

    # The whole.

    def run(self) -> Outcome:
        """Run all of it; what the target raises unexpectedly is raised."""
        event: Event | None = None
        try:
            self.prepare()
            for event in self.script.events:
                self.do(event)
            event = None
            self.finish()
        except Unsupported as problem:
            return self.outcome("unsupported", str(problem), event)
        except Mismatch as problem:
            event = getattr(problem, "event", None) or event
            return self.outcome("fail", problem.problem, event, problem.expected, problem.seen)
        finally:
            self.end()
        return self.outcome("pass")

    def outcome(
        self,
        result: str,
        problem: str = "",
        event: Event | None = None,
        expected: str = "",
        seen: str = "",
    ) -> Outcome:
        packets = [] if result == "pass" else self.last_packets()
        return Outcome(
            self.script.path, result, problem, event, expected, seen, self.target.now(), packets,
            tuple(sorted(self.relaxed)), tuple(self.warnings), self.settings.ip,
        )  # fmt: skip

    def prepare(self) -> None:
        """Everything that can be refused is refused before anything happens."""
        for text in self.settings.unsupported:
            raise Unsupported(text)
        for event in self.script.events:
            if isinstance(event.action, Call):
                check_known(event.action)
        if self.script.init is not None:
            run_commands(self.script.init.text, self.environment)
        if self.script.cleanup is not None:
            run_commands(self.script.cleanup.text, Environment())
        self.target.configure(self.environment)
        self.target.start()

    def end(self) -> None:
        """Close what the script has left open."""
        if self.pending is not None:
            self.pending.abandon()
        for one in [*self.world.descriptors.values(), *self.world.nameless]:
            try:
                close_descriptor(one)
            except OSError:
                continue
        self.target.close()

    def finish(self) -> None:
        """What must be true at the end."""
        if self.pending is not None and not self.wait_pending(GRACE):
            raise self.blamed(Mismatch("the call has not returned when the script ends"))
        if self.settings.strict_tail:
            self.collect()
            for seen in self.queue:
                if self.belongs(seen, None, self.world.tracker.current):
                    text = self.text_of(seen)
                    raise Mismatch("a packet that the script does not expect", "no packet", text)

    def blamed(self, problem: Mismatch) -> Mismatch:
        """Of the call that is pending, not of the event that is current."""
        if self.pending is not None:
            problem.event = self.pending.event  # type: ignore[attr-defined]
        return problem

    # Events.

    def do(self, event: Event) -> None:
        due = self.clock.due(event, self.reached)
        action = event.action
        if isinstance(action, Packet) and not action.inbound:
            if self.soft("packet", event, lambda: self.expect(event, action, due)):
                # Not when we have looked at it: in real time that is later.
                self.reached = max(self.reached, self.clock.happened)
            else:
                self.reached = self.target.now()
            self.clock.done(event, due)
            return
        self.advance(due.at)
        if isinstance(action, Packet):
            self.inject(action)
        elif isinstance(action, Call):
            self.soft("syscall", event, lambda: self.call(event, action, due))
        elif isinstance(action, Command):
            self.command(action)
        elif isinstance(action, Code):
            self.code.run(action.text, self.script.path, event.line, self.world)
        self.step()
        self.reached = self.target.now()
        self.clock.done(event, due)

    def soft(self, kind: str, event: Event, action: Callable[[], None]) -> bool:
        """--non_fatal: what goes wrong is a warning, and False."""
        try:
            action()
        except Mismatch as problem:
            if kind not in self.settings.non_fatal:
                raise
            self.warnings.append(f"{event.line}: {problem.problem}")
            return False
        return True

    def command(self, command: Command) -> None:
        run_commands(command.text, self.environment)
        self.target.configure(self.environment)
        if self.environment.sleep_ns:
            self.advance(self.target.now() + self.environment.sleep_ns)
            self.environment.sleep_ns = 0

    # Time.

    def step(self) -> None:
        """After whatever may have let a blocked call go on."""
        if self.pending is not None and self.pending.try_again():
            pending, self.pending = self.pending, None
            try:
                pending.check(self.settings)
            except Mismatch as problem:
                problem.event = pending.event  # type: ignore[attr-defined]
                if "syscall" not in self.settings.non_fatal:
                    raise
                self.warnings.append(f"{pending.event.line}: {problem.problem}")
        self.collect()

    def advance(self, until: int) -> None:
        """Let the target run until a time, and until all that is due then has happened."""
        while True:
            wake = self.pending.wake if self.pending is not None else None
            if self.target.advance(until, wake):
                break
            self.step()
        self.step()

    def collect(self) -> None:
        for time, data in self.target.packets():
            self.saw(Seen(time, False, data, self.world.tracker.current))

    def saw(self, seen: Seen) -> None:
        self.log.append(seen)
        if not seen.inbound:
            self.queue.append(seen)
        if self.watch is not None:
            self.watch(seen)

    # Calls.

    def call(self, event: Event, call: Call, due: Due) -> None:
        free = self.pending is None or self.wait_pending(GRACE)
        if not free and call.returns_at is not None:
            raise Mismatch("a call that blocks while another one still does")
        returns = None
        if call.returns_at is not None:
            returns = call.returns_at + (due.base if call.returns_relative else 0)
        pending = self.target.pending(self.world, event, run_call(self.world, call), returns)
        pending.begin()
        if self.pending is not None:
            if not pending.try_again():
                raise Mismatch("a call that blocks while another one still does")
            pending.check(self.settings)
            return
        self.pending = pending
        self.step()
        if returns is None and not self.wait_pending(self.forever()):
            raise Mismatch("the call blocks for ever")

    def forever(self) -> int:
        return FOREVER_REAL if self.target.real_time else FOREVER

    def wait_pending(self, limit: int) -> bool:
        """Let time pass until the pending call returns; False if it does not within the limit."""
        until = self.target.now() + limit
        while self.pending is not None:
            over = self.target.advance(until, self.pending.wake)
            self.step()
            if over:
                break
        return self.pending is None

    # Packets.

    def inject(self, packet: Packet) -> None:
        body, tracker = packet.body, self.world.tracker
        connection: Connection | None
        if isinstance(body, Tcp):
            connection = tracker.for_inbound(body)
            observe_inbound(connection, body)
            data = build_tcp(self.settings, packet.ip, body, connection)
        elif isinstance(body, Udp):
            connection = tracker.for_udp()
            data = build_udp(self.settings, packet.ip, body, connection)
        else:
            connection = tracker.current
            data = build_icmp(self.settings, packet.ip, body, connection)
        self.saw(Seen(self.target.now(), True, data, connection))
        self.target.inject(data)
        self.collect()

    def expect(self, event: Event, packet: Packet, due: Due) -> None:
        """The next packets of the connection, as many as the line stands for."""
        body = packet.body
        connection = self.connection_for(packet)
        first = self.next_packet(event, due, packet, connection)
        live = decode(first.data)
        assert live is not None
        last = first
        if isinstance(body, Tcp) and isinstance(live.body, Segment):
            aggregate = Aggregate(live, body.payload)
            while not self.settings.strict_segments and aggregate.wants_more:
                try:
                    following = self.next_packet(event, due, packet, connection)
                except Mismatch as problem:
                    seen = live_text(aggregate.whole(), connection, False)
                    raise Mismatch(problem.problem, event.text, seen) from None
                more = decode(following.data)
                assert more is not None
                last = following
                why = aggregate.add(more)
                if why:
                    seen = f"{live_text(aggregate.whole(), connection, False)}, then " + (
                        live_text(more, connection, False)
                    )
                    raise Mismatch(why, event.text, seen)
            live = aggregate.whole()
        self.judge(event, packet, live, last.time, due, connection)

    def judge(
        self,
        event: Event,
        packet: Packet,
        live: Live,
        time: int,
        due: Due,
        connection: Connection | None,
    ) -> None:
        """Fields first, then time."""
        connection = connection or Connection()
        differences = compare(self.settings, packet, live, connection, self.target.now())
        text = live_text(live, connection, False)
        if differences.found:
            raise Mismatch("; ".join(differences.found), event.text, f"{seconds(time)} {text}")
        self.relaxed |= differences.relaxed
        self.clock.happened = time
        problem = late(self.settings, due, time)
        if problem:
            raise Mismatch(problem, f"{due.text()} {event.text}", f"{seconds(time)} {text}")

    def connection_for(self, packet: Packet) -> Connection | None:
        tracker = self.world.tracker
        if isinstance(packet.body, Tcp):
            return tracker.for_outbound(packet.body)
        return tracker.current

    def next_packet(
        self, event: Event, due: Due, packet: Packet, connection: Connection | None
    ) -> Seen:
        """The next packet that the target has sent of this connection; Mismatch if none comes."""
        horizon = due.horizon
        until = self.target.now() + self.forever() if horizon is None else horizon
        self.collect()
        while True:
            while self.queue:
                seen = self.queue.popleft()
                if self.belongs(seen, packet, connection):
                    return seen
            wake = self.pending.wake if self.pending is not None else None
            over = self.target.advance(until, wake)
            self.step()
            if over and not self.queue:
                raise Mismatch("no packet came in time", event.text, "nothing")

    def belongs(self, seen: Seen, packet: Packet | None, connection: Connection | None) -> bool:
        """Whether an outbound packet is of the connection that an expectation is about."""
        live = decode(seen.data)
        return live is not None and is_of(self.settings, live, packet, connection)

    # For reports.

    def last_packets(self) -> list[str]:
        return [
            f"{seconds(seen.time)} {self.text_of(seen)}" for seen in list(self.log)[-LAST_PACKETS:]
        ]

    def text_of(self, seen: Seen) -> str:
        live = decode(seen.data)
        if live is None:
            return f"{len(seen.data)} bytes that are no IP packet"
        current = seen.connection or self.world.tracker.current
        return live_text(live, current, seen.inbound)
