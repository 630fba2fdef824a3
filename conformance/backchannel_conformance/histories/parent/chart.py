"""A scenario that deviated, for people: a numbered script, and a chart of who said what to whom.

::

    1  2 clients connect to listener 0
    ...
    1  clients connect to listener 0
    1  P -> W1   ACCEPT order=2 listener=0 max=2
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ... import frames
from .play import Deviation
from .scenario import Line

__all__ = ["show"]


def show(deviation: Deviation) -> str:
    """The script, the chart, what was expected, what came."""
    script = [f"  {number:>2}  {said(step)}" for number, (step, *_) in enumerate(deviation.player.story)]
    lines = [
        "the shortest script that was found (step 0 is the start; what is not said is as a correct worker does it):"
    ]
    lines += [*script, "what went over the channels (W0 is the worker in slot 0, P the parent):"]
    for number, played in enumerate(deviation.player.story):
        lines += [f"  {number:>2}  {line}" for line in [*map(_input, played.inputs), *map(_action, played.seen)]]
    options = " ".join(f"{name}={value}" for name, value in deviation.player.scenario.options.items())
    lines += [f"settings: {options}", f"expected in the last step: {_list(deviation.expected)}"]
    lines += [f"seen in the last step: {_list(map(_action, deviation.seen))}"]
    return "\n".join(lines)


def _list(things: Any) -> str:
    return "; ".join(map(str, things)) or "nothing"


def said(step: Line) -> str:
    """A step, in words."""
    slot = step.get("slot")
    match step["do"]:
        case "connect":
            return f"{step.get('count', 1)} clients connect to listener {step.get('listener', 0)}"
        case "take":
            count, listener = step.get("count", 1), step.get("listener", 0)
            return f"{count} connections of listener {listener} are accepted by nobody in the pool"
        case "write":
            cuts = f", cut after {step['cuts']} octets" if step.get("cuts") else ""
            return f"worker {slot} writes " + " and ".join(map(_frame, step["frames"])) + cuts
        case "end":
            return f"worker {slot} " + (
                "closes its channel" if step["how"] == "close" else "ends its half of the channel"
            )
        case "exit":
            status = step["status"]
            how = f"exits with status {status}" if status >= 0 else f"is ended by signal {-status}"
            channel = {"before": ", after its channel has ended", "keep": ", and its channel stays open"}
            return f"worker {slot} {how}{channel.get(step.get('channel', ''), '')}"
        case "signal":
            return f"the parent gets SIG{step['name']}"
        case "together":
            return "at once: " + "; ".join(map(said, step["steps"]))
        case "wait":
            return "wait until the next deadline has passed"
        case other:
            return str(other)


def _frame(frame: Line) -> str:
    words = [f"{name}={value}" for name, value in frame.items() if name not in ("type", "wrong")]
    wrong = [f"({name} is wrong by {add:+})" for name, add in frame.get("wrong", {}).items()]
    return " ".join([frame["type"], *words, *wrong])


def _input(line: Line) -> str:
    slot = line.get("slot")
    match line["in"]:
        case "received":
            return f"W{slot} -> P   {_octets(line['data'])}"
        case "eof":
            return f"W{slot} -> P   end of the channel"
        case "exited":
            return f"W{slot}        exits, {line['status']}"
        case "readable":
            return f"clients connect to listener {line['listener']}"
        case other:
            return str(other)


def _action(line: Line) -> str:
    slot = line.get("slot")
    match line["out"]:
        case "Send":
            return f"P -> W{slot}   {_octets(line['data'])}"
        case "HalfClose":
            return f"P -> W{slot}   half-close"
        case "Kill":
            return f"P    W{slot}   is killed"
        case "Spawn":
            return f"P    W{slot}   is started"
        case _:
            return f"P         exits with status {line['status']}"


def _octets(data: str) -> str:
    whole, rest = frames.cut(bytes.fromhex(data))
    shown: Sequence[str] = [str(frames.Frame.parse(octets)) for octets in whole]
    return " + ".join([*shown, *([f"{len(rest)} octets: {rest.hex()}"] if rest else [])])
