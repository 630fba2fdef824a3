"""Plays scenarios: each step is done, the parent settles, and what it has done is compared with the model."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..manifest import DEFAULTS, Manifest
from ..model import Action, Model
from ..model import Deviation as Wrong
from ..model.workers import protocol
from ..waiting import scale
from .compare import Beliefs, Seen, TooMany
from .scenario import Scenario
from .stage import Line, Stage

__all__ = ["Abandoned", "Deviation", "Player"]

GRACE = 0.1
"""Seconds that a step waits for what the model expects of a parent that sleeps."""
CLOSE = 0.03
"""Seconds before a deadline in which nothing is done: it could not be told what came first."""
SOON = 1.6
"""Seconds that a step waits for a deadline, at most."""
WINDOW = 0.2


class Deviation(Exception):
    """The parent has done what the specification does not lead to, or has not done what it leads to."""

    def __init__(self, player: Player, seen: list[Line], expected: list[Action], clause: str, what: str) -> None:
        super().__init__(what)
        self.player, self.seen, self.expected, self.clause, self.what = player, seen, expected, clause, what


class Abandoned(Exception):
    """The machine was too slow, or too much was possible at once: this history says nothing."""


def models(manifest: Manifest, options: Mapping[str, str], listeners: int) -> list[Model]:
    """What a parent that is started with ``options`` may be: it watches by edges or by levels."""
    tables = protocol()
    known = {**DEFAULTS, **options}
    given: dict[str, dict[str, Any]] = {"defaults": {}, "scaling": {}}
    for part, settings in given.items():
        for name, value in tables[part].items():
            if name in known:
                settings[name] = float(known[name]) if isinstance(value, float) else int(known[name])
    given["defaults"] |= {"capacity": int(known["capacity"]), "policy": known["policy"] or None}
    classes = {"counted": "counted" in manifest.classes, "scales": "scaling" in manifest.classes}
    return [
        Model(given["defaults"], given["scaling"], listeners, edges=edges, prompt=False, **classes)
        for edges in (True, False)
    ]


class Player:
    """A parent under test that plays ``scenario.options``; :meth:`step` by step."""

    def __init__(self, manifest: Manifest, scenario: Scenario, log: Path) -> None:
        self.scenario = scenario
        self.done: list[Line] = []
        self.story: list[tuple[Line, list[Line], list[Line]]] = []
        """Of each step: what was done, what the parent had to read of it, what it did."""
        self.beliefs = Beliefs(models(manifest, scenario.options, scenario.listeners))
        self.over = False
        self._early: float = self.beliefs.model.pool.sizer.rules["early_exit"]
        self._born: list[tuple[float, float]] = []
        """When workers may have been spawned, at the earliest and at the latest."""
        begun = time.monotonic()
        self.stage = Stage(manifest, scenario.options, log)
        try:
            self.stage.expect(self.beliefs.model.pool.sizer.rules["start"])
            self._explain({"do": "start"}, begun, [{"in": "start"}])
        except BaseException:
            self.close()
            raise
        # until its first workers are ready, their age is known no better than the start of the parent was
        self.beliefs.slack = 0.02 * scale()

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
        due = now + step["seconds"] * scale() if "seconds" in step else self.beliefs.next_time(now)
        if due is None or due > now + SOON * scale():
            return False
        self.done.append(step)
        self._sleep_until(due)
        self._explain(step, now, [])
        return True

    def _sleep_until(self, due: float) -> None:
        time.sleep(max(0.0, due + self.beliefs.slack + 0.01 - time.monotonic()))

    def _keep_clear(self) -> None:
        """Let a deadline pass that is so close that it could not be told what came first; let a worker pass the age at
        which its exit ceases to be early, if it is about to.
        """
        for earliest, latest in list(self._born):
            end = latest + self._early + WINDOW * scale()
            if time.monotonic() > earliest + self._early - WINDOW * scale():
                self._born.remove((earliest, latest))
                time.sleep(max(0.0, end - time.monotonic()))
        while not self.over:
            now = time.monotonic()
            due = self.beliefs.next_time(now)
            if due is None or due > now + CLOSE * scale():
                return
            self._sleep_until(due)
            self._explain({"do": "wait"}, now, [])

    def _explain(self, step: Line, begun: float, inputs: list[Line]) -> None:
        stage, beliefs = self.stage, self.beliefs
        seen: list[Line] = []
        until = None
        while True:
            asleep = stage.settle()
            ended = time.monotonic()
            seen += stage.look()
            try:
                found = Seen.of(seen, stage.is_blind, stage.is_told)
                ways = beliefs.explain(begun, asleep, ended, inputs, stage.pending, found)
                if ways:
                    beliefs.keep(ways, ended)
                    break
            except TooMany as error:
                raise Abandoned(str(error)) from None
            until = until or ended + GRACE * scale()
            if ended > until:
                self.story.append((step, inputs, seen))
                raise self._deviation(begun, inputs, seen)
            time.sleep(0.01)
        self.over = any(line["out"] == "Exit" for line in seen)
        if any(line["out"] == "Spawn" for line in seen):
            self._born.append((begun, ended))
        died = any(line["in"] == "exited" for line in inputs) or any(line["out"] == "Kill" for line in seen)
        if died and any(earliest + self._early < ended for earliest, _ in self._born):
            raise Abandoned("the machine was too slow: it cannot be told whether an exit was early")
        self.story.append((step, inputs, seen))

    def _deviation(self, begun: float, inputs: list[Line], seen: list[Line]) -> Deviation:
        """What is wrong, by the plainest way to read the step: all of it in one pass."""
        model = self.beliefs.model.copy()
        known = [line for line in inputs if line.get("slot", -1) in (-1, *model.pool.workers)]
        expected = model.turn(begun, known, self.stage.pending)
        for line in seen:
            if line["out"] == "Exit":
                continue
            try:
                model.saw(Action.of(line))
            except Wrong as wrong:
                return Deviation(self, seen, expected, _clause(str(wrong), expected), str(wrong))
        try:
            model.settled()
        except Wrong as wrong:
            return Deviation(self, seen, expected, _clause(str(wrong), expected), str(wrong))
        return Deviation(self, seen, expected, "BC-RULE-01", "this cannot have come of what the parent has read")


def _clause(what: str, expected: list[Action]) -> str:
    found = re.search(r"BC-[A-Z]+-\d\d", what + "".join(action.clause for action in expected))
    return found[0] if found else "BC-RULE-01"
