"""What a parent has done, compared with what the model would do: is there a way to read the inputs that leads to it?

What the suite does in one step, a parent may notice in several passes, in any order that the system allows; deadlines
may pass before it, with it, or after it. The model is deterministic, so all these ways are tried, and those are kept
that lead to what was seen: one or more *beliefs* about the parent. If none is left, the parent deviates.

Times: the model is given the earliest time at which the parent can have noticed something. So an action that comes
before the model's time is too early for sure. One that does not come is late for sure when the parent, which was seen
asleep, has slept through the time by more than ``slack`` (the longest that the parent took to notice something) and
``late``.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ..waiting import scale

__all__ = ["Beliefs", "Seen", "TooMany", "Way"]

Line = dict[str, Any]
MOST = 48
"""Beliefs, at most."""
TRIED = 4000
"""Turns for one step, at most."""
LATE = 0.1
"""Seconds by which a parent that sleeps may miss a deadline."""


class TooMany(Exception):
    """It cannot be told, within reason, which way the parent took."""


@dataclass
class Seen:
    """What was seen in a step: by slot what came over the channel and the kill; slots of new workers; the exit."""

    slots: dict[int, tuple[Any, ...]]
    spawns: tuple[int, ...]
    status: int | None

    @classmethod
    def of(cls, lines: Sequence[Line]) -> Seen:
        """Sort the lines that :meth:`Stage.look` gives."""
        slots: dict[int, list[str]] = {}
        spawns, status = [], None
        for line in lines:
            match line["out"]:
                case "Spawn":
                    spawns.append(line["slot"])
                case "Exit":
                    status = line["status"]
                case out:
                    slots.setdefault(line["slot"], []).append(line.get("data", out))
        return cls({slot: tuple(items) for slot, items in slots.items()}, tuple(sorted(spawns)), status)

    def without(self, line: Line, blind: Callable[[int], bool], told: Callable[[int], bool]) -> Seen | None:
        """What is left to be explained after the model's action ``line``; ``None``: this was not done."""
        out, slot = line["out"], line.get("slot", -1)
        if out == "Spawn":
            if slot not in self.spawns:
                return None
            at = self.spawns.index(slot)
            return replace(self, spawns=self.spawns[:at] + self.spawns[at + 1 :])
        if out in ("GiveUp", "Exit"):
            # whoever is left is killed, or finds the parent gone
            return Seen({}, (), None) if self.status == line["status"] else None
        if out not in ("Send", "HalfClose", "Kill"):
            return self  # nothing to be seen
        items = self.slots.get(slot, ())
        if items[:1] == (line.get("data", out),):
            return replace(self, slots={**self.slots, slot: items[1:]})
        if blind(slot) and out != "Kill" or out == "Kill" and told(slot):
            return self
        if out == "HalfClose" and items[:1] == ("Kill",):
            return self  # both in this step: the half-close cannot be seen any more
        return None

    @property
    def is_explained(self) -> bool:
        """Whether nothing is left."""
        return not any(self.slots.values()) and not self.spawns and self.status is None


@dataclass
class Way:
    """A way to read a step, as far as it has been gone."""

    model: Any
    threads: tuple[tuple[Line, ...], ...]
    seen: Seen
    at: float
    """The model's last turn."""
    turns: tuple[tuple[float, tuple[Line, ...], tuple[Line, ...]], ...] = ()
    """What the model was told, and what it did."""

    def key(self) -> Any:
        """Equal for ways that have come to the same."""
        left = tuple(tuple(map(str, thread)) for thread in self.threads)
        return left, tuple(sorted(self.seen.slots.items())), self.seen.spawns, self.seen.status, self.model.key()


class Beliefs:
    """The models that agree with all that was seen so far."""

    def __init__(self, model: Any) -> None:
        self.models: list[tuple[Any, float]] = [(model, float("-inf"))]
        """Each with the time of its last turn."""
        self.slack = 0.0

    @property
    def model(self) -> Any:
        """One of them."""
        return self.models[0][0]

    def next_time(self, after: float) -> float | None:
        """When, after ``after``, the first of them has something to do."""
        times = [when for model, _ in self.models if (when := model.next_time()) is not None and when > after]
        return min(times, default=None)

    def explain(
        self,
        begun: float,
        asleep: float,
        ended: float,
        inputs: Sequence[Line],
        pending: Mapping[int, int],
        lines: Sequence[Line],
        blind: Callable[[int], bool],
        told: Callable[[int], bool],
    ) -> list[Way]:
        """The ways that lead from a belief to what was seen between ``begun`` and ``ended``. At ``asleep`` the parent
        slept, and had read everything.
        """
        seen, tried = Seen.of(lines), 0
        found: list[Way] = []
        met: set[Any] = set()
        certain = asleep - self.slack - LATE * scale()
        for model, at in self.models:
            todo = [Way(model, threads_of(inputs), seen, at)]
            while todo:
                way = todo.pop()
                if not way.threads and way.seen.is_explained and not _overdue(way.model, certain):
                    found.append(way)
                for now, chosen, rest in _options(way, begun, ended):
                    tried += 1
                    if tried > TRIED:
                        raise TooMany(f"more than {TRIED} ways to read {json.dumps(inputs)}")
                    on = _turn(way, now, chosen, rest, pending, blind, told)
                    if on is not None and (key := on.key()) not in met:
                        met.add(key)
                        todo.append(on)
        return found

    def keep(self, ways: Sequence[Way], ended: float) -> None:
        """These are what may have happened."""
        if len(ways) > MOST:
            raise TooMany(f"{len(ways)} beliefs")
        self.models = [(way.model, way.at) for way in ways]
        self.slack = max([self.slack, *(ended - now for way in ways for now, _, _ in way.turns)])


def threads_of(inputs: Sequence[Line]) -> tuple[tuple[Line, ...], ...]:
    """Inputs in the order in which they can be noticed: those of one worker one after the other, as all others."""
    found: dict[Any, list[Line]] = {}
    for line in inputs:
        found.setdefault(("slot", line["slot"]) if "slot" in line else (line["in"], line.get("listener")), []).append(line)
    return tuple(map(tuple, found.values()))


def _overdue(model: Any, certain: float) -> bool:
    when = model.next_time()
    return when is not None and when < certain


def _options(
    way: Way, begun: float, ended: float
) -> Iterator[tuple[float, tuple[Line, ...], tuple[tuple[Line, ...], ...]]]:
    """What the next pass may be: its time, what it reads, and what it leaves."""
    due = way.model.next_time()
    times = [max(begun, way.at)]
    if due is not None and due <= ended:
        yield max(due, way.at), (), way.threads
        if due > times[0]:
            times.append(due)
    for now in times:
        for chosen in _subsets(way.threads):
            yield now, chosen[0], chosen[1]


def _subsets(
    threads: tuple[tuple[Line, ...], ...],
) -> Iterator[tuple[tuple[Line, ...], tuple[tuple[Line, ...], ...]]]:
    """Some of the threads, each to its end or its first line alone, in any order; and what is left of all."""
    numbers = range(len(threads))
    for count in range(1, len(threads) + 1):
        for order in itertools.permutations(numbers, count):
            for whole in itertools.product((True, False), repeat=count):
                if any(not all_ and len(threads[at]) == 1 for at, all_ in zip(order, whole, strict=True)):
                    continue
                taken: list[Line] = []
                left = dict(enumerate(threads))
                for at, all_ in zip(order, whole, strict=True):
                    taken += threads[at] if all_ else threads[at][:1]
                    left[at] = () if all_ else threads[at][1:]
                yield tuple(taken), tuple(thread for thread in left.values() if thread)


def _turn(
    way: Way,
    now: float,
    chosen: tuple[Line, ...],
    rest: tuple[tuple[Line, ...], ...],
    pending: Mapping[int, int],
    blind: Callable[[int], bool],
    told: Callable[[int], bool],
) -> Way | None:
    model = way.model.copy()
    outs = tuple(model.turn(now, [dict(line) for line in chosen], pending))
    seen: Seen | None = way.seen
    for line in outs:
        seen = seen.without(line, blind, told)
        if seen is None:
            return None
        if line["out"] == "Kill" and not any(_exits(thread, line["slot"]) for thread in rest):
            rest = (*rest, ({"in": "exited", "slot": line["slot"], "status": -9},))
        if line["out"] in ("GiveUp", "Exit"):
            rest = ()
    return Way(model, rest, seen, now, (*way.turns, (now, chosen, outs)))


def _exits(thread: Sequence[Line], slot: int) -> bool:
    return any(line["in"] == "exited" and line["slot"] == slot for line in thread)
