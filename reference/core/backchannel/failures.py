"""Workers that fail, and what follows: a delay, the end of a reload, or the end of the pool.

A worker that dies before it has accepted anything delays the next spawn (BC-SCALE-12); so does one that breaks the
protocol. One that says that it can never start ends the reload that brought it, or the pool if none ever started
(BC-SCALE-13, BC-RELOAD-05).
"""

from __future__ import annotations

from dataclasses import dataclass

from .actions import Action, GiveUp
from .counters import Counters
from .lifecycle import Lifecycle
from .reload import Reload
from .settings import Scaling
from .sizing import Sizing
from .slots import Worker
from .states import NEVER_AGAIN, PROTOCOL, SlotEvent, SlotState

__all__ = ["Failures"]


@dataclass(slots=True, eq=False)
class Failures:
    """Decides who is to blame, and what to do about it."""

    _rules: Scaling
    _lives: Lifecycle
    _sizing: Sizing
    _reload: Reload
    _counters: Counters
    _actions: list[Action]
    _gave_up: bool = False

    def exited(self, worker: Worker, status: int, now: float) -> None:
        """``worker`` has exited with ``status``, negative for a signal (BC-DEATH-01)."""
        expected = worker.drained or worker.state is SlotState.KILLED
        early = not worker.accepted and now - worker.spawned_at < self._rules.early_exit
        self._sizing.lived(worker, now)
        self._lives.exit(worker, now)
        if expected:
            return
        self._counters.deaths += 1
        hopeless = status in NEVER_AGAIN
        if self._lives.greeted or not hopeless:  # else the pool is given up, which says how this one ended
            ended = f"was ended by signal {-status}" if status < 0 else f"exited with status {status}"
            self._lives.note(worker.slot, f"{ended}{', before it had accepted anything' if early else ''}")
        if hopeless:
            self._hopeless(worker, status, f"exited with status {status}", now)
        elif early:
            self._sizing.exited_early(now)

    def violated(self, worker: Worker, why: str, now: float, *, requirement: str | None = None) -> None:
        """``worker`` broke the protocol: it is killed, and the others go on (BC-VIOL-01, BC-HARM-01)."""
        self._lives.kill(worker, SlotEvent.VIOLATION, why, now, requirement=requirement)
        if not worker.accepted:
            self._sizing.exited_early(now)

    def of_another_version(self, worker: Worker, text: str, now: float) -> None:
        """``worker`` speaks no version of ours. It is taken to have exited with 76, as a worker does
        whose parent speaks no version of its own (BC-VER-05).
        """
        self._lives.kill(worker, SlotEvent.VIOLATION, text, now, requirement="BC-VER-05")
        self._hopeless(worker, PROTOCOL, text, now)

    def late(self, worker: Worker, now: float) -> None:
        """``worker`` has been in its state for too long."""
        event = self._lives.kill_late(worker, now)
        if event is SlotEvent.START_DEADLINE:  # one that never starts is no better than one that exits
            self._sizing.exited_early(now)

    def could_not_start(self, worker: Worker, why: str, now: float) -> None:
        """The system has no process for ``worker``: said once, until one starts again."""
        if self._sizing.could_not_start(why, now):
            self._lives.note(None, f"cannot start a worker: {why}; trying again, with back-off")
        self._counters.spawned -= 1
        self._lives.exit(worker, now)

    def started(self) -> None:
        """A worker is there, so the system has processes."""
        if failures := self._sizing.started():
            self._lives.note(None, f"workers start again, after {failures} failures")

    def _hopeless(self, worker: Worker, status: int, text: str, now: float) -> None:
        """``worker`` can never start: if none ever could, give up; if it is of a new generation, give that up, unless
        the worker itself has been READY: then the new code can start (BC-RELOAD-05).
        """
        text = f"worker in slot {worker.slot} {text}"
        if self._lives.greeted:
            self._sizing.exited_early(now)
            newest = worker.generation == self._reload.current
            if self._reload.active and newest and not worker.was_ready:
                self._reload.fail(text, now)
        elif not self._gave_up:
            self._gave_up = True
            self._actions.append(GiveUp(status, text))
