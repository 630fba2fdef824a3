"""Clients that keep a pool busy while something else happens to it.

The clients are threads of the suite: they spend their time in the kernel, and the pool does not see the difference.

- :class:`SteadyClients` remember who answered, for cases in which nobody may fail.
- :class:`TrackedClients` remember what became of each :class:`Attempt`, while workers die. An attempt has its port
  before it connects. So :func:`kill_one`, which stops a worker and looks up the clients that it holds
  (``kernel.clients``), finds every one of them. An attempt that a dead worker held was lost *after* its accept; any
  other was lost *before* it, and the protocol promises that this never happens (BC-LOSS-01).
"""

from __future__ import annotations

import contextlib
import random
import signal
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import TracebackType

from . import kernel, processes
from .client import Address, Client, NoAnswer
from .pool_under_test import PoolUnderTest
from .waiting import TimedOut, deadline_in, scale, until

__all__ = ["Attempt", "SteadyClients", "Totals", "TrackedClients", "kill_one", "pick_victim"]


class _Threads:
    """``count`` threads in ``run``, which is to return soon after ``enough`` is set."""

    def __init__(self, count: int, run: Callable[[], None]) -> None:
        self.enough = threading.Event()
        self._threads = [threading.Thread(target=run, daemon=True) for _ in range(count)]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self.enough.set()
        deadline = deadline_in(60)  # each of their waits has a limit; one that outlasts this ends with the suite
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))


class SteadyClients:
    """While this context lasts, ``clients`` clients ask one question after another; one that is not answered stops.

    ``answers`` counts by process id, ``failures`` says what went wrong.
    """

    def __init__(self, pool: PoolUnderTest, clients: int) -> None:
        self.answers: Counter[int] = Counter()
        self.failures: list[str] = []
        self._client = Client(pool.addresses[0])
        self._more = threading.Condition()
        self._threads = _Threads(clients, self._run)

    def __enter__(self) -> SteadyClients:
        self._threads.start()
        return self

    def __exit__(self, *_error: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._threads.stop()

    def _run(self) -> None:
        while not self._threads.enough.is_set():
            try:
                pid = self._client.ask().pid
            except (NoAnswer, OSError) as error:
                with self._more:
                    self.failures.append(str(error))
                    self._more.notify_all()
                return
            with self._more:
                self.answers[pid] += 1
                self._more.notify_all()

    def wait_for(self, count: int, seconds: float = 30.0) -> None:
        """Until ``count`` more have been answered, or one has failed. Raises :class:`TimedOut`."""
        with self._more:
            goal = self.answers.total() + count
            if not self._more.wait_for(lambda: self.failures or self.answers.total() >= goal, seconds * scale()):
                raise TimedOut(f"waited {seconds * scale():g} s for {count} more answers, in vain")


@dataclass(slots=True)
class Attempt:
    """One connection, and what became of it. ``held``: a worker that was killed had accepted it."""

    port: int
    command: str
    began: float
    took: float = 0.0
    answered: bool = False
    held: bool = False
    error: str = ""


@dataclass(frozen=True)
class Totals:
    """What became of all attempts."""

    clients: int
    answered: int
    before: tuple[Attempt, ...] = field(repr=False)
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


class TrackedClients:
    """While this context lasts, ``count`` clients at a time connect, ask, wait for the answer and the end, and begin
    again. ``commands`` are asked in turn by each; one that is not answered within ``patience`` seconds is lost.
    """

    def __init__(
        self, address: Address, count: int, commands: Sequence[str] = ("who",), patience: float = 30.0
    ) -> None:
        assert isinstance(address, tuple)
        self.address = address
        self.answered = 0
        self.latencies: list[float] = []
        """Of those answered since somebody emptied it."""
        self._lost: list[Attempt] = []
        self._held: list[Attempt] = []
        self._spared = 0
        self._past: set[int] = set()
        self._total = 0
        self._commands = commands
        self._patience = patience * scale()
        self._now: dict[int, Attempt] = {}
        self._more = threading.Condition()
        self._threads = _Threads(count, self._run)

    def __enter__(self) -> TrackedClients:
        self._threads.start()
        return self

    def __exit__(self, *_error: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._threads.stop()

    def _run(self) -> None:
        turn = 0
        while not self._threads.enough.is_set():
            self._one(self._commands[turn % len(self._commands)])
            turn += 1

    def _one(self, command: str) -> None:
        with socket.socket() as sock:
            sock.settimeout(self._patience)
            sock.bind((self.address[0], 0))
            attempt = Attempt(sock.getsockname()[1], command, time.monotonic())
            with self._more:
                self._now[attempt.port] = attempt
                self._total += 1
            try:
                sock.connect(self.address)
                sock.sendall(command.encode() + b"\n")
                answer = b""
                while part := sock.recv(4096):
                    answer += part
                attempt.answered = answer.endswith(b"\n")
                attempt.error = "" if attempt.answered else "closed without an answer"
            except OSError as error:
                attempt.error = str(error)
            attempt.took = time.monotonic() - attempt.began
            with self._more:
                # before its port is free for another
                del self._now[attempt.port]
                if attempt.answered:
                    self.answered += 1
                    self._past.add(attempt.port)
                    self.latencies.append(attempt.took)
                else:
                    self._lost.append(attempt)
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
    def lost(self) -> list[Attempt]:
        """Those that were not answered."""
        return list(self._lost)

    def totals(self) -> Totals:
        """What became of all attempts, once the context has ended."""
        before = tuple(attempt for attempt in self._lost if not attempt.held)
        spared = self._spared + sum(attempt.answered for attempt in self._held)
        return Totals(self._total, self.answered, before, len(self._lost) - len(before), spared)


def kill_one(pid: int, port: int, clients: TrackedClients, *, linger: float = 0.0) -> set[int]:
    """Stop a worker, let ``linger`` seconds of load go to it, look up its clients, kill it. Returns their ports.

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


def pick_victim(workers: Sequence[int], at: int, seed: int = 1) -> int:
    """The victim of the ``at``-th kill: the same in every run."""
    return workers[random.Random(seed * 1_000_003 + at).randrange(len(workers))]
