"""A trace of a parent, checked: every input is replayed, and each action must be the one that follows from it.

A parent's decisions are a function of what it has read, its settings and the time (BC-RULE-01). So the replay goes
through the trace with a table of workers of its own, moves it by the state tables of ``protocol.toml``, and works out
each order, kill, drain and spawn, slowly and simply. What differs from it is a :class:`Deviation`. The rules that the
model checks are asserted at every order besides.

The trace's form is that of ``spec/1.0/vectors/parent.json``. Inputs that are not known here (a reload, a hand-over)
end the prediction of spawns and drains; tables and orders go on being checked.
"""

from __future__ import annotations

import itertools
import json
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from . import frames, oracle
from .requirements import folder

__all__ = ["Deviation", "Replay", "check_trace"]

_READING = ("STARTING", "READY", "SUSPECT", "DRAINING")
_EVENTS = {"start": "start_deadline", "silence": "silence_deadline", "drain": "drain_deadline", "exit": "exit_deadline"}
_STATES = {"start": "STARTING", "silence": "SUSPECT", "drain": "DRAINING", "exit": "LOST"}
_SCALING = {"period": "pass"}  # Python has taken the name
_POOL_EVENTS = {name: name for name in ("hand_over", "keep", "reload")} | {"take_over": "baton"}


class Deviation(Exception):
    """The trace is not what the specification leads to. The message names line and rule."""


@dataclass(eq=False)
class _Worker:
    slot: int
    spawned_at: float
    state: str = "STARTING"
    open: int = 0
    capacity: int = 0
    order: dict[str, Any] | None = None
    last_order: int = 0
    rest: bytes = b""
    greeted: bool = False
    drained: bool = False
    accepted: int = 0
    cooling: bool = False
    short_rows: dict[int, int] = field(default_factory=dict)
    passed_over: set[int] = field(default_factory=set)
    deadlines: dict[str, int] = field(default_factory=dict)
    """The newest of each kind."""

    def view(self) -> dict[str, Any]:
        """As the oracle wants it."""
        reserved = self.order["max"] if self.order else 0
        names = ("slot", "open", "capacity", "cooling", "passed_over")
        return {
            **{name: getattr(self, name) for name in names},
            "state": "DRAINING" if self.drained else self.state,  # until it has exited: BC-SCALE-03
            "reserved": reserved,
            "ordered": bool(self.order),
        }


def check_trace(lines: Iterable[str]) -> int:
    """Check a whole trace; return how many lines it had. Raises :class:`Deviation`."""
    replay, count, asked = None, 0, False
    for count, text in enumerate(lines, 1):
        if not text.endswith("\n"):
            break  # the process was killed while it wrote this one
        line = json.loads(text)
        try:
            if replay is None:
                replay = Replay(line)
            elif "in" in line:
                if asked:
                    replay.settled()
                replay.told(line)
            else:
                replay.asked(line)
            asked = "out" in line or line.get("in") == "scale"  # after which a pass does what it has decided
        except Deviation as deviation:
            raise Deviation(f"line {count}: {deviation}: {text.strip()[:200]}") from None
    return count


class Replay:
    """The parent that the specification describes, as far as a trace shows it."""

    def __init__(self, header: Mapping[str, Any]) -> None:
        self.settings: dict[str, Any] = header["settings"]
        scaling = {_SCALING.get(name, name): value for name, value in header["scaling"].items()}
        capacity = self.settings["capacity"]
        self.policy = self.settings.get("policy") or ("lowest" if capacity == 1 else "least-loaded")
        protocol = tomllib.loads((folder() / "protocol.toml").read_text())
        self.tables, self.pool = protocol["slot"], protocol["parent"]
        self.sizer = oracle.Sizer(scaling, capacity)
        self.workers: dict[int, _Worker] = {}
        self.backlogs = [
            dict.fromkeys(("pending", "in_flight", "owed", "left"), 0)
            | dict.fromkeys(("retrying", "dirty", "cooling", "empty", "sure"), False)
            | {"cool_down": 0}
            for _ in range(header["listeners"])
        ]
        self.deadlines: list[tuple[float, int, str, Any]] = []
        self.expected: list[dict[str, Any]] = []
        self.may_retire: int | None = None
        self.now = 0.0
        self.next_listener = 0
        self.expired = 0
        self.ever_ready = self.drained = self.gave_up = False
        self.state: str = header.get("state", "RUNNING")
        self.loose = self.state != "RUNNING"  # it waits for another parent's baton
        self.last_early_exit = float("-inf")
        self.serial = 0

    # --------------------------------------------------------------------------------- lines of the trace

    def told(self, line: dict[str, Any]) -> None:
        """An input."""
        arguments = {name: value for name, value in line.items() if name != "in"}
        self.now = arguments.pop("now", self.now)
        method = getattr(self, f"_in_{line['in']}", None)
        if method is None:
            self.loose = True
            event = _POOL_EVENTS.get(line["in"], "")
            if self._become(event) and event in ("baton", "keep"):
                for backlog in self.backlogs:
                    backlog["dirty"] = True
            return
        method(**arguments)

    def asked(self, line: dict[str, Any]) -> None:
        """An action."""
        if line["out"] in ("Note", "Reloaded"):
            return
        if line["out"] == "Release":
            if not self._become("settled"):
                raise Deviation(f"the baton is given away while {self.state} (BC-BATON-02)")
            return
        if self.loose and line["out"] in ("Spawn", "HalfClose", "CloseListeners"):
            self._follow(line)
            return
        if self.may_retire is not None and line == {"out": "HalfClose", "slot": self.may_retire}:
            self.sizer.last = self.now
            self._drain(self.workers[self.may_retire])
            self.may_retire = None
        if not self.expected:
            raise Deviation("nothing was to be done")
        fitting = (at for at, wanted in enumerate(self._next()) if {name: line.get(name) for name in wanted} == wanted)
        at = next(fitting, None)
        if at is None:
            raise Deviation(f"expected {json.dumps(self.expected[0])}")
        del self.expected[at]

    def _next(self) -> Iterator[dict[str, Any]]:
        """What may come next: the first action that is due; with a kill, all kills that come right after it, because
        in which order workers are judged cannot be told from outside (BC-PASS-04).
        """
        yield self.expected[0]
        if self.expected[0]["out"] == "Kill":
            yield from itertools.takewhile(lambda action: action["out"] == "Kill", self.expected[1:])

    def settled(self) -> None:
        """Nothing more is asked for: raises if something was still to be done."""
        if self.expected:
            raise Deviation(f"{json.dumps(self.expected[0])} was not done")

    def _follow(self, line: dict[str, Any]) -> None:
        known = next((want for want in self.expected if {name: line.get(name) for name in want} == want), None)
        if known is not None:
            self.expected.remove(known)
        elif line["out"] == "Spawn":
            self._spawn(line["slot"])
            self.expected.pop()
        elif line["out"] == "HalfClose" and line["slot"] in self.workers:  # it may be gone since it was decided
            self._drain(self.workers[line["slot"]])
            self.expected.pop()
        elif line["out"] == "CloseListeners":
            self._drain_all()
            self.expected.remove({"out": "CloseListeners"})

    # ------------------------------------------------------------------------------------------ inputs

    def _in_start(self) -> None:
        for backlog in self.backlogs:
            backlog["dirty"] = True
        for _ in range(self.sizer.rules["start"]):
            self._spawn()

    def _in_readable(self, listener: int) -> None:
        self.backlogs[listener]["dirty"] = True

    def _in_received(self, slot: int, data: str) -> None:
        worker = self.workers[slot]
        if worker.state not in _READING:
            return
        whole, worker.rest = frames.cut(worker.rest + bytes.fromhex(data))
        try:
            for octets in whole:
                self._frame(worker, octets)
                if worker.state not in _READING:
                    return
        except frames.Violation:
            self._kill(worker, "violation")

    def _in_eof(self, slot: int) -> None:
        worker = self.workers[slot]
        if worker.state in _READING:
            self._step(worker, "eof")
            self._end_order(worker)
            self._deadline("exit", worker)

    def _in_send_failed(self, slot: int) -> None:
        worker = self.workers[slot]
        if worker.state in _READING:
            self._kill(worker, "violation")

    def _in_spawn_failed(self, slot: int, reason: str) -> None:
        self._step(self.workers.pop(slot), "exit")
        self.sizer.could_not_start(self.now)

    def _in_exited(self, slot: int, status: int) -> None:
        worker = self.workers.pop(slot)
        expected = worker.drained or worker.state == "KILLED"
        early = not worker.accepted and self.now - worker.spawned_at < self.sizer.rules["early_exit"]
        self._step(worker, "exit")
        self._end_order(worker)
        if expected:
            return
        if status in (76, 78) and not self.ever_ready:
            self._hopeless(status)
        elif early or status in (76, 78):
            self._delay_spawning()

    def _in_stop(self) -> None:
        if not self._become("stop"):
            return
        if self.state == "DRAINING":
            self._drain_all()
        else:
            self._deadline("stop", None)
            for backlog in self.backlogs:
                backlog["dirty"] = True

    def _become(self, event: str) -> bool:
        """The parent's own machine; whether ``event`` has an effect."""
        after = self.pool[self.state].get(event, "no effect")
        if after == "no effect":
            return False
        self.state = after
        return True

    def _in_judge(self) -> None:
        due = sorted((item for item in self.deadlines if item[0] <= self.now), key=lambda item: item[2] == "stop")
        self.deadlines = [item for item in self.deadlines if item[0] > self.now]
        for _, serial, kind, subject in due:
            if kind == "stop":
                if self.state == "STOPPING":
                    self._drain_all()
            elif kind == "listener":
                if subject["cool_down"] == serial:
                    subject["cooling"] = False
            elif kind == "order":
                worker, order = subject
                if worker.order is order and not order["expired"]:
                    self._expire(worker, order)
            else:
                self._late(subject, kind, serial)

    def _late(self, worker: _Worker, kind: str, serial: int) -> None:
        if self.workers.get(worker.slot) is not worker or worker.deadlines[kind] != serial:
            return  # it has gone, or is in this state for another time
        if kind == "cool_down":
            worker.cooling = False
        elif worker.state == _STATES[kind]:
            self._kill(worker, _EVENTS[kind])

    def _in_dispatch(self, counts: dict[str, int]) -> None:
        pool = [worker.view() for worker in self.workers.values()]
        for index, backlog in enumerate(self.backlogs):
            able = any(oracle.best(self.policy, pool, at) for at in range(len(self.backlogs)))
            if backlog["dirty"] and not backlog["cooling"] and able and str(index) not in counts and not self.loose:
                raise Deviation(f"the pending count of listener {index} was not read (BC-PEND-02)")
        for name, pending in counts.items():
            backlog = self.backlogs[int(name)]
            backlog.update(pending=pending, dirty=False, empty=not pending)
            backlog.update(left=pending - backlog["in_flight"], sure=not backlog["in_flight"])
            if not pending:
                backlog["owed"] = 0
                for worker in self.workers.values():
                    worker.short_rows.pop(int(name), None)
                    worker.passed_over.discard(int(name))
        self._order({int(name) for name, pending in counts.items() if pending})
        if self.state == "STOPPING" and all(backlog["empty"] and not backlog["in_flight"] for backlog in self.backlogs):
            self._drain_all()

    def _in_scale(self) -> None:
        if self.state not in ("STANDBY", "RUNNING") or self.loose:
            return
        before = self.sizer.last
        spawn, retire = self.sizer.turn(self.now, [worker.view() for worker in self.workers.values()])
        for _ in range(spawn):
            self._spawn()
        self.may_retire = retire
        if retire is not None:
            self.sizer.last = before  # until it has been done: when it is looked at is the parent's choice

    # ------------------------------------------------------------------------------------------ reports

    def _frame(self, worker: _Worker, octets: bytes) -> None:
        report = frames.decode(octets, "worker", first=not worker.greeted)
        hello = report.get("hello")
        if hello and not hello["lowest"] <= frames.VERSION <= hello["highest"]:
            self._kill(worker, "violation", early_exit=False)
            self._hopeless(76)
            return
        if report["capacity"] > self.settings["capacity_ceiling"]:
            raise frames.Violation("BC-STATUS-07", "capacity above the ceiling")
        if hello:
            worker.greeted, worker.capacity = True, report["capacity"]
            self.sizer.failures = 0
            self._step(worker, "hello")
            if worker.state == "STARTING":
                self._send(worker, 0, 0)
            return
        if worker.state == "STARTING" and report["type"] != "BUSY":
            raise frames.Violation("BC-HELLO-05", "a status before the answer to the welcome")
        order = worker.order
        allowed = worker.open
        if report["type"] == "BUSY":
            if order is None or report["order"] != order["id"] or report["accepted"] > order["max"]:
                raise frames.Violation("BC-BUSY-06", "no such order")
            if (report["accepted"] == order["max"]) != (report["reason"] == "FILLED"):
                raise frames.Violation("BC-BUSY-06", "reason and accepted do not fit")
            allowed += report["accepted"]
        elif (report["open"], report["capacity"]) == (worker.open, worker.capacity):
            raise frames.Violation("BC-STATUS-06", "nothing has changed")
        if report["open"] > allowed:
            raise frames.Violation("BC-STATUS-06", "more than its orders allow")
        if report["capacity"] and not worker.capacity:
            raise frames.Violation("BC-CAP-03", "capacity after the final 0")
        worker.open, worker.capacity = report["open"], report["capacity"]
        if report["type"] == "BUSY":
            assert order is not None
            self._answer(worker, order, report)
        if not worker.capacity and worker.state in ("READY", "SUSPECT"):
            self._drain(worker)

    def _answer(self, worker: _Worker, order: dict[str, Any], report: Mapping[str, Any]) -> None:
        self._end_order(worker, filled=report["accepted"] == order["max"])
        worker.accepted += report["accepted"]
        if report["accepted"]:
            worker.short_rows.clear()
            self.sizer.served()
        if order["expired"]:
            self._step(worker, "late_answer")
        elif worker.state == "STARTING":
            self._step(worker, "welcomed")
            self.ever_ready = True
        elif order["due"]:
            self.expired = 0
        if report["accepted"] == order["max"]:
            return
        listener, rows = order["listener"], worker.short_rows
        worker.passed_over.add(listener)
        if not report["accepted"] and report["reason"] != "PEER" and not order["expired"]:
            rows[listener] = rows.get(listener, 0) + 1
        if report["reason"] == "WORKER" or rows.get(listener, 0) >= self.settings["short_in_a_row"]:
            worker.cooling = True
            rows.clear()
            self._deadline("cool_down", worker)
        elif report["reason"] == "SYSTEM":
            self.backlogs[order["listener"]]["cooling"] = True
            self._deadline("listener", self.backlogs[order["listener"]])
        elif report["reason"] == "UNUSABLE":
            if worker.state == "READY":
                self._drain(worker)
            self._delay_spawning()

    # ---------------------------------------------------------------------------------------- decisions

    def _order(self, waiting: set[int]) -> None:
        while waiting:
            listener = min(waiting, key=lambda index: (index < self.next_listener, index))
            backlog = self.backlogs[listener]
            wanted, again = oracle.wants(backlog)
            if not wanted:
                waiting.discard(listener)
                continue
            pool = [worker.view() for worker in self.workers.values()]
            slots = oracle.best(self.policy, pool, listener)
            if not slots:
                backlog["dirty"] = True
                waiting.discard(listener)
                continue
            worker = self.workers[slots[0]]
            if listener in worker.passed_over:
                for slot in slots:
                    self.workers[slot].passed_over.discard(listener)
            most = min(oracle.share(wanted, pool), worker.capacity - worker.open, self.settings["max_per_order"])
            # the model's rules, once more and apart from how the order was found
            _rule(backlog["in_flight"] + most <= backlog["pending"], "BC-PEND-01: more in flight than pending")
            _rule(worker.order is None, "BC-ORDER-01: two orders unanswered")
            _rule(worker.state == "READY" and worker.open + most <= worker.capacity, "BC-ORDER-02: no room")
            backlog["in_flight"] += most
            backlog["left"] -= most
            if again:
                backlog["retrying"] = True
                backlog["owed"] -= most
            self.next_listener = (listener + 1) % len(self.backlogs)
            self._send(worker, listener, most, again=again)

    def _send(self, worker: _Worker, listener: int, most: int, *, again: bool = False) -> None:
        worker.last_order = worker.last_order + 1 if worker.last_order < 0xFFFFFFFF else 1
        due = worker.state != "STARTING"  # the welcome cannot expire
        worker.order = {"id": worker.last_order, "listener": listener, "max": most, "again": again, "due": due}
        worker.order["expired"] = False
        message = {"type": "ACCEPT", "order": worker.last_order, "listener": listener, "max": most}
        self.expected.append({"out": "Send", "slot": worker.slot, "data": frames.encode(message).hex()})
        if due:
            self._deadline("order", (worker, worker.order))

    def _expire(self, worker: _Worker, order: dict[str, Any]) -> None:
        order["expired"] = True
        self.expired += 1
        if order["max"]:
            self._not_in_flight(order)
            self.backlogs[order["listener"]]["owed"] += order["max"]
            self.backlogs[order["listener"]]["dirty"] = True
        if worker.state == "READY":
            self._deadline("silence", worker)
        self._step(worker, "expired")

    def _not_in_flight(self, order: dict[str, Any]) -> None:
        backlog = self.backlogs[order["listener"]]
        backlog["in_flight"] -= order["max"]
        if order["again"]:
            backlog["retrying"] = False

    def _end_order(self, worker: _Worker, *, filled: bool = False) -> None:
        order, worker.order = worker.order, None
        if order is None or not order["max"]:
            return
        backlog = self.backlogs[order["listener"]]
        if order["expired"]:
            backlog.update(owed=max(0, backlog["owed"] - order["max"]), dirty=True)
        else:
            self._not_in_flight(order)
            # all that was counted had an order, and this one was filled: what is pending has an edge (BC-WATCH-04)
            settled = filled and backlog["sure"] and backlog["left"] <= 0
            if not settled or any(other.passed_over for other in self.workers.values()):
                backlog["dirty"] = True
        live = [other.order for other in self.workers.values() if other.order and not other.order["expired"]]
        in_flight = sum(other["max"] for other in live if other["listener"] == order["listener"])
        _rule(in_flight == self.backlogs[order["listener"]]["in_flight"], "BC-ROOM-02: a reservation leaked")

    def _spawn(self, slot: int | None = None) -> None:
        free = next(number for number in range(len(self.workers) + 1) if number not in self.workers)
        _rule(slot in (None, free), f"BC-SCALE-10: slot {free} is free")
        self.workers[free] = _Worker(free, self.now)
        self._deadline("start", self.workers[free])
        self.expected.append({"out": "Spawn", "slot": free})

    def _drain(self, worker: _Worker) -> None:
        self._step(worker, "drain")
        worker.drained = True
        self._deadline("drain", worker)
        self.expected.append({"out": "HalfClose", "slot": worker.slot})

    def _drain_all(self) -> None:
        if self.drained:
            return
        self.drained, self.state = True, "DRAINING"
        self.expected.append({"out": "CloseListeners"})
        for worker in self.workers.values():
            if worker.state == "STARTING":  # it holds nothing (BC-STOP-04)
                self._kill(worker, "stop")
            elif worker.state in ("READY", "SUSPECT"):
                self._drain(worker)

    def _kill(self, worker: _Worker, event: str, *, early_exit: bool = True) -> None:
        self._step(worker, event)
        self._end_order(worker)
        self.expected.append({"out": "Kill", "slot": worker.slot})
        if early_exit and not worker.accepted and event in ("start_deadline", "violation"):
            self._delay_spawning()

    def _delay_spawning(self) -> None:
        outlived = self.now - self.sizer.rules["early_exit"]
        if any(self.last_early_exit < worker.spawned_at < outlived for worker in self.workers.values()):
            self.sizer.served()
        self.last_early_exit = self.now
        self.sizer.early_exit(self.now)

    def _hopeless(self, status: int) -> None:
        if self.ever_ready:
            self._delay_spawning()
        elif not self.gave_up:
            self.gave_up = True
            self.expected.append({"out": "GiveUp", "status": status})

    def _step(self, worker: _Worker, event: str) -> None:
        after = self.tables[worker.state].get(event)
        if after is None:
            raise Deviation(f"{event} cannot happen in {worker.state}")
        worker.state = after

    def _deadline(self, kind: str, subject: Any) -> None:
        if kind == "order":
            doublings = min(self.expired, self.settings["order_deadline_doublings"])
            after = self.settings["order_deadline"] * 2**doublings
        else:
            name = "cool_down" if kind in ("cool_down", "listener") else f"{kind}_deadline"
            after = self.settings[name]
        self.serial += 1
        if kind == "listener":
            subject["cool_down"] = self.serial
        elif isinstance(subject, _Worker):
            subject.deadlines[kind] = self.serial
        self.deadlines.append((self.now + after, self.serial, kind, subject))


def _rule(holds: bool, said: str) -> None:
    if not holds:
        raise Deviation(said)
