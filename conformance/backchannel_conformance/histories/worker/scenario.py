"""What happens in a history of role *worker*: the steps, as data.

A :class:`Setting` says what the worker is started with; then comes one step after another. Between two steps the suite
waits until the worker has come to rest, except while the worker is stopped. No step depends on another: an order gets
its number when it is sent, and a step about a client that is not there does nothing. So every part of a history is a
history, and a failing one can be shrunk.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from ... import frames

__all__ = [
    "FAULTY",
    "Close",
    "Connect",
    "Continue",
    "Descriptors",
    "Eof",
    "Fault",
    "HalfClose",
    "Halts",
    "History",
    "Item",
    "Order",
    "Reset",
    "Say",
    "Setting",
    "Signal",
    "Step",
    "Stop",
    "Vanish",
    "Welcome",
    "Write",
    "Wrong",
    "simpler",
]

FAULTY: Final[dict[str, frames.Frame]] = {
    "a type that does not exist": frames.accept(1, 0)._replace(type=0x5A),
    "a BUSY": frames.busy(1, 0, frames.FILLED, 0, 1),
    "a GONE": frames.gone(1, 4),
    "an IDLE": frames.idle(1),
    "a hello": frames.hello(),
    "a reason in ACCEPT": frames.accept(1, 1)._replace(reason=1),
    "the reserved octet": frames.accept(1, 1)._replace(reserved=1),
    "the reserved word": frames.accept(1, 1)._replace(capacity=1),
    "version 1.1": frames.accept(1, 1)._replace(version=0x11),
    "version 0": frames.accept(1, 1)._replace(version=0),
    "a listener too high": frames.accept(1, 1, listener=99),
    "the listener after the last": frames.accept(1, 0, listener=1),
}
"""Frames by which a parent breaks the protocol. The last one is for as many listeners as there are."""


@dataclass(frozen=True)
class Setting:
    """What the worker is started with. ``useless``: the last of its listeners does not listen."""

    capacity: int = 1
    listeners: int = 1
    useless: bool = False
    quota: int = 0
    drain_deadline: float = 30.0

    def __str__(self) -> str:
        told = [f"capacity {self.capacity}", f"{self.listeners} listener{'s' * (self.listeners > 1)}"]
        told += ["the last does not listen"] * self.useless
        told += [f"quota {self.quota}"] * bool(self.quota)
        told += [f"drain deadline {self.drain_deadline:g} s"] * (self.drain_deadline < 30)
        return ", ".join(told)


@dataclass(frozen=True)
class Order:
    """An order; ``number`` is what it carries instead of the next number."""

    max: int
    listener: int = 0
    number: int | None = None

    def __str__(self) -> str:
        number = "" if self.number is None else f" order={self.number}"
        return f"ACCEPT{number} listener={self.listener} max={self.max}"


@dataclass(frozen=True)
class Wrong:
    """One of :data:`FAULTY`."""

    what: str

    def __str__(self) -> str:
        return f"({self.what})"


Item = Order | Wrong


@dataclass(frozen=True)
class Fault:
    """``accept`` fails with ``error``, from the ``first`` call after this step's order to the ``last``."""

    error: str
    first: int = 1
    last: int = 1

    def __str__(self) -> str:
        calls = f"call {self.first}" if self.first == self.last else f"calls {self.first} to {self.last}"
        return f"{self.error} at {calls} of accept"


class Step:
    """One thing that the suite does."""


@dataclass(frozen=True)
class Write(Step):
    """The parent writes ``items``, cut at ``cuts`` (octets), and keeps the last ``kept`` octets for the next write.

    ``pauses``: after each piece it waits until the worker rests.
    """

    items: tuple[Item, ...]
    cuts: tuple[int, ...] = ()
    pauses: bool = False
    kept: int = 0
    fault: Fault | None = None

    def __str__(self) -> str:
        text = "write " + " + ".join(map(str, self.items))
        if self.cuts:
            text += f", cut at {', '.join(map(str, self.cuts))}{' with pauses' * self.pauses}"
        if self.kept:
            text += f", all but the last {self.kept} octets"
        return text + (f"; {self.fault}" if self.fault else "")


@dataclass(frozen=True)
class Connect(Step):
    """Client number ``who`` connects and sends ``says``."""

    who: int
    listener: int = 0
    says: str = ""

    def __str__(self) -> str:
        return f"client {self.who} connects to listener {self.listener}" + (f", sends {self.says!r}" * bool(self.says))


@dataclass(frozen=True)
class Say(Step):
    """The client sends more."""

    who: int
    text: str

    def __str__(self) -> str:
        return f"client {self.who} sends {self.text!r}"


@dataclass(frozen=True)
class HalfClose(Step):
    """The client will send nothing more, and still reads."""

    who: int

    def __str__(self) -> str:
        return f"client {self.who} half-closes"


@dataclass(frozen=True)
class Close(Step):
    """The client closes."""

    who: int

    def __str__(self) -> str:
        return f"client {self.who} closes"


@dataclass(frozen=True)
class Reset(Step):
    """The client resets its connection."""

    who: int

    def __str__(self) -> str:
        return f"client {self.who} resets"


@dataclass(frozen=True)
class Welcome(Step):
    """The hello is awaited, and answered with the welcome."""

    def __str__(self) -> str:
        return "await the hello, write the welcome"


@dataclass(frozen=True)
class Stop(Step):
    """The worker is stopped; what comes now it finds when it goes on."""

    def __str__(self) -> str:
        return "SIGSTOP to the worker"


@dataclass(frozen=True)
class Continue(Step):
    """It goes on."""

    def __str__(self) -> str:
        return "SIGCONT to the worker"


@dataclass(frozen=True)
class Signal(Step):
    """A signal whose default action ends the worker, or does nothing."""

    name: str

    def __str__(self) -> str:
        return f"{self.name} to the worker"


@dataclass(frozen=True)
class Descriptors(Step):
    """From now on the worker gets ``more`` descriptors more; ``None``: as many as before the first such step."""

    more: int | None

    def __str__(self) -> str:
        return "descriptors as before" if self.more is None else f"{self.more} more descriptors for the worker"


@dataclass(frozen=True)
class Halts(Step):
    """From now on the worker is stopped after each of its writes: what comes before the next one is seen to do so."""

    def __str__(self) -> str:
        return "from now on the worker is stopped after each of its writes"


@dataclass(frozen=True)
class Eof(Step):
    """The parent half-closes the channel."""

    def __str__(self) -> str:
        return "half-close the channel"


@dataclass(frozen=True)
class Vanish(Step):
    """The parent closes the channel, as its death does."""

    def __str__(self) -> str:
        return "close the channel"


@dataclass(frozen=True)
class History:
    """A worker's life, or a part of it. It is the same for the same ``seed`` and number."""

    setting: Setting
    steps: tuple[Step, ...]
    name: str = ""

    @property
    def ends(self) -> bool:
        """Whether the worker cannot be used for another one."""
        fatal = any(isinstance(item, Wrong) for step in self.steps if isinstance(step, Write) for item in step.items)
        return fatal or bool(self.setting.quota) or any(isinstance(step, Eof | Vanish | Signal) for step in self.steps)


def simpler(step: Step) -> Sequence[Step]:
    """Steps that do less than ``step``, for :mod:`~backchannel_conformance.histories.shrink`."""
    if not isinstance(step, Write):
        return []
    found: list[Step] = [
        replace(step, items=(*step.items[:at], *step.items[at + 1 :])) for at in range(len(step.items))
    ]
    found += [replace(step, cuts=()), replace(step, pauses=False), replace(step, kept=0), replace(step, fault=None)]
    for at, item in enumerate(step.items):
        if isinstance(item, Order):
            less = [replace(item, max=item.max - 1)] * (item.max > 1) + [replace(item, number=None)] * bool(item.number)
            found += [replace(step, items=(*step.items[:at], other, *step.items[at + 1 :])) for other in less]
    return [other for other in found if isinstance(other, Write) and other.items and other != step]
