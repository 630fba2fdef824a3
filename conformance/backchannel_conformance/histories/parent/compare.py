"""What a parent has done, compared with what the model would do: is there a way to read the inputs that leads to it?

What the suite does in one step, a parent may notice in several passes, in any order that the system allows; deadlines
may pass before it, with it, or after it. The model is told what was read in which pass, so all these *ways* are tried,
and those are kept that lead to what was seen: one or more *beliefs* about the parent. If none is left, the parent
deviates.

Times: the model is given the earliest time at which the parent can have noticed something. So an action that comes
before the model's time is too early for sure. One that does not come is late for sure when the parent, which was seen
asleep, has slept through the time by more than ``slack`` (the longest that the parent took to notice something) and
:data:`LATE`.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ...model import Action, Model
from ...model.choices import may_probe
from ...waiting import scale
from . import clock
from .clock import PutOff, Waiting
from .seen import Seen
from .states import alike, state_of

__all__ = ["Beliefs", "Seen", "TooMany", "Way"]

Line = dict[str, Any]
Thread = tuple[Line, ...]
MOST = 48
"""Beliefs, at most: what comes after has to be tried for each of them, and another history says more for less."""
TRIED = 1000
"""Turns for one step, at most."""
LATE = 0.1
"""Seconds by which a parent that sleeps may miss a deadline."""


PROMPT = 0.02
"""Seconds in which a parent that has slept has done what a deadline leads to."""


class TooMany(Exception):
    """It cannot be told, within reason, which way the parent took."""


@dataclass(frozen=True)
class Way:
    """A way to read a step, as far as it has been gone."""

    model: Model
    at: float
    """The model's last turn."""
    threads: tuple[Thread, ...]
    """What is still to be read: each thread in its order, and nothing is said of the order between them."""
    seen: Seen
    turns: tuple[tuple[float, Thread, tuple[Action, ...]], ...] = ()
    """What the model was told, and what it did."""
    put_off: PutOff = ()
    """Deadlines that may have passed, and that the parent has not acted on yet."""

    def key(self) -> Any:
        """Equal for ways that have come to the same."""
        seen = self.seen
        left = tuple(tuple(map(str, thread)) for thread in self.threads)
        return left, tuple(sorted((slot, actions) for slot, actions in seen.slots.items())), seen.spawns, seen.status

    def turn(
        self, now: float, read: Thread, rest: tuple[Thread, ...], pending: Sequence[Mapping[int, int]]
    ) -> Iterator[Way]:
        """The next pass is at ``now``, reads ``read``, and leaves ``rest``: what may come of it, if that was seen."""
        # a pass that reads nothing may come before what the step does to the queues
        known = [line for line in read if line.get("slot", -1) in (-1, *self.model.pool.workers)]
        for counts in pending[-1:] if read else pending:
            for model in self.model.passes(now, known, counts):
                yield from self._after(model, now, read, rest, ())

    def waits(self, deadline: Waiting, until: float) -> Way:
        """The same, but the parent has not acted on ``deadline`` before ``until``."""
        model = self.model.copy()
        put_off = clock.put_off(model, self.put_off, deadline, until)
        return replace(self, model=model, put_off=put_off)

    def _after(
        self, model: Model, now: float, read: Thread, rest: tuple[Thread, ...], done: tuple[Action, ...]
    ) -> Iterator[Way]:
        seen: Seen | None = self.seen
        for action in done:
            seen = seen.without(action) if seen else None
        given_up = [action for action in model.pool.due if action.do == "GiveUp"]
        for action in given_up or list(model.pool.due):
            seen = seen.without(action) if seen else None
            if seen is None:
                return
            if not model.pool.due.came(action):
                raise AssertionError(f"{action} is due, but may not come")
            if action.do == "Kill" and action.slot in model.pool.workers:
                rest = _with_exit(rest, action.slot)
            if action.do == "GiveUp":
                rest = ()
            done = (*done, action)
        if seen is None:
            return
        if model.state == "DRAINING" and not model.pool.workers:
            if seen.status != 0:
                return
            rest, seen = (), replace(seen, status=None)
        yield Way(model, now, rest, seen, (*self.turns, (now, read, done)), self.put_off)
        probes = [actions[0] for actions in seen.slots.values() if actions and may_probe(model.pool, actions[0])]
        for action in (*model.may(), *probes):
            if seen.without(action) is not None:  # it was done, or nobody can see whether it was
                for other in model.after(action) or [_probed(model, action)]:
                    yield from self._after(other, now, read, rest, (*done, action))


class Beliefs:
    """The models that agree with all that was seen so far."""

    def __init__(self, model: Model) -> None:
        self.models: list[tuple[Model, float, PutOff]] = [(model, float("-inf"), ())]
        """Each with the time of its last turn."""
        self.slack = 0.0
        self.first = 0.0
        """When the parent began, at the earliest."""
        self.extra = 0.0
        """What the slack is more for what is counted from then."""

    def _extra(self, one: Waiting) -> float:
        first = one.begun is not None and self.first <= one.begun <= self.first + self.extra
        return self.extra if first else 0.0

    @property
    def model(self) -> Model:
        """One of them."""
        return self.models[0][0]

    def next_time(self, after: float) -> float | None:
        """When, after ``after``, the first of them has something to do."""
        times = [when for model, *_ in self.models if (when := model.next_time()) is not None and when > after]
        return min(times, default=None)

    def explain(
        self,
        begun: float,
        asleep: float,
        ended: float,
        inputs: Sequence[Line],
        pending: Sequence[Mapping[int, int]],
        seen: Seen,
    ) -> list[Way]:
        """The ways that lead from a belief to what was seen between ``begun`` and ``ended``. At ``asleep`` the parent
        slept, and had read everything. ``pending`` is what was pending before and after the step.
        """
        found: list[Way] = []
        marks: set[Any] = set()
        tried = 0
        met: dict[Any, list[tuple[float | None, ...]]] = {}
        certain = asleep - self.slack - LATE * scale()
        past = begun - self.slack - LATE * scale()
        todo = [Way(model, at, threads_of(inputs), seen, put_off=put_off) for model, at, put_off in self.models]
        while todo:
            way = todo.pop()
            waiting = clock.waiting(way.model, way.put_off)
            late = [one for one in waiting if one.binds and one.since < certain - self._extra(one)]
            if not way.threads and way.seen.is_explained and not late:
                found.append(way)
            # a pass that has nothing to do is never late, but once its time is past for sure, it is not put off either
            doubtful = [one for one in waiting if one.binds or one.first >= past - self._extra(one)]
            if (one := clock.uncertain(doubtful, begun, ended)) is not None and one[0] not in late:
                off = way.waits(*one)
                mark = (off.key(), state_of(off.model), off.put_off)
                if mark not in marks:
                    marks.add(mark)
                    todo.append(off)
                    tried += 1
            for now, read, rest in _options(way, begun, ended, waits=any(any(counts.values()) for counts in pending)):
                for on in way.turn(now, read, rest, pending if pending[0] != pending[-1] else pending[-1:]):
                    state, times = state_of(on.model)
                    known = met.setdefault((on.key(), state), [])
                    if not any(alike(times, others) for others in known):
                        known.append(times)
                        todo.append(on)
                tried += 1
                if tried > TRIED:
                    raise TooMany(f"more than {TRIED} ways to read {json.dumps(inputs)}")
        return found

    def keep(self, ways: Sequence[Way], begun: float, ended: float) -> None:
        """These are what may have happened. ``begun``: when the step was done, or the time it waited for had come."""
        if len(ways) > MOST:
            raise TooMany(f"{len(ways)} beliefs")
        self.models = [(way.model, way.at, way.put_off) for way in ways]
        known = [line for way in ways for line in way.turns]
        read = [ended - now for now, inputs, _ in known if inputs]
        late = [ended - max(now, begun) for now, inputs, done in known if done and not inputs]
        # what a deadline has led to is known as well as the deadline, if the parent slept again right after it
        more = max([lag for lag in late if lag > PROMPT * scale()], default=0.0)
        self.slack = max([self.slack + more, *read])


def _probed(model: Model, action: Action) -> Model:
    other = model.copy()
    other.saw(action)
    return other


def threads_of(inputs: Sequence[Line]) -> tuple[Thread, ...]:
    """Inputs in the order in which they can be noticed: those of one worker one after the other, as all others."""
    found: dict[Any, list[Line]] = {}
    for line in inputs:
        source = ("slot", line["slot"]) if "slot" in line else (line["in"], line.get("listener"))
        found.setdefault(source, []).append(line)
    return tuple(map(tuple, found.values()))


def _options(
    way: Way, begun: float, ended: float, *, waits: bool
) -> Iterator[tuple[float, Thread, tuple[Thread, ...]]]:
    """What the next pass may be: its time, what it reads, and what it leaves."""
    due = way.model.next_time()
    times = [max(begun, way.at)]
    if due is not None and due <= ended:
        yield max(due, way.at), (), way.threads
        if due > times[0]:
            times.append(due)
    if waits and not way.threads and not way.turns:
        yield times[0], (), ()  # a parent may wake for nothing, and count
    for now in times:
        for read, rest in _subsets(way.threads):
            yield now, read, rest


def _subsets(threads: tuple[Thread, ...]) -> Iterator[tuple[Thread, tuple[Thread, ...]]]:
    """Some of the threads, each as far as one likes, in any order; and what is left of all."""
    for count in range(1, len(threads) + 1):
        for order in itertools.permutations(range(len(threads)), count):
            for lengths in itertools.product(*(range(len(threads[at]), 0, -1) for at in order)):
                taken: list[Line] = []
                left = dict(enumerate(threads))
                for at, length in zip(order, lengths, strict=True):
                    taken += threads[at][:length]
                    left[at] = threads[at][length:]
                yield tuple(taken), tuple(thread for thread in left.values() if thread)


def _with_exit(threads: tuple[Thread, ...], slot: int | None) -> tuple[Thread, ...]:
    """``threads``, and the exit of a worker that has been killed, after whatever else is to be read of it."""
    mine = next((thread for thread in threads if thread[0].get("slot") == slot), ())
    if any(line["in"] == "exited" for line in mine):
        return threads
    others = tuple(thread for thread in threads if thread is not mine)
    return (*others, (*mine, {"in": "exited", "slot": slot, "status": -9}))
