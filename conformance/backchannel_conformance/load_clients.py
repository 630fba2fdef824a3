"""What became of each client, while workers die.

A :class:`Fate` is one client: its port, what it asked, whether it was answered. A port is known before it connects,
so a killer that stops a worker and looks up which clients it holds (``kernel.clients``) finds every one of them here.
What is lost and was held was lost *after* its accept; anything else that is lost was lost *before*, which the protocol
promises never to happen (BC-LOSS-01).
"""

from __future__ import annotations

import contextlib
import random
import signal
import socket
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from types import TracebackType

from . import kernel, processes
from .client import Address
from .waiting import scale, until

__all__ = ["Clients", "Count", "Fate", "chosen", "kill_one"]


@dataclass(slots=True)
class Fate:
    """One client, and what became of it. ``held``: a worker that was killed had accepted it."""

    port: int
    command: str
    began: float
    took: float = 0.0
    answered: bool = False
    held: bool = False
    error: str = ""


@dataclass(frozen=True)
class Count:
    """All clients of a storm."""

    clients: int
    answered: int
    before: tuple[Fate, ...] = field(repr=False)
    """Lost, and no dead worker had accepted them."""
    after: int
    """Lost with the worker that had accepted them."""
    spared: int
    """Held by a worker that was killed, and answered: it had said all it had to say."""

    @property
    def figures(self) -> str:
        """In words."""
        return (
            f"{self.clients} clients, {self.answered} answered, {len(self.before)} lost before accept, "
            f"{self.after} lost after accept"
        )


class Clients:
    """While this context lasts, ``count`` clients at a time connect, ask, wait for the answer and the end, and begin
    again. ``commands`` are asked in turn by each; who is not answered after ``patience`` seconds is lost.
    """

    def __init__(
        self, address: Address, count: int, commands: Sequence[str] = ("who",), patience: float = 30.0
    ) -> None:
        assert isinstance(address, tuple)
        self.address = address
        self.answered = 0
        self.latencies: list[float] = []
        """Of those answered since somebody emptied it."""
        self._lost: list[Fate] = []
        self._held: list[Fate] = []
        self._spared = 0
        self._past: set[int] = set()
        self._total = 0
        self._commands = commands
        self._patience = patience * scale()
        self._now: dict[int, Fate] = {}
        self._enough = threading.Event()
        self._more = threading.Condition()
        self._threads = [threading.Thread(target=self._run, daemon=True) for _ in range(count)]

    def __enter__(self) -> Clients:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_error: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._enough.set()
        for thread in self._threads:
            thread.join()

    def _run(self) -> None:
        turn = 0
        while not self._enough.is_set():
            self._one(self._commands[turn % len(self._commands)])
            turn += 1

    def _one(self, command: str) -> None:
        with socket.socket() as sock:
            sock.settimeout(self._patience)
            sock.bind((self.address[0], 0))
            fate = Fate(sock.getsockname()[1], command, time.monotonic())
            with self._more:
                self._now[fate.port] = fate
                self._total += 1
            try:
                sock.connect(self.address)
                sock.sendall(command.encode() + b"\n")
                answer = b""
                while part := sock.recv(4096):
                    answer += part
                fate.answered = answer.endswith(b"\n")
                fate.error = "" if fate.answered else "closed without an answer"
            except OSError as error:
                fate.error = str(error)
            fate.took = time.monotonic() - fate.began
            with self._more:
                # before its port is free for another
                del self._now[fate.port]
                if fate.answered:
                    self.answered += 1
                    self._past.add(fate.port)
                    self.latencies.append(fate.took)
                else:
                    self._lost.append(fate)
                self._more.notify_all()

    def hold(self, ports: set[int]) -> None:
        """Clients with these ports were accepted by a worker that is now killed."""
        with self._more:
            for port in ports & set(self._now):
                self._now[port].held = True
                self._held.append(self._now[port])
            # its client has had its answer and is gone; the worker had not yet closed its end
            self._spared += len((ports - set(self._now)) & self._past)

    def answered_elsewhere(self, port: int) -> None:
        """A client that is none of these had its answer; a worker may hold it for a moment more, and be killed then."""
        with self._more:
            self._past.add(port)

    def wait_for(self, count: int, seconds: float = 30.0) -> bool:
        """Until ``count`` more have been answered; whether they were in time."""
        with self._more:
            goal = self.answered + count
            return self._more.wait_for(lambda: self.answered >= goal, seconds * scale())

    def take_latencies(self) -> list[float]:
        """Those since the last call."""
        with self._more:
            taken, self.latencies = self.latencies, []
        return taken

    @property
    def lost(self) -> list[Fate]:
        """Those that were not answered."""
        return list(self._lost)

    def count(self) -> Count:
        """Everybody, when it is over."""
        before = tuple(fate for fate in self._lost if not fate.held)
        spared = self._spared + sum(fate.answered for fate in self._held)
        return Count(self._total, self.answered, before, len(self._lost) - len(before), spared)


def kill_one(pid: int, port: int, clients: Clients, *, linger: float = 0.0) -> set[int]:
    """Stop a worker, let ``linger`` seconds of load go to it, see whom it holds, kill it. The ports of whom it held.

    A worker stopped while it had nothing to do is ordered meanwhile, and dies before it has read its order.
    """
    with contextlib.suppress(ProcessLookupError):
        processes.send(pid, signal.SIGSTOP)
        until(lambda: kernel.state(pid) in ("T", "Z", ""), what=f"process {pid} to stop")
        if linger:
            time.sleep(linger)
        try:
            held = kernel.clients(pid, port)
        except OSError:
            return set()
        clients.hold(held)
        processes.send(pid, signal.SIGKILL)
        return held
    return set()


def chosen(workers: Sequence[int], at: int, seed: int = 1) -> int:
    """The victim of the ``at``-th kill: the same in every run."""
    return workers[random.Random(seed * 1_000_003 + at).randrange(len(workers))]
