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

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from . import dispatch, reload, reports
from .actions import Action, Deviation
from .pool import Pool
from .sizing import NEVER
from .workers import LATE, READING, Worker, protocol

__all__ = ["Model"]

_DISPATCHING = ("RUNNING", "STOPPING")
_SIZING = ("STANDBY", "RUNNING")
_TRACED = {"period": "pass"}
"""Settings whose names the language of a trace's parent has taken."""


class Model:
    """A parent. ``settings`` and ``scaling`` are those that differ from ``protocol.toml``.

    ``counted``, ``scales``: it declares these classes; without the second, ``scaling["start"]`` is the size of its pool.
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
        return [model for model, _ in models]

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
        if self.state not in _DISPATCHING:
            return {}
        stopping = self.state == "STOPPING"
        counts = dict(pending)
        if lazy and self.edges and self.counted:
            must = dispatch.must_count(self.pool, stopping=stopping)
            counts = {listener: count for listener, count in counts.items() if listener in must}
        elif lazy and not stopping:
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
                pool.drain_all()

    def dispatch(self, counts: Mapping[int, int]) -> None:
        """``counts`` were read: orders, and the end of what waits for orders."""
        pool = self.pool
        dispatch.dispatch(pool, counts)
        if self.state == "STOPPING" and dispatch.settled(pool) and self.become("settled"):
            pool.drain_all()
        if self.state == "YIELDING" and not any(backlog.in_flight for backlog in pool.backlogs):
            self.become("settled")
            pool.due.then()
            pool.due.add(Action("Release", clause="BC-BATON-02"))
            pool.drain_all()

    def scale(self) -> None:
        """Go on with a reload, spawn, retire: what must be done by now."""
        pool, sizer = self.pool, self.pool.sizer
        if self.state not in _SIZING:
            return
        pool.due.then()
        if pool.reloading:
            reload.relieve(pool)
        if pool.reloading and pool.now >= max(sizer.must_act, sizer.delayed_until):
            for _ in range(reload.lacking(pool)):
                pool.spawn(newcomer=True, clause="BC-RELOAD-01")
        spawn, retire = self._needs()
        if spawn and pool.now >= sizer.must_spawn:
            sizer.spawned(pool.now)
            for _ in range(spawn):
                pool.spawn(clause="BC-SCALE-04")
        elif retire is not None and pool.now >= sizer.must_retire and not pool.reloading:
            sizer.retired(pool.now)
            pool.drain(pool.workers[retire], clause="BC-SCALE-07")

    def _needs(self) -> tuple[int, int | None]:
        """How many the pool is short of, or who is one too many (BC-RELOAD-06: nobody during a reload)."""
        pool = self.pool
        if pool.sizer.scales:
            spawn, retire = pool.sizer.look(pool.now, pool.views())
        else:
            spawn, retire = pool.sizer.replace(pool.now, pool.views()), None
        if retire is not None and pool.reloading and not reload.may_end(pool):
            pool.sizer.surplus_since = retire = None
        return spawn, retire

    # ------------------------------------------------------------------------------------ what is seen

    def saw(self, action: Action) -> None:
        """``action`` was seen. Raises :class:`Deviation` unless it is due or may be done."""
        pool = self.pool
        if pool.due.came(action) or self._over:
            return
        chosen = self._choices().get(action)
        if chosen is not None:
            chosen()
            return
        if action.do == "Send" and not action.max and self._may_probe(action):
            pool.send(pool.workers[action.slot or 0], 0, 0, clause="BC-ORDER-03")
            pool.due.came(action)
            return
        raise Deviation(f"{self._wanted()}, but there came {action}")

    def may(self) -> list[Action]:
        """What may be done now, but need not be. (Besides, any worker may be probed: BC-ORDER-03.)"""
        return list(self._choices())

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

    def _choices(self) -> dict[Action, Callable[[], None]]:
        """What the specification leaves to the parent now, and what it changes if it is done."""
        pool, sizer = self.pool, self.pool.sizer
        choices: dict[Action, Callable[[], None]] = {}
        if self.state not in _SIZING:
            return choices
        spawn, retire = self._needs()
        if spawn and pool.now >= sizer.may_spawn:
            choices[Action("Spawn", pool.free_slot)] = lambda: self._spawned(spawn)
        if retire is not None and pool.now >= sizer.may_act:
            choices[Action("HalfClose", retire)] = lambda: self._retired(pool.workers[retire])
        if pool.reloading and pool.now >= sizer.delayed_until and reload.lacking(pool):
            choices[Action("Spawn", pool.free_slot)] = lambda: pool.spawn(newcomer=True, clause="", expect=False)
        if reload.may_end(pool):
            choices[Action("Reloaded")] = lambda: pool.end_reload(expect=False)
        if self.kept is not None and self.state == "RUNNING":
            choices[Action("Spawn", pool.free_slot)] = self._kept_reload
        return choices

    def _spawned(self, count: int) -> None:
        if not self.pool.sizer.scales:
            count = 1  # each by itself
        self.pool.sizer.spawned(self.pool.now)
        for number in range(count):
            self.pool.spawn(clause="BC-SCALE-04", expect=number > 0)

    def _retired(self, worker: Worker) -> None:
        self.pool.sizer.retired(self.pool.now)
        self.pool.drain(worker, clause="", expect=False)

    def _kept_reload(self) -> None:
        reload.begin(self.pool, at_once=bool(self.kept))
        self.kept = None
        self.pool.spawn(newcomer=True, clause="", expect=False)

    def _may_probe(self, action: Action) -> bool:
        """An ACCEPT with ``max`` 0 to somebody who owes no answer and has room, or can do without (BC-ORDER-03)."""
        worker = self.pool.workers.get(action.slot if action.slot is not None else -1)
        if worker is None or worker.state != "READY" or worker.order or action.listener:
            return False
        number = worker.last_order + 1 if worker.last_order < 0xFFFFFFFF else 1
        return action.order == number and (worker.responsive or worker.open < worker.capacity)

    # ---------------------------------------------------------------------------------------------- time

    def next_time(self) -> float | None:
        """The earliest time after the last pass at which time alone makes something due or allowed; or ``None``."""
        pool, sizer = self.pool, self.pool.sizer
        times = [self.stop_by, *(backlog.cool_until for backlog in pool.backlogs)]
        for worker in pool.workers.values():
            times += [worker.until, worker.cool_until]
            if worker.order and not worker.order.expired:
                times.append(worker.order.due)
        if self.state in _SIZING:
            spawn, retire = self._needs()
            if spawn:
                times += [sizer.may_spawn, sizer.must_spawn]
            if retire is not None:
                times += [sizer.may_act, sizer.must_retire]
            if pool.reloading and reload.lacking(pool):
                times += [sizer.delayed_until, max(sizer.must_act, sizer.delayed_until)]
        return min((time for time in times if time is not None and time > pool.now), default=None)

    # -------------------------------------------------------------------------------------------- inputs

    def told(self, line: Mapping[str, Any]) -> None:
        """One input happens: what it leads to at once is due. Raises :class:`Deviation` for one that cannot happen."""
        arguments = {name: value for name, value in line.items() if name != "in"}
        self.pool.now = arguments.pop("now", self.pool.now)
        method = getattr(self, f"_in_{line['in']}", None)
        if method is None:
            raise Deviation(f"{line['in']} is no input that the model knows")
        method(**arguments)

    def become(self, event: str) -> bool:
        """Move the parent's own machine; whether ``event`` has an effect."""
        after = protocol()["parent"][self.state][event]
        if after == "no effect":
            return False
        self.state = after
        return True

    def _worker(self, slot: int) -> Worker:
        if slot not in self.pool.workers:
            raise Deviation(f"something is said of worker {slot}, and there is none")
        return self.pool.workers[slot]

    def _in_start(self) -> None:
        self.pool.due.then()
        for _ in range(self.pool.sizer.rules["start"]):
            self.pool.spawn(clause="BC-SCALE-01")

    def _in_readable(self, listener: int) -> None:
        self.pool.backlogs[listener].look_again()

    def _in_received(self, slot: int, data: str) -> None:
        reports.read(self.pool, self._worker(slot), bytes.fromhex(data))

    def _in_eof(self, slot: int) -> None:
        worker = self._worker(slot)
        if worker.state in READING:
            self.pool.step(worker, "eof")
            self.pool.end_order(worker)  # BC-DEATH-02

    def _in_send_failed(self, slot: int) -> None:
        worker = self._worker(slot)
        if worker.state in READING:
            self.pool.due.then()
            self.pool.kill(worker, "violation", clause="BC-KILL-02")

    def _in_spawn_failed(self, slot: int, reason: str = "") -> None:
        self.pool.step(self._worker(slot), "exit")
        del self.pool.workers[slot]
        self.pool.sizer.could_not_start(self.pool.now)

    def _in_exited(self, slot: int, status: int) -> None:
        self.pool.due.then()
        self.pool.reap(self._worker(slot), status)

    def _in_stop(self) -> None:
        if not self.become("stop"):
            return
        if self.state == "DRAINING":  # on STANDBY what is pending is another parent's (BC-STOP-06)
            self.pool.drain_all()
            return
        self.pool.abandon_reload()
        self.stop_by = self.pool.now + self.pool.settings["stop_deadline"]
        self._look_again()

    def _in_reload(self, at_once: bool = False) -> None:
        if self.become("reload"):
            reload.begin(self.pool, at_once=at_once)
        elif self.state == "STANDBY":
            self.kept = at_once  # a parent may keep it until it is RUNNING

    def _in_hand_over(self) -> None:
        self.become("hand_over")

    def _in_keep(self) -> None:
        if self.become("keep"):
            self._look_again()

    def _in_take_over(self) -> None:
        if self.become("baton"):
            self._look_again()

    def _in_judge(self) -> None:
        self.judge(self.pool.now)

    def _in_scale(self) -> None:
        self.scale()

    def _in_dispatch(self, counts: Mapping[str, int]) -> None:
        """As a trace has it: the counts are those that were read, and all that had to be read are among them."""
        read = {int(listener): count for listener, count in counts.items()}
        if self.state in _DISPATCHING:
            for listener in dispatch.must_count(self.pool, stopping=self.state == "STOPPING") - set(read):
                raise Deviation(f"BC-PEND-02: the pending count of listener {listener} was not read")
        self.dispatch(read)

    def _look_again(self) -> None:
        for backlog in self.pool.backlogs:
            backlog.look_again()
