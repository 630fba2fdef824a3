"""A parent as the specification describes it, complete: what is due after each thing that happens.

    model = Model({"capacity": 2}, {"start": 1, "min": 1, "max": 1}, listeners=2)
    model.turn(0.0, [{"in": "start"}])             # one pass: returns the actions that are due now
    model.saw(Action("Spawn", 0))                  # one action was seen; raises Deviation if it should not have been
    model.settled()                                # raises Deviation if an action that is due was not seen

Inputs have the form of ``vectors/parent.json``. Where the specification leaves a choice, :meth:`Model.saw` takes
either: what may be seen but need not be is in :meth:`Model.may`. Choices that cannot be seen at once are arguments:
which counts a pass reads (``lazy``), and what is read in which pass (the caller tries each on a :meth:`Model.copy`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from . import dispatch, reload
from .actions import Action, Deviation
from .choices import choices, may_probe
from .inputs import INPUTS
from .pool import Pool
from .sizing import NEVER, Sizer
from .workers import LATE, Worker, protocol

__all__ = ["Model"]

_TRACED = {"period": "pass"}
"""Settings whose names the language of a trace's parent has taken."""


class Model:
    """A parent. ``settings`` and ``scaling`` are those that differ from ``protocol.toml``.

    ``counted``, ``scales``: it declares these classes; without the second, ``scaling["start"]`` is its pool's size.
    ``edges``: it watches edge-triggered (BC-WATCH-04, BC-WATCH-05). ``prompt``: it does not wait for the tick of a
    clock (BC-SCALE-16). ``strict``: its decisions are seen one by one, as in a trace.
    """

    def __init__(
        self,
        settings: Mapping[str, Any] | None = None,
        scaling: Mapping[str, Any] | None = None,
        listeners: int = 1,
        *,
        state: str = "RUNNING",
        counted: bool = True,
        scales: bool = True,
        edges: bool = True,
        prompt: bool = True,
        strict: bool = False,
    ) -> None:
        given = {"capacity": 1, "policy": None} | dict(settings or {})
        given["policy"] = given["policy"] or ("lowest" if given["capacity"] == 1 else "least-loaded")  # BC-PICK-01, -02
        rules = {_TRACED.get(name, name): value for name, value in (scaling or {}).items()}
        tables = protocol()
        self.pool = Pool(
            tables["defaults"] | given,
            tables["scaling"] | rules,
            listeners,
            strict=strict,
            prompt=prompt,
            scales=scales,
        )
        self.state = state
        self.counted, self.edges = counted, edges
        self.stop_by: float | None = None
        self.kept: bool | None = None
        """A reload that was requested on STANDBY: whether it was one at once."""

    def copy(self) -> Model:
        """The same model, apart from this one."""
        other = Model.__new__(Model)
        other.__dict__.update(self.__dict__)
        other.pool = self.pool.copy()
        return other

    # ------------------------------------------------------------------------------------------ one pass

    def turn(
        self,
        now: float,
        inputs: Iterable[Mapping[str, Any]] = (),
        pending: Mapping[int, int] | None = None,
        *,
        lazy: bool = False,
    ) -> list[Action]:
        """One whole pass at ``now`` (BC-PASS-01); returns everything that is due and has not been seen.

        ``inputs`` is what this pass reads, in that order. ``pending`` is the true pending count of each listener: the
        pass reads all of them, or, if it is ``lazy``, only those that it has to read.
        """
        for line in inputs:
            self.told({**line, "now": now})
        self.judge(now)
        self.dispatch(self._counts(pending or {}, lazy=lazy))
        self.scale()
        return list(self.pool.due)

    def counts_of(
        self, now: float, inputs: Iterable[Mapping[str, Any]], pending: Mapping[int, int]
    ) -> Mapping[int, int]:
        """One whole pass, as :meth:`turn` with ``lazy``; returns the counts that it has read."""
        for line in inputs:
            self.told({**line, "now": now})
        self.judge(now)
        counts = self._counts(pending, lazy=True)
        self.dispatch(counts)
        self.scale()
        return counts

    def passes(
        self, now: float, inputs: Iterable[Mapping[str, Any]] = (), pending: Mapping[int, int] | None = None
    ) -> list[Model]:
        """What one pass at ``now`` may come to, each a model apart from this one: it reads every count, or only those
        that it has to read. As :meth:`turn` for both, where that makes a difference.
        """
        every = self.copy()
        for line in inputs:
            every.told({**line, "now": now})
        every.judge(now)
        models = [(every, every._counts(pending or {}, lazy=False))]
        few = every._counts(pending or {}, lazy=True)
        if any(every._tells(listener, count) for listener, count in models[0][1].items() if listener not in few):
            models.append((every.copy(), few))
        if any(every._is_spared(worker) for worker in every.pool.workers.values()):
            models += [(model.copy(), counts) for model, counts in models]
            for model, _ in models[len(models) // 2 :]:
                model.pool.forgives_everybody = True
        for model, counts in models:
            model.dispatch(counts)
            model.scale()
            model.pool.forgives_everybody = False
        found = [model for model, _ in models]
        for model in [*found]:
            # a pool that is not short any more may be so again before a pass has seen it (BC-SCALE-05)
            if model.pool.sizer.rate > 1 and model.sizing and not model.needs()[0]:
                found.append(model.copy())
                found[-1].pool.sizer.rate = 1
        return found

    def _is_spared(self, worker: Worker) -> bool:
        """Whether it is passed over and may not be chosen: when the others are forgiven, it may be, or may not be."""
        free = worker.state == "READY" and worker.order is None and worker.load < worker.capacity
        return bool(worker.passed_over) and not (free and worker.cool_until <= self.pool.now)

    def _tells(self, listener: int, count: int) -> bool:
        """Whether it makes a difference that ``count`` is read."""
        backlog = self.pool.backlogs[listener]
        workers = self.pool.workers.values()
        if count or backlog.owed or backlog.stale or self.state == "STOPPING":
            return True
        return any(listener in worker.passed_over or listener in worker.series for worker in workers)

    def _counts(self, pending: Mapping[int, int], *, lazy: bool) -> dict[int, int]:
        if not self.dispatching:
            return {}
        stopping = self.state == "STOPPING"
        counts = dict(pending)
        if lazy and self.edges and self.counted:
            must = dispatch.must_count(self.pool, stopping=stopping)
            counts = {listener: count for listener, count in counts.items() if listener in must}
        elif lazy and stopping:
            cooling = {at for at, backlog in enumerate(self.pool.backlogs) if backlog.cool_until > self.pool.now}
            counts = {listener: count for listener, count in counts.items() if listener not in cooling}
        elif lazy:
            # the listener is out of the poll set while anything is in flight; watched, it says only that it is readable
            busy = {at for at, backlog in enumerate(self.pool.backlogs) if backlog.in_flight}
            counts = {listener: count for listener, count in counts.items() if count and listener not in busy}
        if self.counted:
            return counts
        # one at a time: 1 while it is readable and nothing is in flight (BC-PEND-03)
        blind = {at for at, backlog in enumerate(self.pool.backlogs) if backlog.in_flight and counts.get(at)}
        return {listener: min(count, 1) for listener, count in counts.items() if listener not in blind}

    def judge(self, now: float) -> None:
        """Deadlines, that of a stop after those of workers (BC-PASS-04)."""
        pool = self.pool
        pool.now = now
        pool.due.then()
        for backlog in pool.backlogs:
            if NEVER < backlog.cool_until <= now:
                backlog.cool_until = NEVER
                backlog.look_again()
        for worker in list(pool.workers.values()):
            if worker.order and worker.order.due is not None and not worker.order.expired and worker.order.due <= now:
                pool.expire(worker)
            if worker.until is not None and worker.until <= now:
                event, clause = LATE[worker.state]
                pool.kill(worker, event, clause=clause)
        if self.stop_by is not None and self.stop_by <= now:
            self.stop_by = None
            if self.become("stop_deadline"):
                pool.drain_all("BC-STOP-01")

    def dispatch(self, counts: Mapping[int, int]) -> None:
        """``counts`` were read: orders, and the end of what waits for orders."""
        pool = self.pool
        dispatch.dispatch(pool, counts)
        if self.state == "STOPPING" and dispatch.settled(pool) and self.become("settled"):
            pool.drain_all("BC-STOP-01")
        if self.state == "YIELDING" and not any(backlog.in_flight for backlog in pool.backlogs):
            self.become("settled")
            pool.due.then()
            pool.due.add(Action("Release", clause="BC-BATON-02"))
            pool.drain_all("BC-BATON-02")

    def scale(self) -> None:
        """Go on with a reload, spawn, retire: what must be done by now."""
        pool, sizer = self.pool, self.pool.sizer
        if not self.sizing:
            return
        pool.due.then()
        if pool.reloading:
            reload.relieve(pool)
        if pool.reloading and sizer.prompt and pool.now >= self._must_go_on:
            for _ in range(reload.lacking(pool)):
                pool.spawn(newcomer=True, clause="BC-RELOAD-01")
        spawn, retire = self._look(sizer)
        if spawn and pool.now >= sizer.must_spawn:
            sizer.spawned(pool.now)
            for _ in range(spawn):
                pool.spawn(clause="BC-SCALE-04")
        elif retire is not None and pool.now >= sizer.must_retire and not pool.reloading:
            sizer.retired(pool.now)
            pool.drain(pool.workers[retire], clause="BC-SCALE-07")

    @property
    def _must_go_on(self) -> float:
        """From when on a reload must have spawned the newcomer that it lacks.

        No requirement says whether its steps are passes that act (BC-SCALE-06), so they may come before.
        """
        sizer = self.pool.sizer
        return max(sizer.must_act, sizer.not_before, sizer.delayed_until)

    def needs(self) -> tuple[int, int | None]:
        """How many the pool is short of, or who is one too many (BC-RELOAD-06: nobody during a reload). This is no
        pass: nothing is remembered.
        """
        return self._look(self.pool.sizer.copy())

    def _look(self, sizer: Sizer) -> tuple[int, int | None]:
        pool = self.pool
        if sizer.scales:
            spawn, retire = sizer.look(pool.now, pool.views())
        else:
            spawn, retire = sizer.replace(pool.now, pool.views()), None
        if retire is not None and pool.reloading and not reload.may_end(pool):
            sizer.surplus_since = retire = None
        return spawn, retire

    # ------------------------------------------------------------------------------------ what is seen

    def saw(self, action: Action) -> None:
        """``action`` was seen. Raises :class:`Deviation` unless it is due or may be done."""
        pool = self.pool
        if pool.due.came(action) or self._over:
            return
        chosen = dict(choices(self)).get(action)
        if chosen is not None:
            chosen()
            return
        if may_probe(pool, action):
            pool.send(pool.workers[action.slot or 0], 0, 0, clause="", expect=False)
            return
        raise Deviation(f"{self._wanted()}, but there came {action}")

    def may(self) -> list[Action]:
        """What may be done now, but need not be. (Besides, any worker may be probed: BC-ORDER-03.)"""
        return list(dict(choices(self)))

    def after(self, action: Action) -> list[Model]:
        """Models that have seen ``action``, one of :meth:`may`: one for each reason that it may have been done for."""
        found = []
        for number, (one, _) in enumerate(choices(self)):
            if one == action:
                other = self.copy()
                choices(other)[number][1]()
                found.append(other)
        return found

    def settled(self) -> None:
        """Nothing more is seen. Raises :class:`Deviation` if something is still due."""
        for action in () if self._over else self.pool.due:
            raise Deviation(f"{action.clause}: {action} was due, but it was not done")

    @property
    def _over(self) -> bool:
        """The parent has been seen to give up (BC-SCALE-13): how it ends is its own affair."""
        return self.pool.gave_up and not any(action.do == "GiveUp" for action in self.pool.due)

    def _wanted(self) -> str:
        due, may = self.pool.due.next(), self.may()
        if due:
            return "; or ".join(f"{action.clause}: expected {action}" for action in due)
        if may:
            return "nothing was to be done, except perhaps " + ", or ".join(map(str, may))
        return "nothing was to be done"

    # ---------------------------------------------------------------------------------------------- time

    def next_time(self) -> float | None:
        """The earliest time after the last pass at which time alone makes something due or allowed; or ``None``."""
        pool, sizer = self.pool, self.pool.sizer
        times = [self.stop_by, *(backlog.cool_until for backlog in pool.backlogs)]
        for worker in pool.workers.values():
            times += [worker.until, worker.cool_until]
            if worker.order and not worker.order.expired:
                times.append(worker.order.due)
        if self.sizing:
            spawn, retire = self.needs()
            if spawn:
                times += [sizer.may_spawn, sizer.must_spawn]
            if retire is not None:
                times += [sizer.may_act, sizer.must_retire]
            if pool.reloading and reload.lacking(pool):
                times += [sizer.delayed_until, self._must_go_on]
        return min((time for time in times if time is not None and time > pool.now), default=None)

    # -------------------------------------------------------------------------------------------- inputs

    def told(self, line: Mapping[str, Any]) -> None:
        """One input happens: what it leads to at once is due. Raises :class:`Deviation` for one that cannot happen."""
        if self._over:
            return
        arguments = {name: value for name, value in line.items() if name != "in"}
        self.pool.now = arguments.pop("now", self.pool.now)
        if line["in"] not in INPUTS:
            raise Deviation(f"{line['in']} is no input that the model knows")
        INPUTS[line["in"]](self, **arguments)

    @property
    def dispatching(self) -> bool:
        """Whether the listeners are this parent's."""
        return self.state in ("RUNNING", "STOPPING")

    @property
    def sizing(self) -> bool:
        """Whether it spawns and retires (BC-STOP-02, BC-BATON-05)."""
        return self.state in ("STANDBY", "RUNNING")

    def become(self, event: str) -> bool:
        """Move the parent's own machine; whether ``event`` has an effect."""
        after = protocol()["parent"][self.state][event]
        if after == "no effect":
            return False
        self.state = after
        return True
