"""A trial: the histories of one seed, on one parent; and what is found when one deviates."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from ... import SPEC
from ...manifest import Manifest
from ..plan import CHUNK, STEPS, plan
from ..shrink import shrink
from . import chart, generate
from .play import Abandoned, Deviation, Player, model_of
from .scenario import Line, Scenario
from .stage import Stage
from .vectors import vector_of

__all__ = ["Trial", "play", "run", "watches_edges"]


@dataclass
class Trial:
    """What came of it. ``clause`` does not hold, if there is one, and ``report`` says why."""

    steps: int = 0
    """That were played, and fit."""
    abandoned: list[str] = field(default_factory=list)
    """Why nothing more could be said of a parent: the machine was too slow, or too much may have happened."""
    clause: str = ""
    report: str = ""


def run(manifest: Manifest, seed: int, folder: Path) -> Trial:
    """Play the histories of ``seed``; shrink and report what deviates."""
    rng = random.Random(seed)
    trial = Trial()
    left = CHUNK * STEPS
    # one that ends early, by a signal or for want of workers, is followed by another
    for _ in range(CHUNK):
        if left <= 0:
            break
        scenario = generate.begin(rng, manifest)
        scenario.seed = seed
        try:
            with _player(manifest, scenario, folder) as player:
                while left > 0 and not player.over:
                    left -= 1
                    step = generate.next_step(rng, player, time.monotonic())
                    if step is None:
                        break
                    trial.steps += player.step(step)
        except Deviation as deviation:
            trial.clause, trial.report = _found(manifest, deviation, folder)
            break
        except Abandoned as reason:
            trial.abandoned.append(str(reason))
    return trial


def play(manifest: Manifest, scenario: Scenario, folder: Path, *, prompt: bool = True) -> None:
    """Play it on a fresh parent. Raises :class:`Deviation` and :class:`Abandoned`."""
    with _player(manifest, scenario, folder, prompt=prompt) as player:
        for step in scenario.steps:
            player.step(step)


def _found(manifest: Manifest, deviation: Deviation, folder: Path) -> tuple[str, str]:
    """The clause and the report."""
    scenario = deviation.player.scenario.but(deviation.player.done)

    def again(steps: Sequence[Line]) -> tuple[list[Line], Deviation] | None:
        found = _again(manifest, scenario.but(steps), folder)
        return None if found is None else (found.player.done, found)

    shorter = shrink(scenario.steps, again) if plan().shrinks else None
    told = shorter[1] if shorter else deviation
    note = "" if shorter else "it did not deviate again when it was repeated, so this is the whole of it; "
    saved = ""
    if (path := plan().save) is not None:
        path.write_text(_vector(manifest, told), encoding="utf-8")
        saved = f"saved in {path}; "
    report = f"{told.what}; {note}{saved}--seed {scenario.seed} --histories 1 repeats it; {chart.show(told)}"
    # a parent that waits for the tick of a clock does not follow advice, and breaks no rule
    less = scenario.but(told.player.done)
    clocked = shorter and _is_of_scaling(told) and _again(manifest, less, folder, prompt=False) is None
    return ("BC-SCALE-16" if clocked else told.clause), report


def _is_of_scaling(told: Deviation) -> bool:
    return told.is_late and told.clause.startswith(("BC-SCALE", "BC-RELOAD"))


def _vector(manifest: Manifest, told: Deviation) -> str:
    """A file of vectors with the one that ``told`` makes."""
    scenario = told.player.scenario
    model = model_of(manifest, scenario.options, scenario.listeners, edges=True)
    name = f"seed {scenario.seed}: {told.what}"
    traces = [vector_of(model, told.player.story, name, told.clause)]
    return json.dumps({"kind": "parent", "spec": SPEC, "traces": traces}, indent=1) + "\n"


def _again(manifest: Manifest, scenario: Scenario, folder: Path, *, prompt: bool = True) -> Deviation | None:
    try:
        play(manifest, scenario, folder, prompt=prompt)
    except Deviation as deviation:
        return deviation
    except Abandoned:
        pass
    return None


_watching: dict[str, bool] = {}
_count = 0


def watches_edges(manifest: Manifest, folder: Path) -> bool:
    """Whether its parent counts what is pending while an order is in flight (BC-WATCH-04), and does not leave the
    listener alone meanwhile (BC-WATCH-05): either is right, and one parent does the one or the other.
    """
    key = repr((manifest.path, manifest.roles["parent"].commands))
    if "counted" not in manifest.classes:
        return False
    if key not in _watching:
        options = {"start": "2", "min": "2", "max": "2", "capacity": "1", "order_deadline": "600"}
        with closing(Stage(manifest, options, folder / "watching")) as stage:
            stage.expect(2)
            ordered = 0
            for step in _TWO_ARRIVALS:
                stage.play(step)
                stage.settle()
                ordered += sum(line["out"] == "Send" for line in stage.look())
        _watching[key] = ordered > 3
    return _watching[key]


_GREET = [{"type": "HELLO", "capacity": 1}], [{"type": "BUSY", "accepted": 0}]
_TWO_ARRIVALS: list[Line] = [
    *({"do": "write", "slot": slot, "frames": frames} for slot in (0, 1) for frames in _GREET),
    {"do": "connect"},
    {"do": "connect"},
]


@contextmanager
def _player(manifest: Manifest, scenario: Scenario, folder: Path, *, prompt: bool = True) -> Iterator[Player]:
    global _count
    _count += 1
    edges = watches_edges(manifest, folder)
    player = Player(manifest, scenario, folder / f"parent-{_count}", edges=edges, prompt=prompt)
    try:
        yield player
    finally:
        player.close()
