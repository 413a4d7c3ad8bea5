"""Play a dialogue to both hosts, step by step, until they say different things."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from differential.dialogue import Call, Dialogue, Step, Wait
from differential.hosts import HOST, PEER, Kernel, Virtual
from differential.segments import IcmpError, Plan, Seen, View

MS = 1_000_000
TICK = 10 * MS  # more than one of Linux, with 250 or 1000 in a second


@dataclass(frozen=True)
class Reaction:
    """What one host did in a step: packets, what its application saw, the state that it shows,
    and what else its sockets tell.
    """

    packets: tuple[Seen, ...]
    outcome: str
    state: str
    told: dict[str, object] = field(default_factory=dict)

    def lines(self, told: list[str]) -> list[str]:
        out = [f"= {self.outcome}"] if self.outcome else []
        out += [str(packet) for packet in self.packets]
        out += [f"  {self.state}"] if self.state else []
        return out + [f"  {name}: {self.told.get(name, 'not told')}" for name in told]


@dataclass(frozen=True)
class Moment:
    step: Step
    kernel: Reaction
    virtual: Reaction
    before: str = ""  # pystack's state before the step

    @property
    def differs(self) -> bool:
        return self.kernel != self.virtual

    @property
    def told(self) -> list[str]:
        """The names of what the sockets tell differently."""
        both = (self.kernel.told, self.virtual.told)
        return [name for name in both[0] | both[1] if both[0].get(name) != both[1].get(name)]

    @property
    def is_only_told(self) -> bool:
        """Nothing but what the sockets tell is different."""
        return replace(self.kernel, told={}) == replace(self.virtual, told={})

    @property
    def kind(self) -> tuple[object, ...]:
        """What is kept when a dialogue is made smaller: who says what, but not its numbers."""
        both = (self.kernel, self.virtual)
        said = [[packet.flags or packet.text for packet in each.packets] for each in both]
        return type(self.step), *said, *(each.outcome for each in both), self.told


def reaction(host: Kernel | Virtual, view: View, packets: list[bytes], outcome: str) -> Reaction:
    seen = tuple(view.read(packet) for packet in packets if view.is_mine(packet))
    return Reaction(seen, outcome, host.state, host.application.told())


class Player:
    """Plays one dialogue after the other; each has a pair of ports of its own."""

    def __init__(self, kernel: Kernel, virtual: Virtual) -> None:
        self.kernel, self.virtual = kernel, virtual
        self.played = 0

    def play(self, dialogue: Dialogue) -> list[Moment]:
        """All moments up to the first that differs, or to the end."""
        self.played += 1
        peer = (PEER[dialogue.family], 40000 + self.played % 20000)
        host = (HOST[dialogue.family], 1024 + self.played % 30000)
        views = [View(peer, host, dialogue.options) for _ in (self.kernel, self.virtual)]
        for each in (self.kernel, self.virtual):
            each.start(dialogue.family, host, peer)
        moments: list[Moment] = []
        try:
            for number, step in enumerate(dialogue.steps):
                moments.append(self.step(step, number, views))
                if moments[-1].differs:
                    break
        finally:
            self.end(views)
        return moments

    def step(self, step: Step, number: int, views: list[View]) -> Moment:
        now = time.monotonic_ns()
        hidden = self.virtual.hidden
        reactions = []
        for host, view in zip((self.kernel, self.virtual), views, strict=True):
            view.clock = 5000 + 10 * number
            packets, outcome = host.wait(now), ""
            if isinstance(step, Plan):
                host.inject(view.build(step), now)
            elif isinstance(step, IcmpError):
                host.inject(view.build_error(step), now)
            elif isinstance(step, Call):
                outcome = host.application.call(step.name, step.argument)
            elif isinstance(step, Wait):
                packets += host.wait(now + step.ms * MS)
            reactions.append(reaction(host, view, packets + host.take(), outcome))
        if reactions[0] != reactions[1]:
            # What Linux does with its next tick counts as done at once.
            until = time.monotonic_ns() + TICK
            late = [
                reaction(host, view, host.wait(until), "")
                for host, view in zip((self.kernel, self.virtual), views, strict=True)
            ]
            reactions = [
                replace(more, packets=first.packets + more.packets, outcome=first.outcome)
                for first, more in zip(reactions, late, strict=True)
            ]
        return Moment(step, *reactions, hidden)

    def end(self, views: list[View]) -> None:
        """Nothing of it may answer later: a reset for what no socket holds any more."""
        reset = views[0].build(Plan("R", ts=None))
        self.kernel.inject(reset, 0)
        reset = views[0].build(Plan("R", seq=views[0].host_ack - views[0].snd_nxt, ts=None))
        self.kernel.inject(reset, 0)
        self.kernel.end()
        self.virtual.end()

    def differs(self, dialogue: Dialogue, times: int = 3) -> list[Moment] | None:
        """The moments, if the hosts differ each time: what the clock of the moment did is not a
        difference.
        """
        moments: list[Moment] = []
        for _ in range(times):
            moments = self.play(dialogue)
            if not moments[-1].differs:
                return None
        return moments


def smaller(dialogue: Dialogue) -> Iterator[Dialogue]:
    """Each with one step less, or one segment simpler."""
    for i in range(len(dialogue.steps)):
        without = (*dialogue.steps[:i], *dialogue.steps[i + 1 :])
        yield replace(dialogue, steps=without)
    for i, step in enumerate(dialogue.steps):
        if isinstance(step, Plan):
            for simple in simpler(step):
                changed = (*dialogue.steps[:i], simple, *dialogue.steps[i + 1 :])
                yield replace(dialogue, steps=changed)
    if dialogue.family == 6:
        yield replace(dialogue, family=4)
    for offer in sorted(dialogue.options):
        yield replace(dialogue, options=dialogue.options - {offer})


def simpler(plan: Plan) -> Iterator[Plan]:
    """One field as it is by default, or one flag less."""
    plain = Plan()
    for name in ("sack", "raw", "urgent", "offset", "ecn", "ts", "window", "length", "seq", "ack"):
        if getattr(plan, name) != getattr(plain, name):
            yield replace(plan, **{name: getattr(plain, name)})
    for flag in "PUEC":
        if flag in plan.flags:
            yield replace(plan, flags=plan.flags.replace(flag, ""))


def minimise(player: Player, dialogue: Dialogue, tries: int = 300) -> Dialogue:
    """The smallest dialogue in reach that still ends with the same kind of difference."""
    kind, found = player.play(dialogue)[-1].kind, True
    while found and tries > 0:
        found = False
        for candidate in smaller(dialogue):
            tries -= 1
            if tries <= 0 or not candidate.steps:
                continue
            moments = player.differs(candidate, 2)
            if moments and moments[-1].kind == kind:
                dialogue, found = candidate, True
                break
    return dialogue


def show(dialogue: Dialogue, moments: list[Moment]) -> str:
    """Side by side: the steps, what the kernel did, what pystack did."""
    offers = ", ".join(sorted(dialogue.options)) or "nothing"
    lines = [f"seed {dialogue.seed}, IPv{dialogue.family}, {dialogue.state}; SYN offers {offers}"]
    lines.append(f"  {'':44}{'kernel':54}pystack")
    for moment in moments:
        kernel, virtual = moment.kernel.lines(moment.told), moment.virtual.lines(moment.told)
        steps = [str(moment.step)]
        for i in range(max(len(kernel), len(virtual), 1)):
            cells = [each[i] if i < len(each) else "" for each in (steps, kernel, virtual)]
            mark = "!" if moment.differs and cells[1] != cells[2] else " "
            lines.append(f"{mark} {cells[0]:43} {cells[1]:53} {cells[2]}".rstrip())
    return "\n".join(lines)
