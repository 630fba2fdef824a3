"""Many histories of role *worker*, on as few processes as can be; and one that fails, made short enough to be read.

A worker that a history leaves as it found it lives through the next one with the same setting. When something is wrong,
all that this worker has lived through is played again on fresh ones, shorter each time, until nothing can be left out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from ...errors import ContractError, RequirementViolated
from ...worker_under_test import WorkerUnderTest
from ..plan import plan
from ..shrink import shrink
from .scenario import History, Setting, Step, Welcome, simpler
from .stage import WorkerStage

__all__ = ["Player"]

Start = Callable[[Setting], WorkerUnderTest]
MOST_LIVED = 40
"""Histories of one worker: what is wrong after many has to be played again."""


@dataclass
class _Life:
    """A worker, and all that it has lived through."""

    stage: WorkerStage
    steps: list[Step | None] = field(default_factory=list)
    """``None`` ends a history."""
    count: int = 0


class Player:
    """Plays histories. ``start`` starts a worker, which nobody has greeted yet."""

    def __init__(self, start: Start) -> None:
        self._start = start
        self._lives: dict[Setting, _Life] = {}

    def play(self, histories: Iterable[History]) -> int:
        """Play them all; return how many. Raises :class:`RequirementViolated` with a script of the first that fails."""
        count = 0
        try:
            for history in histories:
                self._one(history)
                count += 1
        finally:
            for life in self._lives.values():
                life.stage.close()
            self._lives.clear()
        return count

    def _one(self, history: History) -> None:
        fresh = not isinstance(history.steps[:1][0], Welcome) if history.steps else False
        life = None if fresh else self._lives.pop(history.setting, None)
        if life is None:
            life = _Life(WorkerStage(self._start(history.setting), history.setting))
        keep = False
        try:
            life.steps += [*history.steps, None]
            run(life.stage, [*history.steps, None])
            life.count += 1
            keep = not (life.stage.over or history.ends or life.stage.model.draining or life.count >= MOST_LIVED)
        except RequirementViolated as violation:
            life.stage.close()
            raise self._explained(history, life, violation) from None
        except ContractError as error:
            script = "\n".join(_script(life.stage, history.setting, history.steps))
            raise ContractError(f"{error}\n{history.name} ({history.setting}):\n{script}") from None
        finally:
            if keep and history.setting not in self._lives:
                self._lives[history.setting] = life
            else:
                life.stage.close()

    def _explained(self, history: History, life: _Life, violation: RequirementViolated) -> RequirementViolated:
        """The same failure, as short as it can be made."""
        if not plan().shrinks:
            return violation
        rule, setting = violation.requirement, history.setting

        def again(steps: Sequence[Step | None]) -> tuple[Sequence[Step | None], tuple[str, list[str]]] | None:
            stage = WorkerStage(self._start(setting), setting)
            try:
                run(stage, steps)
            except RequirementViolated as violation:
                if violation.requirement == rule:
                    return steps, (violation.seen, stage.trace)
            except ContractError:
                pass
            finally:
                stage.close()
            return None

        def less(step: Step | None) -> Sequence[Step | None]:
            return simpler(step) if step else []

        steps: Sequence[Step | None] = history.steps
        shorter = shrink(steps, again, less)
        if shorter is None:  # it takes what the worker had lived through before
            steps = life.steps[:-1]
            shorter = shrink(steps, again, less)
        seen, trace = shorter[1] if shorter else (violation.seen, life.stage.trace)
        note = "" if shorter else "\n  (played again on a fresh worker, it did not fail: this is what happened)"
        script = "\n".join(f"    {line}" for line in trace)
        return RequirementViolated(rule, f"{seen}\n  {history.name}; {setting}{note}\n{script}\n")


def run(stage: WorkerStage, steps: Sequence[Step | None]) -> None:
    """Play ``steps``; ``None`` and the end finish a history."""
    for step in steps:
        if step is None:
            stage.finish()
        else:
            stage.play(step)
    if steps and steps[-1] is not None:
        stage.finish()


def _script(stage: WorkerStage, setting: Setting, steps: Sequence[Step]) -> list[str]:
    return [f"    {line}" for line in stage.trace] or [f"    {at}. {step}" for at, step in enumerate(steps, 1)]
