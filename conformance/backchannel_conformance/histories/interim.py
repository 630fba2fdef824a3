"""The present replay as a model (until the new one is there)."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

from ..replay import Replay

Line = dict[str, Any]


class Model:
    def __init__(self, header: Mapping[str, Any]) -> None:
        self.replay = Replay(header)

    def copy(self) -> Model:
        made = Model.__new__(Model)
        tables, pool, settings = self.replay.tables, self.replay.pool, self.replay.settings
        memo = {id(tables): tables, id(pool): pool, id(settings): settings}
        made.replay = copy.deepcopy(self.replay, memo)
        return made

    def turn(self, now: float, inputs: Sequence[Line], pending: Mapping[int, int]) -> list[Line]:
        replay = self.replay
        for line in inputs:
            slot = line.get("slot")
            if slot is not None and slot not in replay.workers:
                continue
            replay.told({**line, "now": now})
        replay.told({"in": "judge", "now": now})
        from .. import oracle

        pool = [worker.view() for worker in replay.workers.values()]
        counts = {}
        for at, backlog in enumerate(replay.backlogs):
            able = bool(oracle.best(replay.policy, pool, at))
            stop = replay.state == "STOPPING" and not backlog["empty"] and not backlog["in_flight"]
            if ((backlog["dirty"] and (able or replay.state == "STOPPING")) or stop) and not backlog["cooling"]:
                counts[str(at)] = pending[at]
        replay.told({"in": "dispatch", "counts": counts})
        replay.told({"in": "scale", "now": now})
        if replay.may_retire is not None:
            replay.sizer.last = now
            replay._drain(replay.workers[replay.may_retire])
            replay.may_retire = None
        outs, replay.expected = replay.expected, []
        if replay.state == "DRAINING" and not replay.workers:
            outs.append({"out": "Exit", "status": 0})
        return outs

    def next_time(self) -> float | None:
        replay = self.replay
        times = [item[0] for item in replay.deadlines if self._live(item)]
        sizer = replay.sizer
        if replay.state in ("RUNNING", "STANDBY"):
            probe = copy.deepcopy(sizer)
            pool = [worker.view() for worker in replay.workers.values()]
            for when in (sizer.last + sizer.rules["pass"], sizer.not_before, sizer.no_start_before):
                probe = copy.deepcopy(sizer)
                spawn, retire = probe.turn(when, pool)
                if spawn or retire is not None:
                    times.append(when)
        return min(times, default=None)

    def _live(self, item: Any) -> bool:
        _, serial, kind, subject = item
        if kind == "stop":
            return self.replay.state == "STOPPING"
        if kind == "listener":
            return subject["cool_down"] == serial and subject["cooling"]
        if kind == "order":
            worker, order = subject
            return worker.order is order and not order["expired"] and self.replay.workers.get(worker.slot) is worker
        from ..replay import _STATES

        if self.replay.workers.get(subject.slot) is not subject or subject.deadlines[kind] != serial:
            return False
        return subject.cooling if kind == "cool_down" else subject.state == _STATES[kind]

    def key(self) -> Any:
        """Equal for models in the same state, times apart."""
        return _key(vars(self.replay), {})


_SKIPPED = {"tables", "pool", "settings", "serial", "deadlines", "rules", "now"}


def _key(thing: Any, seen: dict[int, int]) -> Any:
    if isinstance(thing, float):
        return round(thing, 1)
    if isinstance(thing, (int, str, bytes, type(None))):
        return thing
    if isinstance(thing, dict):
        return tuple((name, _key(value, seen)) for name, value in sorted(thing.items(), key=repr) if name not in _SKIPPED)
    if isinstance(thing, (set, frozenset)):
        return tuple(sorted(thing))
    if isinstance(thing, (list, tuple)):
        return tuple(_key(item, seen) for item in thing)
    return _key(vars(thing), seen)
