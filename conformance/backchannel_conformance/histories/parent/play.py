"""Plays scenarios: each step is done, the parent settles, and what it has done is compared with the model."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from ...manifest import DEFAULTS, Manifest
from ...model import Action, Model
from ...model.workers import protocol
from ...waiting import TimedOut, scale
from .blame import blame
from .compare import Beliefs, Seen, TooMany
from .scenario import Scenario
from .stage import Line, Stage

__all__ = ["Abandoned", "Deviation", "Played", "Player", "model_of"]

CLOSE = 0.03
"""Seconds before a deadline in which nothing is done: it could not be told what came first."""
SOON = 1.6
"""Seconds that a step waits for a deadline, at most."""
WINDOW = 0.2
BEGUN = 0.6
"""Seconds in which a parent has begun, or the machine is slow."""
SLOW = 0.5
"""Seconds that a step may take on a machine that is fast enough to say something of it."""


class Deviation(Exception):
    """The parent has done what the specification does not lead to, or has not done what it leads to."""

    def __init__(self, player: Player, seen: list[Line], expected: list[Action], clause: str, what: str) -> None:
        super().__init__(what)
        self.is_late = False
        """Something was not done, and nothing else was wrong."""
        self.player, self.seen, self.expected, self.clause, self.what = player, seen, expected, clause, what


class Abandoned(Exception):
    """The machine was too slow, or too much was possible at once: this history says nothing."""


def model_of(
    manifest: Manifest, options: Mapping[str, str], listeners: int, *, edges: bool, prompt: bool = True
) -> Model:
    """The model of a parent that is started with ``options``, and watches by ``edges`` or by levels. With ``prompt``,
    it does not wait for the tick of a clock (BC-SCALE-16).
    """
    tables = protocol()
    known = {**DEFAULTS, **options}
    given: dict[str, dict[str, Any]] = {"defaults": {}, "scaling": {}}
    for part, settings in given.items():
        for name, value in tables[part].items():
            if name in known:
                settings[name] = float(known[name]) if isinstance(value, float) else int(known[name])
    given["defaults"] |= {"capacity": int(known["capacity"]), "policy": known["policy"] or None}
    return Model(
        given["defaults"],
        given["scaling"],
        listeners,
        counted="counted" in manifest.classes,
        scales="scaling" in manifest.classes,
        edges=edges,
        prompt=prompt,
    )


class Played(NamedTuple):
    """One step that was played."""

    step: Line
    inputs: list[Line]
    """What the parent had to read of it."""
    seen: list[Line]
    """What it has done."""
    at: float
    pending: Mapping[int, int]


class Player:
    """A parent under test that plays ``scenario.options``; :meth:`step` by step."""

    def __init__(
        self, manifest: Manifest, scenario: Scenario, log: Path, *, edges: bool = True, prompt: bool = True
    ) -> None:
        self.scenario = scenario
        self.done: list[Line] = []
        self.story: list[Played] = []
        self.beliefs = Beliefs(model_of(manifest, scenario.options, scenario.listeners, edges=edges, prompt=prompt))
        self.can_reload = "reload" in manifest.classes
        self.over = False
        self._pending: dict[int, int] = {}
        self._early: float = self.beliefs.model.pool.sizer.rules["early_exit"]
        self._born: dict[int, tuple[float, float]] = {}
        """When the worker in each slot was spawned, at the earliest and at the latest."""
        begun = time.monotonic()
        self.stage = Stage(manifest, scenario.options, log)
        try:
            self._pending = self.stage.pending
            self.beliefs.first = begun
            self.stage.expect(self.beliefs.model.pool.sizer.rules["start"])
            self.beliefs.slack = time.monotonic() - begun
            # it may take long to begin; but workers that are to be ready soon may have been killed by then
            self._explain({"do": "start"}, begun, [{"in": "start"}], min(begun + BEGUN * scale(), time.monotonic()))
        except BaseException:
            self.close()
            raise
        self.beliefs.extra, self.beliefs.slack = self.beliefs.slack, 0.0
        if self.beliefs.extra > self.beliefs.model.pool.settings["start_deadline"] / 2:
            self.close()
            raise Abandoned("the machine was too slow: nobody knows when the first workers have to be ready")

    def close(self) -> None:
        """End it."""
        self.stage.close()

    def step(self, step: Line) -> bool:
        """Do one step. ``False``: it cannot be done now. Raises :class:`Deviation` and :class:`Abandoned`."""
        if self.over:
            return False
        self._keep_clear()
        if step["do"] == "wait":
            return self._wait(step)
        parts = step["steps"] if step["do"] == "together" else [step]
        at_once = len(parts) > 1 or step.get("count", 1) > 1 or len(step.get("cuts", ())) > 0
        begun = time.monotonic()
        if at_once:
            self.stage.freeze()
        inputs: list[Line] = []
        any_done = False
        try:
            for part in parts:
                lines = self.stage.play(part)
                any_done |= lines is not None
                inputs += lines or []
        except TimedOut as error:  # it was for a puppet, which is no part of the parent
            raise Abandoned(f"the machine was too slow: {error}") from None
        finally:
            if at_once:
                begun = time.monotonic()
                self.stage.thaw()
        if any_done:
            self.done.append(step)
            self._explain(step, begun, inputs)
        return any_done

    def _wait(self, step: Line) -> bool:
        now = time.monotonic()
        if "seconds" in step:
            self.done.append(step)
            self._pass_time(now + step["seconds"])
            return True
        due = self.beliefs.next_time(now)
        if due is None or due > now + SOON * scale():
            return False
        self.done.append(step)
        self._explain(step, now, [], self._sleep_until(due))
        return True

    def _sleep_until(self, due: float) -> float:
        """Sleep until a deadline has passed for sure; return when that was to be."""
        planned = due + self.beliefs.slack + 0.01
        time.sleep(max(0.0, planned - time.monotonic()))
        return planned

    def _keep_clear(self) -> None:
        """Let a deadline pass that is so close that it could not be told what came first; let a worker pass the age at
        which its exit ceases to be early, if it is about to.
        """
        for slot, (earliest, latest) in list(self._born.items()):
            if time.monotonic() > earliest + self._early - WINDOW * scale():
                self._pass_time(latest + self._early + WINDOW * scale())
                if self._born.get(slot) == (earliest, latest):
                    del self._born[slot]
        while not self.over:
            now = time.monotonic()
            due = self.beliefs.next_time(now)
            if due is None or due > now + CLOSE * scale():
                return
            self._explain({"do": "wait"}, now, [], self._sleep_until(due))

    def _pass_time(self, end: float) -> None:
        """Let time pass until ``end``, deadline by deadline."""
        while not self.over and (now := time.monotonic()) < end:
            due = self.beliefs.next_time(now)
            self._explain({"do": "wait"}, now, [], self._sleep_until(end if due is None else min(due, end)))

    def _explain(self, step: Line, begun: float, inputs: list[Line], planned: float | None = None) -> None:
        stage, beliefs = self.stage, self.beliefs
        seen: list[Line] = []
        until = None
        late = (planned or begun) + SLOW * scale()
        while True:
            asleep = stage.settle()
            ended = time.monotonic()
            seen += stage.look()
            try:
                ways = beliefs.explain(
                    begun, asleep, ended, inputs, (self._pending, stage.pending), Seen.of(seen, stage.hides)
                )
                if ways:
                    beliefs.keep(ways, planned or begun, ended)
                    break
            except TooMany as error:
                raise Abandoned(str(error)) from None
            until = until or ended + stage.grace
            stuck = "" if asleep > 0 else stage.stuck()
            if ended > until and ((not stuck and asleep < 0) or asleep > late):
                raise Abandoned("the machine was too slow")
            if ended > until:
                self.story.append(Played(step, inputs, seen, planned or begun, stage.pending))
                found = self._deviation(planned or begun, inputs, seen, stuck)
                # where a step took so long once, nobody knows when something was to be done after it
                if found.is_late and not stuck and beliefs.slack > SLOW * scale():
                    raise Abandoned("the machine was too slow: nobody knows when it was due")
                raise found
            time.sleep(0.01)
        self._pending = stage.pending
        stage.next_step()
        self.over = any(line["out"] == "Exit" for line in seen)
        self._know_ages(begun, ended, inputs, seen)
        self.story.append(Played(step, inputs, seen, planned or begun, stage.pending))

    def _know_ages(self, begun: float, ended: float, inputs: list[Line], seen: list[Line]) -> None:
        """Whether an exit was early must be known: a worker of about that age makes the history say nothing."""
        died = {line["slot"] for line in inputs if line["in"] == "exited"}
        if any(model.pool.sizer.deaths for model, *_ in self.beliefs.models) and (died or _kills(seen)):
            died = set(self._born)  # any worker that has outlived that age ends the series
        for slot in died & set(self._born):
            earliest, latest = self._born[slot]
            if earliest + self._early < ended and begun < latest + self._early:
                raise Abandoned("the machine was too slow: it cannot be told whether an exit was early")
        for line in seen:
            if line["out"] == "Spawn":
                self._born[line["slot"]] = (begun, ended)

    def _deviation(self, at: float, inputs: list[Line], seen: list[Line], stuck: str) -> Deviation:
        """What is wrong, by the plainest way to read the step: all of it in one pass."""
        model = self.beliefs.model.copy()
        known = [line for line in inputs if line.get("slot", -1) in (-1, *model.pool.workers)]
        expected = model.turn(max(at, model.pool.now), known, self.stage.pending)
        came = [Action.of(line) for line in seen if line["out"] != "Exit"]
        clause, what, is_late = blame(model, expected, came)
        found = Deviation(self, seen, expected, clause, f"{what}; {stuck}" if stuck else what)
        found.is_late = is_late
        return found


def _kills(seen: list[Line]) -> bool:
    return any(line["out"] == "Kill" for line in seen)
