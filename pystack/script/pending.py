"""Calls that may block, and when they return.

Called by: the runner.
RFCs: none.
"""

from __future__ import annotations

from pystack.script.errors import Mismatch, Unsupported
from pystack.script.nodes import Event
from pystack.script.schedule import seconds
from pystack.script.settings import Settings
from pystack.script.world import Steps, World


class Pending:
    """A call that has begun. Times are ns since the script's start."""

    def __init__(self, world: World, event: Event, steps: Steps, returns: int | None) -> None:
        """returns: when it must return; None: at once, whatever that takes."""
        self.world = world
        self.event = event
        self.steps = steps
        self.returns = returns
        self.started = world.target.now()
        self.ended = 0
        self.done = False
        self.wake: int | None = None  # when it wants to be tried again
        self.problem: Mismatch | Unsupported | None = None

    def begin(self) -> None:
        raise NotImplementedError

    def try_again(self) -> bool:
        """True once it has returned."""
        raise NotImplementedError

    def abandon(self) -> None:
        """The script is over."""
        raise NotImplementedError

    def check(self, settings: Settings) -> None:
        """Mismatch if it has not gone as the script says, or not in time."""
        if self.problem is not None:
            raise self.problem
        if self.returns is None:
            return
        tolerance = settings.tolerance(self.returns - self.started)
        if abs(self.ended - self.returns) > tolerance:
            raise Mismatch(
                "the call returns too early or too late", seconds(self.returns), seconds(self.ended)
            )


class PendingCall(Pending):
    """Emulated: tried again after everything that happens."""

    def begin(self) -> None:
        self.try_again()

    def try_again(self) -> bool:
        if self.done:
            return True
        try:
            wake = next(self.steps)
        except StopIteration:
            self._finish(None)
        except (Mismatch, Unsupported) as problem:
            self._finish(problem)
        else:
            self.wake = wake
        return self.done

    def _finish(self, problem: Mismatch | Unsupported | None) -> None:
        self.done = True
        self.problem = problem
        self.ended = self.world.target.now()

    def abandon(self) -> None:
        self.steps.close()
