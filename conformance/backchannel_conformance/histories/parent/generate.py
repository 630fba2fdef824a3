"""Makes up scenarios: settings, and then one step after another, sensible ones and nasty ones.

All chance comes from one generator that is seeded. Each step looks at the puppets (who has an order, who holds
connections, who is to drain), so that most steps mean something, and at the time of the next deadline.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import Any

from ... import frames
from ...manifest import Manifest
from ...waiting import scale
from .play import Player
from .puppet import Puppet
from .scenario import Scenario

__all__ = ["begin", "next_step"]

Line = dict[str, Any]
LONG = "600"
REASONS = ("EMPTY", "PEER", "WORKER", "SYSTEM", "UNUSABLE")
WAITING = 9
"""Connections that wait for one listener, at most."""
DEADLINES = ("order_deadline", "silence_deadline", "start_deadline", "drain_deadline", "exit_deadline", "stop_deadline")


def begin(rng: random.Random, manifest: Manifest) -> Scenario:
    """The settings of a parent, as far as the manifest offers them."""
    offered, classes = manifest.roles["parent"].placeholders, manifest.classes
    options: dict[str, str] = {}
    if "listeners" in classes and rng.random() < 0.55:
        options["listen"] = ",".join(["127.0.0.1:0"] * rng.randint(2, 3))
    capacity = rng.choice((1, 1, 2, 3, 4, 7)) if "event" in classes else 1
    options["capacity"] = str(capacity)
    if "max_per_order" in offered:
        options["max_per_order"] = str(rng.choice((1, 2, 3, 16)))
    if "policy" in offered and rng.random() < 0.3:
        options["policy"] = rng.choice(("lowest", "least-loaded"))
    if "scaling" in classes and rng.random() < 0.5:
        least = rng.randint(1, 3)
        most = least + rng.randint(0, 4)
        spare = rng.randint(0, 2 * capacity)
        options |= {"min": str(least), "max": str(most), "start": str(rng.randint(least, most))}
        options |= {"min_spare": str(spare), "max_spare": str(spare + rng.randint(0, 2 * capacity))}
        options["pass"] = f"{rng.choice((0.05, 0.3)) * scale():g}"
    else:
        options |= dict.fromkeys(("start", "min", "max"), str(rng.choice((1, 2, 2, 3, 4))))
        options["pass"] = f"{0.02 * scale():g}"
    if "reload" in offered and rng.random() < 0.4:
        options["reload"] = "at-once"
    short = {name for name in DEADLINES if rng.random() < (0.45 if name == "order_deadline" else 0.2)}
    for name in DEADLINES:
        if name in offered:
            # a worker has to begin before its deadline passes, or nobody sees it
            seconds = 1.2 if name == "start_deadline" else rng.choice((0.25, 0.6))
            options[name] = f"{seconds * scale():g}" if name in short else LONG
    return Scenario(options)


def next_step(rng: random.Random, player: Player, now: float) -> Line | None:
    """A step that can be done now; ``None``: there is none."""
    if rng.random() < 0.08:
        parts: dict[Any, Line] = {}
        for _ in range(rng.randint(2, 3)):
            step = _one(rng, player, now)
            if step is not None and step["do"] not in ("wait", "signal", "together"):
                parts.setdefault(step.get("slot", step["do"]), step)
        if len(parts) > 1:
            return {"do": "together", "steps": list(parts.values())}
    return _one(rng, player, now)


def _one(rng: random.Random, player: Player, now: float) -> Line | None:
    ideas = list(_ideas(rng, player, now))
    if not ideas:
        return None
    [idea] = rng.choices([make for _, make in ideas], [weight for weight, _ in ideas])
    return idea()


Idea = tuple[float, Callable[[], Line]]


def _ideas(rng: random.Random, player: Player, now: float) -> Iterator[Idea]:
    stage = player.stage
    pending = stage.pending
    listener = rng.randrange(len(pending))
    if pending[listener] < WAITING:
        count = rng.choice((1, 1, 1, 2, 3))
        yield 6, lambda: {"do": "connect", "listener": listener, "count": count}
    if pending[listener]:
        yield 0.4, lambda: {"do": "take", "listener": listener, "count": rng.randint(1, pending[listener])}
    due = player.beliefs.next_time(now)
    if due is not None and due < now + 1.5 * scale():
        # often enough that orders expire one after the other
        yield 5, lambda: {"do": "wait"}
    if player.can_reload:
        yield 0.25, lambda: {"do": "signal", "name": "HUP"}
    yield 0.06, lambda: {"do": "signal", "name": "TERM"}
    for slot, puppet in stage.workers.items():
        if not puppet.told and not puppet.gone:
            yield from _of(rng, slot, puppet, pending)


def _of(rng: random.Random, slot: int, puppet: Puppet, pending: dict[int, int]) -> Iterator[Idea]:
    def write(*parts: Line) -> Line:
        step: Line = {"do": "write", "slot": slot, "frames": list(parts)}
        if rng.random() < 0.1:
            step["cuts"] = sorted(rng.sample(range(1, 20 * len(parts)), rng.randint(1, 2)))
        return step

    leaving = puppet.drained or puppet.ended
    statuses = (0, 0, 1, -9, -15) if puppet.greeted or rng.random() < 0.9 else (76, 78)
    ways = ("close", "before", "keep") if not puppet.ended else ("close",)
    yield (
        4 if leaving else 0.15,
        lambda: {
            "do": "exit",
            "slot": slot,
            "status": rng.choice(statuses),
            "channel": rng.choice(ways),
        },
    )
    if puppet.ended:
        return
    yield 0.5 if leaving else 0.1, lambda: {"do": "end", "slot": slot, "how": rng.choice(("half", "close"))}
    yield 0.1, lambda: write(_garbage(rng))
    if not puppet.greeted:
        yield 8, lambda: write(_hello(rng, rng.choice((1, 1, 1, 2, 4, 6))))
        return
    if puppet.order is not None:
        order = puppet.order
        yield 8, lambda: write(_busy(rng, puppet, order, pending))
        if rng.random() < 0.3:
            yield 2, lambda: write(_busy(rng, puppet, order, pending), *_statuses(rng, puppet))
        yield 0.15, lambda: write(_wrong(rng, _busy(rng, puppet, order, pending)))
    if puppet.order is not None:
        words = _busy(rng, puppet, puppet.order, pending)
        yield 0.3, lambda: {"do": "together", "steps": [write(words), _last(rng, slot, statuses)]}
    if puppet.open:
        yield 2.5, lambda: write({"type": "STATUS", "ended": rng.randint(1, puppet.open)})
    if puppet.order is None or puppet.order.max:
        yield 0.5, lambda: write({"type": "STATUS", "capacity": rng.randint(1, 6)})
        yield 0.3, lambda: write({"type": "STATUS", "capacity": 0})
    yield 0.15, lambda: write(_wrong(rng, {"type": "STATUS", "ended": min(1, puppet.open)}))


def _last(rng: random.Random, slot: int, statuses: tuple[int, ...]) -> Line:
    """What follows at once on a worker's last words."""
    if rng.random() < 0.4:
        return {"do": "end", "slot": slot, "how": rng.choice(("half", "close"))}
    return {"do": "exit", "slot": slot, "status": rng.choice(statuses), "channel": rng.choice(("close", "before"))}


def _hello(rng: random.Random, capacity: int) -> Line:
    hello: Line = {"type": "HELLO", "capacity": capacity}
    chance = rng.random()
    if chance < 0.03:
        hello["capacity"] = 0
    elif chance < 0.05:
        hello |= {"lowest": 0x11, "highest": 0x1F}
    elif chance < 0.1:
        hello |= {"highest": rng.randint(0x10, 0x2F)}
    elif chance < 0.2:
        hello["features"] = 1
    return hello


def _busy(rng: random.Random, puppet: Puppet, order: frames.Frame, pending: dict[int, int]) -> Line:
    said: Line = {"type": "BUSY"}
    there = min(order.max, pending.get(order.listener, 0))
    chance = rng.random()
    if not order.max or chance < 0.5:
        said["accepted"] = there
    else:
        said["accepted"] = rng.randint(0, there)
    if said["accepted"] < order.max:
        said["reason"] = rng.choices(REASONS, (5, 2, 1, 1, 0.3))[0] if rng.random() < 0.6 else "EMPTY"
    held = puppet.open + said["accepted"]
    if held and rng.random() < 0.2:
        said["ended"] = rng.randint(1, held)
    if rng.random() < 0.06:
        said["capacity"] = rng.choice((0, 1, 2, 5))
    return said


def _statuses(rng: random.Random, puppet: Puppet) -> list[Line]:
    return [{"type": "STATUS", "ended": 1} for _ in range(rng.randint(1, 2)) if puppet.open]


def _wrong(rng: random.Random, frame: Line) -> Line:
    field = rng.choice(("order", "accepted", "open", "capacity", "reserved", "reason", "version", "type"))
    add = rng.choice((1, 1, 2, 3)) if field != "capacity" else rng.choice((1, 1 << 20))
    return {**frame, "wrong": {field: add}}


def _garbage(rng: random.Random) -> Line:
    return {"type": "octets", "data": rng.randbytes(rng.choice((1, 19, 20, 21, 40))).hex()}
