"""The status document of any pool, read, checked, and compared with the one before.

Its form is in the adapter contract. What the contract calls optional may be missing here: a port need not have it.

A document is trusted no further than it has to be: whoever can put a socket at the path can write it. It is bounded
in size and in time, every figure in it in range, and every text is fit for a terminal from here on. What process is to
be signalled is not taken from it alone (:meth:`Sample.parent`).
"""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NoReturn, Self

from backchannel.printing import printable

from .peer import pid_of

__all__ = ["Rates", "Sample", "StatusError", "Worker", "read"]

TIMEOUT: Final = 5.0
"""Seconds for a pool to answer, to the last octet."""

LARGEST: Final = 1 << 24
"""Octets of a document at most; ten thousand workers need two million."""

MOST_SLOTS: Final = 1 << 16
"""Slots of a pool at most: a board has a letter for each."""

MOST: Final = 2**63 - 1
"""The highest figure that counts anything."""

MOST_PIDS: Final = 2**31 - 1

WORD: Final = 32
"""Characters of a state at most that are shown."""


class StatusError(Exception):
    """There is no status document to be had; the message says where, why, and what to do."""


@dataclass(frozen=True, slots=True)
class Worker:
    """One worker, as its parent sees it."""

    slot: int
    pid: int | None
    state: str
    open: int
    capacity: int
    orders: int
    accepted: int
    expired: int | None
    age: float | None
    generation: int | None


@dataclass(frozen=True, slots=True)
class Sample:
    """A pool at ``when``, on the monotonic clock."""

    when: float
    document: Mapping[str, Any]
    pid: int
    state: str
    addresses: tuple[str, ...]
    counters: Mapping[str, int]
    workers: tuple[Worker, ...]
    peer: int | None = None
    """The process that the system names as the one behind the socket; ``None`` if it does not."""

    @classmethod
    def of(cls, document: Any, when: float, peer: int | None = None) -> Self:
        """The sample in ``document``. Raises :class:`StatusError` naming what is missing or senseless."""
        try:
            return cls(
                when,
                document,
                _figure(document, "pid", MOST_PIDS, least=1),
                _text(document["state"], WORD),
                tuple(_text(listener["address"]) for listener in document["listeners"]),
                {_text(name, WORD): _figure(document["counters"], name) for name, _ in document["counters"].items()},
                tuple(_worker(worker) for worker in document["workers"]),
                peer,
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            text = f"this is not a status document of the adapter contract: {_what(error)}"
            raise StatusError(printable(text, 200)) from None

    @property
    def parent(self) -> int:
        """The process id of the parent, to send a signal to. Raises :class:`StatusError` unless the system names the
        same process as the document does, or cannot tell: then it is the document's, which only a process without
        privileges should trust, and never process 1.
        """
        if self.peer == self.pid:
            return self.pid
        if self.peer is not None:
            text = (
                f"the document names process {self.pid}, but the socket is process {self.peer}'s: nothing is "
                "signalled. If a successor has just taken over, ask again; if the pool is in a container, do it there"
            )
        elif os.geteuid() and self.pid > 1:
            return self.pid
        else:
            text = (
                f"this system does not tell whether the socket is process {self.pid}'s, as the document says: nothing "
                "is signalled. Ask as the pool's user, in the container of the pool"
            )
        raise StatusError(text)

    @property
    def open(self) -> int:
        """Connections that are held."""
        return sum(worker.open for worker in self.workers)

    @property
    def capacity(self) -> int:
        """Connections that could be held."""
        return sum(worker.capacity for worker in self.workers)

    @property
    def spare(self) -> int:
        """What workers that are READY could still take, orders under way not counted."""
        return sum(max(0, worker.capacity - worker.open) for worker in self.workers if worker.state == "READY")

    @property
    def served(self) -> int:
        """Connections accepted, late answers included."""
        return self.counters.get("accepted", 0) + self.counters.get("late", 0)

    @property
    def bounds(self) -> tuple[int, int] | None:
        """Between what and what ``spare`` is kept; ``None`` if the pool does not say, or does not size itself."""
        rules = self.document.get("scaling")
        if not isinstance(rules, dict) or rules.get("min") == rules.get("max"):
            return None
        low, high = (_optional(rules, name) for name in ("min_spare", "max_spare"))
        return None if low is None or high is None else (low, high)

    @property
    def generation(self) -> int | None:
        """The newest one, which may not serve yet, or never; ``None`` if the pool does not say."""
        return _optional(self.document, "generation")

    @property
    def serving(self) -> list[int]:
        """The generations of all workers that are READY."""
        return [worker.generation for worker in self.workers if worker.state == "READY" and worker.generation]

    @property
    def fell_through(self) -> bool:
        """Whether the last reload has failed: it is over, and an older generation serves."""
        if self.generation is None or self.document.get("reloading"):
            return False
        return bool(self.serving) and max(self.serving) < self.generation

    @property
    def board(self) -> str:
        """The board line; made up from the states if the pool has none."""
        board = self.document.get("board")
        if isinstance(board, str):
            return printable(board, MOST_SLOTS)
        letters = {worker.slot: _letter(worker) for worker in self.workers}
        return "".join(letters.get(slot, ".") for slot in range(max(letters, default=-1) + 1))


@dataclass(frozen=True, slots=True)
class Rates:
    """What changed between two samples of one pool, per second."""

    served: float
    expired: float
    wakeups: float
    workers: Mapping[int, float]
    """Connections accepted, by process id: a slot's next worker starts anew."""

    @classmethod
    def between(cls, before: Sample, after: Sample) -> Rates | None:
        """``None`` when the pool has been started anew in between."""
        seconds = after.when - before.when
        if before.pid != after.pid or seconds <= 0 or after.served < before.served:
            return None
        accepted = {worker.pid: worker.accepted for worker in before.workers}
        return cls(
            (after.served - before.served) / seconds,
            (after.counters.get("expired", 0) - before.counters.get("expired", 0)) / seconds,
            (after.counters.get("wakeups", 0) - before.counters.get("wakeups", 0)) / seconds,
            {
                worker.pid: (worker.accepted - accepted.get(worker.pid, 0)) / seconds
                for worker in after.workers
                if worker.pid is not None
            },
        )


def read(path: Path) -> Sample:
    """Ask the pool whose status socket is ``path``. Raises :class:`StatusError`."""
    deadline = time.monotonic() + TIMEOUT
    try:
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(TIMEOUT)
            sock.connect(str(path))
            peer = pid_of(sock)
            octets = _all_of(sock, deadline)
    except FileNotFoundError:
        raise StatusError(f"{path}: there is no such socket; start the pool with --status {path}") from None
    except ConnectionRefusedError:
        why = "nothing answers; the pool that made it has gone" if path.is_socket() else "this is not a socket"
        raise StatusError(f"{path}: {why}") from None
    except TimeoutError:
        raise StatusError(f"{path}: no answer within {TIMEOUT:g} s; is the parent stopped?") from None
    except OSError as error:
        raise StatusError(f"{path}: {error.strerror or error}") from None
    when = time.monotonic()
    if len(octets) > LARGEST:
        raise StatusError(f"{path}: what answers there is not a pool: its document is larger than {LARGEST} octets")
    try:
        document = json.loads(octets, parse_constant=_no_number)
    except ValueError:
        raise StatusError(f"{path}: what answers there is not a pool: it sent no JSON") from None
    except RecursionError:
        raise StatusError(f"{path}: what answers there is not a pool: its document is nested too deeply") from None
    return Sample.of(document, when, peer)


def _all_of(sock: socket.socket, deadline: float) -> bytes:
    """What comes until end-of-file, or more than :data:`LARGEST` octets. Raises ``TimeoutError`` at ``deadline``,
    even if there is always something more to read.
    """
    octets = bytearray()
    while len(octets) <= LARGEST:
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        sock.settimeout(left)
        piece = sock.recv(65536)
        if not piece:
            break
        octets += piece
    return bytes(octets)


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a number")


def _figure(found: Mapping[str, Any], name: str, most: int = MOST, *, least: int = 0) -> int:
    value = found[name]
    if type(value) is not int or not least <= value <= most:  # True is an int as well
        raise ValueError(f"{name!r} is not a number from {least} to {most}")
    return value


def _optional(found: Mapping[str, Any], name: str) -> int | None:
    try:
        return _figure(found, name)
    except (KeyError, ValueError):
        return None


def _text(value: object, longest: int = 1024) -> str:
    if not isinstance(value, str):
        raise ValueError("a text is something else")
    return printable(value, longest)


def _worker(found: Mapping[str, Any]) -> Worker:
    age = found.get("age")
    if age is not None and not (type(age) in (int, float) and 0 <= age <= MOST):
        raise ValueError("'age' is not a time in seconds")
    return Worker(
        _figure(found, "slot", MOST_SLOTS - 1),
        None if found.get("pid") is None else _figure(found, "pid", MOST_PIDS, least=1),
        _text(found["state"], WORD),
        _figure(found, "open"),
        _figure(found, "capacity"),
        _figure(found, "orders"),
        _figure(found, "accepted"),
        _optional(found, "expired"),
        age,
        _optional(found, "generation"),
    )


def _letter(worker: Worker) -> str:
    if worker.state == "READY":
        return "I" if not worker.open else "B" if worker.open >= worker.capacity else "b"
    return {"SUSPECT": "?"}.get(worker.state, worker.state[:1])


def _what(error: Exception) -> str:
    return f"{error} is missing" if isinstance(error, KeyError) else str(error)
