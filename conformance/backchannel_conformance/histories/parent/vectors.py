"""The vectors of ``parent.json`` as scenarios, and scenarios as such vectors: what a port's core is tested with by
itself, a running parent is tested with as well.

A trace says what a parent reads in each pass, and how many connections are pending then. :func:`scenario_of` makes
steps of it: the same octets are written, as many clients connect or are taken away, as much time passes. What the
parent does is compared with the model, as in any scenario. :func:`vector_of` is the other way round: it plays a
scenario, as it was played last, to the model alone, each step as one pass.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from ... import frames
from ...manifest import DEFAULTS
from ...model import Action, Model
from ...model.workers import protocol
from .play import Played
from .scenario import Line, Scenario

__all__ = ["scenario_of", "vector_of"]

_TRACED = {"period": "pass"}


def scenario_of(trace: Sequence[Line]) -> Scenario:
    """A trace of ``parent.json``, to be played against a running parent."""
    header, *lines = trace
    settings = {**header["settings"], **{_TRACED.get(name, name): value for name, value in header["scaling"].items()}}
    options = {name: f"{value:g}" if isinstance(value, float) else str(value) for name, value in settings.items()}
    options = {name: value for name, value in options.items() if name in DEFAULTS and value != DEFAULTS[name]}
    if header["listeners"] > 1:
        options["listen"] = ",".join([DEFAULTS["listen"]] * header["listeners"])
    return Scenario(options, list(_steps(lines, header["listeners"])))


def _steps(lines: Sequence[Line], listeners: int) -> Iterator[Line]:
    pending = [0] * listeners
    now = 0.0
    parts: list[Line] = []
    for line in lines:
        when = line.get("now", now)
        if line.get("in") == "judge" and when > now:
            yield {"do": "wait", "seconds": round(when - now, 6)}
        now = max(now, when)
        match line.get("in"):
            case "received":
                parts.append(
                    {"do": "write", "slot": line["slot"], "frames": [{"type": "octets", "data": line["data"]}]}
                )
            case "eof":
                parts.append({"do": "end", "slot": line["slot"], "how": "half"})
            case "exited":
                parts.append({"do": "exit", "slot": line["slot"], "status": line["status"]})
            case "stop" | "reload":
                parts.append({"do": "signal", "name": "TERM" if line["in"] == "stop" else "HUP"})
            case "dispatch":
                for name, count in line["counts"].items():
                    at, more = int(name), count - pending[int(name)]
                    if more:
                        what = {"do": "connect" if more > 0 else "take", "listener": at, "count": abs(more)}
                        parts.insert(0 if more < 0 else len(parts), what)
                    pending[at] = count
                if parts:
                    yield parts[0] if len(parts) == 1 else {"do": "together", "steps": parts}
                parts = []


def vector_of(model: Model, story: Sequence[Played], name: str, clause: str) -> Line:
    """A vector: what was played, and what ``model``, which has seen nothing yet, does. ``clause`` is what it checks."""
    pool = model.pool
    names = set(protocol()["defaults"]) | {"capacity", "policy"}
    settings = {key: value for key, value in pool.settings.items() if key in names}
    scaling = {"period" if key == "pass" else key: value for key, value in pool.sizer.rules.items()}
    trace: list[Line] = [
        {"trace": "parent", "spec": "1.0", "settings": settings, "scaling": scaling}
        | {"listeners": len(pool.backlogs), "state": "RUNNING"}
    ]
    begun = story[1].at if len(story) > 1 else 0.0  # how long it took to start is no part of it
    for played in story:
        now = round(max(0.0, played.at - begun), 3)
        dead = _pass(trace, model, now, played.inputs, played.pending)
        if dead:
            exits = [{"in": "exited", "slot": slot, "status": -9} for slot in dead if slot in pool.workers]
            _pass(trace, model, now, exits, played.pending)
    return {"name": name, "req": [clause], "trace": trace}


def _pass(trace: list[Line], model: Model, now: float, inputs: Sequence[Line], pending: Mapping[int, int]) -> list[int]:
    """Have ``model`` make a pass, and write it down; return the slots of workers that it kills."""
    known = [line for line in inputs if line.get("slot", -1) in (-1, *model.pool.workers)]
    counts = model.counts_of(now, known, pending)
    trace += [line if line["in"] == "readable" else {**line, "now": now} for line in known]
    trace.append({"in": "judge", "now": now})
    trace.append({"in": "dispatch", "counts": {str(at): count for at, count in counts.items()}})
    trace.append({"in": "scale", "now": now})
    actions = list(model.pool.due)
    for action in actions:
        model.pool.due.came(action)
        trace += _lines(action)
    return [action.slot for action in actions if action.do == "Kill" and action.slot is not None]


def _lines(action: Action) -> list[Line]:
    match action.do:
        case "Send":
            octets = frames.accept(action.order, action.max, action.listener).octets
            return [{"out": "Send", "slot": action.slot, "data": octets.hex()}]
        case "Spawn" | "HalfClose" | "Kill":
            return [{"out": action.do, "slot": action.slot}]
        case "CloseListeners":
            return [{"out": action.do}]
        case "GiveUp":
            return [{"out": action.do, "status": action.status}]
        case _:
            return []
