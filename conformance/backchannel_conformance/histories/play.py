"""Plays scenarios: each step is done, the parent settles, and what it has done is compared with the model."""

from __future__ import annotations

import time
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..manifest import DEFAULTS, Manifest
from ..requirements import folder
from ..waiting import scale
from .compare import Beliefs, TooMany, Way
from .interim import Model
from .scenario import Scenario
from .stage import Line, Stage

__all__ = ["Abandoned", "Deviation", "Player"]

GRACE = 0.1
"""Seconds that a step waits for what the model expects of a parent that sleeps."""
CLOSE = 0.03
"""Seconds before a deadline in which nothing is done: it could not be told what came first."""
SOON = 1.6
"""Seconds that a step waits for a deadline, at most."""
WINDOW = 0.1


class Deviation(Exception):
    """The parent has done what the specification does not lead to, or has not done what it leads to."""

    def __init__(self, player: Player, seen: list[Line], expected: list[Line]) -> None:
        super().__init__(f"expected {expected}, seen {seen}")
        self.seen, self.expected, self.player = seen, expected, player


class Abandoned(Exception):
    """The machine was too slow, or too much was possible at once: this history says nothing."""


def header(options: Mapping[str, str], listeners: int) -> Line:
    """The first line of a trace: all settings of a parent that is started with ``options``."""
    protocol = tomllib.loads((folder() / "protocol.toml").read_text())
    known = {**DEFAULTS, **options}
    settings, scaling = dict(protocol["defaults"]), dict(protocol["scaling"])
    for table in (settings, scaling):
        for name in table:
            if name in known:
                table[name] = float(known[name]) if isinstance(table[name], float) else int(known[name])
    settings["capacity"] = int(known["capacity"])
    settings["policy"] = known["policy"] or ("lowest" if settings["capacity"] == 1 else "least-loaded")
    head = {"trace": "parent", "spec": "1.0", "settings": settings, "scaling": scaling, "listeners": listeners}
    return {**head, "state": "RUNNING"}


class Player:
    """A parent under test that plays ``scenario.options``; :meth:`step` by step."""

    def __init__(self, manifest: Manifest, scenario: Scenario, log: Path) -> None:
        self.header = header(scenario.options, scenario.listeners)
        self.done: list[Line] = []
        self.story: list[tuple[Line, list[Line], list[Line]]] = []
        """Of each step: what was done, what the parent had to read of it, what it did."""
        self.beliefs = Beliefs(Model(self.header))
        self.over = False
        begun = time.monotonic()
        self.stage = Stage(manifest, scenario.options, log)
        try:
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
        """Let a deadline pass that is so close that it could not be told what came first."""
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
                ways = beliefs.explain(
                    begun, asleep, ended, inputs, stage.pending, seen, stage.is_blind, stage.is_told
                )
                if ways:
                    beliefs.keep(ways, ended)
                    break
            except TooMany as error:
                raise Abandoned(str(error)) from None
            until = until or ended + GRACE * scale()
            if ended > until:
                self.story.append((step, inputs, seen))
                raise Deviation(self, seen, self._expected(begun, inputs))
            time.sleep(0.01)
        self.over = any(line["out"] == "Exit" for line in seen)
        self.story.append((step, inputs, seen))

    def _expected(self, begun: float, inputs: list[Line]) -> list[Line]:
        model = self.beliefs.model.copy()
        found: list[Line] = model.turn(begun, [dict(line) for line in inputs], self.stage.pending)
        return found
