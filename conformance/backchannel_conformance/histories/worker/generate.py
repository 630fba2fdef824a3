"""Histories of role *worker*, made up by chance: the same ones for the same seed.

Chance chooses among what is worth doing: clients come and go about as often as orders, orders mostly fit, and every
history has a *kind*, which says what else may happen in it. Most kinds leave the worker as it was, so that one worker
lives through many histories.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Final

from ... import frames
from ...waiting import scale
from .scenario import (
    FAULTY,
    Close,
    Connect,
    Continue,
    Descriptors,
    Eof,
    Fault,
    HalfClose,
    Halts,
    History,
    Item,
    Order,
    Reset,
    Say,
    Setting,
    Signal,
    Step,
    Stop,
    Vanish,
    Welcome,
    Write,
    Wrong,
)

__all__ = ["generate"]

KINDS: Final = {
    "orders": 30,
    "faults": 14,
    "descriptors": 8,
    "halts": 8,
    "stopped": 12,
    "drain": 8,
    "violation": 8,
    "birth": 5,
    "quota": 4,
    "signal": 2,
    "deadline": 1,
}
"""How often each kind is chosen."""
ERRORS: Final = (
    *("EAGAIN", "ECONNABORTED", "ECONNRESET", "EPROTO", "EPERM", "ENETDOWN", "ENOPROTOOPT", "EHOSTDOWN", "ENONET"),
    *("EHOSTUNREACH", "ENETUNREACH", "ETIMEDOUT", "EMFILE", "ENFILE", "ENOBUFS", "ENOMEM", "EINTR", "ECONNABORTED"),
    *("EBADF", "EINVAL", "EOPNOTSUPP", "ENOTSOCK", "EFAULT", "EACCES", "EIO", "EINTR", "EPROTO", "ENFILE", "EMFILE"),
)
SIGNALS: Final = ("SIGTERM", "SIGINT", "SIGHUP", "SIGCHLD", "SIGURG", "SIGWINCH")
BEGINNINGS: Final = ("", "w", "who\n", "who\n", "who\n", "hold\n", "hold\n", "hold\n", "raise\n", "hold\n\n")
CLIENTS: Final = 12
"""The most in one history."""
DEADLINE: Final = 3.0
"""Seconds; some workers give their exit functions as much."""


@dataclass
class _Plot:
    """A history that is being made up."""

    chance: random.Random
    setting: Setting
    kind: str
    steps: list[Step] = field(default_factory=list)
    said: dict[int, str] = field(default_factory=dict)
    """The clients that have not left."""
    count: int = 0

    def several(self, least: int, most: int) -> None:
        for _ in range(self.chance.randint(least, most)):
            self.steps.append(self.step())

    def step(self) -> Step:
        pick = self.chance.random()
        if pick < 0.35 and self.count < CLIENTS:
            return self.connect()
        if pick < 0.5 and self.said:
            return self.say()
        if pick < 0.65 and self.said:
            return self.leave()
        return self.write()

    def connect(self) -> Step:
        listening = self.setting.listeners - self.setting.useless
        step = Connect(self.count, self.chance.randrange(listening), self.chance.choice(BEGINNINGS))
        self.said[self.count] = step.says
        self.count += 1
        return step

    def say(self) -> Step:
        who = self.chance.choice(list(self.said))
        said = self.said[who]
        if said.startswith("hold\n"):
            text = "\n" * self.chance.randint(1, 3)
        elif "\n" in said:
            return self.leave()
        else:
            text = "ho\n"[len(said) - 1 :] if said else self.chance.choice(("who\n", "hold\n", "raise\n", "w", "\n"))
        self.said[who] += text
        return Say(who, text)

    def leave(self) -> Step:
        who = self.chance.choice(list(self.said))
        del self.said[who]
        return self.chance.choice((Close, Close, Reset, HalfClose))(who)

    def order(self) -> Order:
        if self.setting.capacity == 1:
            most = int(self.chance.random() < 0.8)
        else:
            most = self.chance.choice((0, 1, 1, 1, 2, 2, 3, 4, 7, 50))
        listener = self.chance.randrange(self.setting.listeners) if most else 0
        number = self.chance.choice((0, 1, 7, 0xFFFFFFFF)) if self.chance.random() < 0.04 else None
        return Order(most, listener, number)

    def write(self) -> Write:
        fault = self.fault()
        if fault:
            return Write((self.order(),), fault=fault)
        count = self.chance.choice((1, 1, 1, 1, 1, 1, 2, 2, 3))
        items: list[Item] = [self.order() for _ in range(count)]
        cuts: tuple[int, ...] = ()
        size = count * frames.SIZE
        pick = self.chance.random()
        if pick < 0.2:
            cuts = tuple(sorted(self.chance.sample(range(1, size), self.chance.randint(1, 3))))
        elif pick < 0.23:
            cuts = tuple(range(1, size))
        kept = self.chance.randint(1, frames.SIZE - 1) if self.chance.random() < 0.1 else 0
        pauses = bool(cuts) and len(cuts) < 4 and self.chance.random() < 0.5
        return Write(tuple(items), cuts, pauses, kept)

    def fault(self) -> Fault | None:
        if self.kind != "faults" or self.chance.random() < 0.5:
            return None
        first = self.chance.choice((1, 1, 1, 2, 2, 3))
        return Fault(self.chance.choice(ERRORS), first, first + self.chance.choice((0, 0, 0, 1, 2)))

    def wrong(self) -> Write:
        """A frame that breaks the protocol, perhaps between others."""
        before = [self.order() for _ in range(self.chance.choice((0, 0, 0, 1, 2)))]
        after = [self.order() for _ in range(self.chance.choice((0, 0, 1)))]
        items: tuple[Item, ...] = (*before, Wrong(self.chance.choice(list(FAULTY))), *after)
        cuts = (self.chance.randrange(1, len(items) * frames.SIZE),) if self.chance.random() < 0.3 else ()
        return Write(items, cuts)


def generate(seed: int, count: int, capacity: int, *, listeners: int = 3, quota: bool = True) -> Iterator[History]:
    """``count`` histories for workers of this capacity, with up to so many listeners."""
    for number in range(count):
        chance = random.Random(f"{seed} {number} {capacity}")
        kind = chance.choices(list(KINDS), list(KINDS.values()))[0]
        if (kind == "quota" and not quota) or (kind == "deadline" and capacity == 1):
            kind = "orders"
        yield _history(chance, kind, capacity, listeners, f"seed {seed}, history {number}, of kind {kind}")


def _history(chance: random.Random, kind: str, capacity: int, listeners: int, name: str) -> History:
    # few settings, so that a worker serves for many histories
    useless = listeners > 1 and chance.random() < 0.3
    setting = Setting(capacity, listeners if useless or chance.random() < 0.7 else 1, useless)
    if kind == "quota":
        setting = replace(setting, quota=chance.randint(1, 4))
    if kind == "deadline":
        setting = replace(setting, drain_deadline=DEADLINE * scale())
    plot = _Plot(chance, setting, kind)
    if kind == "birth":
        _birth(plot)
    else:
        plot.steps.append(Welcome())
        _MIDDLES.get(kind, _plain)(plot)
    return History(setting, tuple(plot.steps), name)


def _plain(plot: _Plot) -> None:
    plot.several(5, 14)


def _descriptors(plot: _Plot) -> None:
    plot.several(2, 5)
    for _ in range(plot.chance.randint(1, 2)):
        plot.steps.append(Descriptors(plot.chance.choice((0, 0, 1, 2))))
        plot.steps += [plot.connect(), plot.write()]
        plot.several(1, 4)
        plot.steps.append(Descriptors(None))
        plot.several(1, 3)


def _halts(plot: _Plot) -> None:
    plot.several(1, 3)
    plot.steps.append(Halts())
    plot.several(3, 7)


def _stopped(plot: _Plot) -> None:
    for _ in range(plot.chance.randint(1, 3)):
        plot.several(1, 4)
        plot.steps.append(Stop())
        plot.several(1, 6)
        plot.steps.append(Continue())
    plot.several(0, 2)


def _drain(plot: _Plot) -> None:
    plot.several(1, 7)
    stopped = plot.chance.random() < 0.3
    if stopped:
        plot.steps.append(Stop())
        plot.several(1, 4)
    plot.steps.append(plot.chance.choice((Eof(), Eof(), Vanish())))
    if stopped:
        plot.steps.append(Continue())
    plot.several(0, 5)


def _violation(plot: _Plot) -> None:
    plot.several(1, 6)
    stopped = plot.chance.random() < 0.25
    if stopped:
        plot.steps.append(Stop())
        plot.several(1, 3)
    plot.steps.append(plot.wrong())
    if stopped:
        plot.several(0, 2)
        plot.steps.append(Continue())
    plot.several(0, 5)


def _quota(plot: _Plot) -> None:
    plot.several(6, 16)
    if plot.chance.random() < 0.7:
        plot.steps.append(Eof())
        plot.several(0, 3)


def _signal(plot: _Plot) -> None:
    plot.several(2, 5)
    plot.steps.append(Signal(plot.chance.choice(SIGNALS)))
    plot.several(2, 6)


def _deadline(plot: _Plot) -> None:
    plot.steps += [Connect(0, 0, "hold\n"), Write((Order(1),))]
    plot.count = 1
    plot.several(0, 3)
    plot.steps.append(plot.chance.choice((Eof(), Vanish(), plot.wrong())))


def _birth(plot: _Plot) -> None:
    """Before the welcome: clients, the end, a violation; a welcome in pieces, for connections, wrong."""
    chance = plot.chance
    early = chance.random()
    if early < 0.15:
        plot.steps.append(chance.choice((Eof(), plot.write())))
    for _ in range(chance.randint(0, 3)):
        plot.steps.append(plot.connect())
    pick = chance.random()
    if pick < 0.3:
        plot.steps.append(plot.wrong())
    elif pick < 0.5:
        plot.steps.append(chance.choice((Eof(), Vanish())))
    else:
        plot.steps.append(plot.write())
    plot.several(1, 6)


_MIDDLES: Final = {
    "descriptors": _descriptors,
    "halts": _halts,
    "stopped": _stopped,
    "drain": _drain,
    "violation": _violation,
    "quota": _quota,
    "signal": _signal,
    "deadline": _deadline,
}
