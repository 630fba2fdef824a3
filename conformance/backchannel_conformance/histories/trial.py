"""A trial: the histories of one seed, on one parent; and what is found when one deviates."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ..manifest import Manifest
from . import chart, generate
from .plan import CHUNK, STEPS, plan
from .play import Abandoned, Deviation, Player
from .scenario import Scenario
from .shrink import shrink

__all__ = ["Found", "run"]


@dataclass(frozen=True)
class Found:
    """A deviation: the clause that does not hold, and what to tell."""

    clause: str
    report: str


def run(manifest: Manifest, seed: int, folder: Path) -> Found | None:
    """Play the histories of ``seed``; shrink and report what deviates."""
    rng = random.Random(seed)
    left = CHUNK * STEPS
    parents = 0
    while left > 0 and parents < CHUNK:
        parents += 1
        scenario = generate.begin(rng, manifest)
        scenario.seed = seed
        try:
            with _player(manifest, scenario, folder) as player:
                while left > 0 and not player.over:
                    left -= 1
                    step = generate.next_step(rng, player, time.monotonic())
                    if step is None:
                        break
                    player.step(step)
        except Deviation as deviation:
            return _found(manifest, deviation, folder)
        except Abandoned:
            continue  # with another parent
    return None


def _found(manifest: Manifest, deviation: Deviation, folder: Path) -> Found:
    scenario = deviation.player.scenario.but(deviation.player.done)
    shorter = shrink(scenario, lambda less: _again(manifest, less, folder))
    told = shorter or deviation
    again = "" if shorter else "it did not deviate again when it was repeated, so this is the whole of it; "
    saved = ""
    if (path := plan().save) is not None:
        path.write_text(scenario.but(told.player.done).dumps(), encoding="utf-8")
        saved = f"saved in {path}; "
    report = f"{told.what}; {again}{saved}--seed {scenario.seed} --histories 1 repeats it; {chart.show(told)}"
    return Found(told.clause, report)


def _again(manifest: Manifest, scenario: Scenario, folder: Path) -> Deviation | None:
    try:
        with _player(manifest, scenario, folder) as player:
            for step in scenario.steps:
                player.step(step)
    except Deviation as deviation:
        return deviation
    except Abandoned:
        pass
    return None


_count = 0


@contextmanager
def _player(manifest: Manifest, scenario: Scenario, folder: Path) -> Iterator[Player]:
    global _count
    _count += 1
    player = Player(manifest, scenario, folder / f"parent-{_count}")
    try:
        yield player
    finally:
        player.close()
