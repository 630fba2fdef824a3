"""The core on a clock of its own: placement at a scale that no test machine has.

    python benchmarks/simulator.py --workers 1000 --connections 1000000

The parent is the real one, :class:`backchannel.Parent`, and so is each worker's side; what is played is time, the
listener's queue, and workers that do one thing at a time. Beside it stand the kernel's two ways of choosing: *LIFO*, as
EPOLLEXCLUSIVE does it (the worker that began to wait last is woken first, and all take from one queue), and *hash*, as
SO_REUSEPORT does it (each worker has a queue, and chance chooses). Processors are as many as workers: what is compared
is placement, not the cost of a message; a message takes :data:`HOP`.

Two questions are asked. *Brief* connections occupy a worker while they are served: how long do they take, waiting
included? *Long-lived* ones only stay: how many does the fullest worker hold, and how many the emptiest?
"""

from __future__ import annotations

import argparse
import heapq
import random
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from sys import path

path.insert(0, str(Path(__file__).parents[1] / "reference" / "core"))

from backchannel import Parent, Reason, Scaling, Send, Settings, WorkerSide

__all__ = ["KERNEL", "POLICIES", "Outcome", "heavy_tail", "hold", "serve"]

HOP = 15e-6
"""Seconds from a write on a channel until its reader acts on it."""

POLICIES = ("lowest", "least-loaded")
KERNEL = ("LIFO", "hash")


@dataclass
class Outcome:
    """What became of the connections."""

    latencies: list[float] = field(default_factory=list)
    """Seconds from arrival to the end of the service."""
    held: list[int] = field(default_factory=list)
    """Connections on each worker at the end."""
    served: list[int] = field(default_factory=list)
    """Connections each worker has taken."""

    def quantile(self, share: float) -> float:
        """Of the latencies."""
        ordered = sorted(self.latencies)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))]

    @property
    def spread(self) -> int:
        """The fullest minus the emptiest."""
        return max(self.held) - min(self.held)

    @property
    def touched(self) -> int:
        """Workers that have taken any."""
        return sum(count > 0 for count in self.served)


class Clock:
    """Events in the order of their times."""

    def __init__(self) -> None:
        self.now = 0.0
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._count = 0

    def after(self, seconds: float, event: Callable[[], None]) -> None:
        """Let ``event`` happen ``seconds`` from now."""
        self._count += 1
        heapq.heappush(self._events, (self.now + seconds, self._count, event))

    def run(self) -> None:
        """Until nothing more happens."""
        while self._events:
            self.now, _, event = heapq.heappop(self._events)
            event()


Arrivals = Iterator[tuple[float, float]]
"""(seconds since the last one, seconds of service); no service: it stays."""


class Worker:
    """One worker of a simulated pool: carries out orders, serves, reports, one thing at a time."""

    def __init__(self, slot: int, pool: Pool) -> None:
        self.slot, self.pool = slot, pool
        self.side = WorkerSide(pool.settings.capacity, 1)
        self.inbox: deque[bytes] = deque()
        self.tasks: deque[tuple[float, float]] = deque()
        self.serving = False
        self.taken = 0
        self.side.hello()
        self.report(0.0)

    def report(self, hop: float = HOP) -> None:
        data = self.side.outgoing()
        if data:
            self.side.sent(len(data))
            self.pool.clock.after(hop, lambda: self.pool.hear(self.slot, data))

    def receive(self, data: bytes) -> None:
        self.inbox.append(data)
        self.go_on()

    def go_on(self) -> None:
        queue = self.pool.queue
        while self.inbox and not self.serving:
            for order in self.side.receive(self.inbox.popleft()):
                taken = [queue.popleft() for _ in range(min(order.max, len(queue)))]
                self.tasks.extend(taken)
                self.taken += len(taken)
                self.side.answer(order, len(taken), Reason.FILLED if len(taken) == order.max else Reason.EMPTY)
                self.report()
            self.begin()

    def begin(self) -> None:
        while self.tasks and not self.serving:
            arrived, service = self.tasks.popleft()
            if service:
                self.serving = True
                self.pool.clock.after(service, lambda arrived=arrived: self.end(arrived))  # type: ignore[misc]

    def end(self, arrived: float) -> None:
        self.serving = False
        self.pool.outcome.latencies.append(self.pool.clock.now - arrived)
        self.side.ended()
        self.report()
        self.go_on()
        self.begin()


class Pool:
    """The real parent, and simulated workers."""

    def __init__(self, settings: Settings, workers: int, arrivals: Arrivals) -> None:
        self.settings = settings
        self.clock = Clock()
        self.queue: deque[tuple[float, float]] = deque()
        self.outcome = Outcome()
        self.arrivals = arrivals
        self.parent = Parent(settings, Scaling.fixed(workers))
        self.parent.edges = True
        self.parent.start(0.0)
        self.parent.take_actions()
        self.workers = [Worker(slot, self) for slot in range(workers)]
        self.clock.after(1.0, self.next_arrival)
        self.alarm = float("inf")

    def next_arrival(self) -> None:
        found = next(self.arrivals, None)
        if found is not None:
            self.clock.after(found[0], lambda: self.arrive(found[1]))

    def arrive(self, service: float) -> None:
        self.queue.append((self.clock.now, service))
        self.parent.readable(0)
        self.turn()
        self.next_arrival()

    def hear(self, slot: int, data: bytes) -> None:
        self.parent.received(slot, data, self.clock.now)
        self.turn()

    def turn(self) -> None:
        parent = self.parent
        parent.judge(self.clock.now)
        parent.dispatch(dict.fromkeys(parent.to_count(), len(self.queue)))
        for action in parent.take_actions():
            if isinstance(action, Send):
                worker, data = self.workers[action.slot], action.data
                self.clock.after(HOP, lambda worker=worker, data=data: worker.receive(data))  # type: ignore[misc]
        deadline = parent.next_deadline()
        if deadline is not None and (deadline < self.alarm or self.alarm <= self.clock.now):
            self.alarm = deadline
            self.clock.after(max(0.0, deadline - self.clock.now), self.turn)

    def run(self) -> Outcome:
        self.clock.run()
        self.outcome.held = [worker.side.open for worker in self.workers]
        self.outcome.served = [worker.taken for worker in self.workers]
        return self.outcome


def serve(how: str, workers: int, capacity: int, arrivals: Arrivals, seed: int = 1) -> Outcome:
    """Let ``arrivals`` be placed by ``how``: a policy of the core, or one of the kernel's ways."""
    if how in POLICIES:
        settings = Settings(capacity=capacity, policy=how, silence_deadline=1e9, start_deadline=1e9)
        return Pool(settings, workers, arrivals).run()
    return _lifo(workers, arrivals) if how == "LIFO" else _hash(workers, arrivals, random.Random(seed))


def _lifo(workers: int, arrivals: Arrivals) -> Outcome:
    """One queue; who began to wait last takes from it first."""
    outcome = Outcome(held=[0] * workers, served=[0] * workers)
    waiting = list(range(workers))
    busy: list[tuple[float, int]] = []
    queue: deque[tuple[float, float]] = deque()
    now = 0.0

    def take(worker: int, at: float) -> None:
        arrived, service = queue.popleft()
        outcome.served[worker] += 1
        if service:
            outcome.latencies.append(at + service - arrived)
            heapq.heappush(busy, (at + service, worker))
        else:
            outcome.held[worker] += 1
            waiting.append(worker)

    def until(at: float) -> None:
        while busy and busy[0][0] <= at:
            when, worker = heapq.heappop(busy)
            if queue:
                take(worker, when)
            else:
                waiting.append(worker)

    for gap, service in arrivals:
        now += gap
        until(now)
        queue.append((now, service))
        if waiting:
            take(waiting.pop(), now)
    until(float("inf"))
    return outcome


def _hash(workers: int, arrivals: Arrivals, chance: random.Random) -> Outcome:
    """A queue for each worker; chance chooses."""
    outcome = Outcome(held=[0] * workers, served=[0] * workers)
    free = [0.0] * workers
    now = 0.0
    for gap, service in arrivals:
        now += gap
        worker = chance.randrange(workers)
        outcome.served[worker] += 1
        if service:
            free[worker] = max(free[worker], now) + service
            outcome.latencies.append(free[worker] - now)
        else:
            outcome.held[worker] += 1
    return outcome


def heavy_tail(rate: float, count: int, light: float = 0.0002, seed: int = 1) -> Arrivals:
    """``count`` connections at ``rate`` a second; 1 % of them need 100 times as long as the ``light`` ones."""
    chance = random.Random(seed)
    for _ in range(count):
        yield chance.expovariate(rate), light * (100 if chance.random() < 0.01 else 1)


def hold(rate: float, count: int, seed: int = 1) -> Arrivals:
    """``count`` connections that stay."""
    chance = random.Random(seed)
    for _ in range(count):
        yield chance.expovariate(rate), 0.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Print a table."""
    parser = argparse.ArgumentParser(prog="python benchmarks/simulator.py", description=__doc__)
    parser.add_argument("--workers", type=int, default=1000)
    parser.add_argument("--connections", type=int, default=100_000)
    parser.add_argument("--load", type=float, default=0.7, help="share of the workers that are busy (default 0.7)")
    options = parser.parse_args(arguments)
    workers, count = options.workers, options.connections
    rate = options.load * workers / 0.000398  # the mean service of the heavy tail
    print(f"{workers} workers, {count} brief connections, {options.load:.0%} busy, 1 % of them 100 times longer")
    for how, capacity in (("lowest", 1), ("least-loaded", 64), ("LIFO", 0), ("hash", 0)):
        found = serve(how, workers, capacity, heavy_tail(rate, count))
        figures = " ".join(f"p{share * 100:g} {found.quantile(share) * 1000:8.3f} ms" for share in (0.5, 0.99, 0.999))
        print(f"  {how:14} {figures}  workers that served: {found.touched}", flush=True)
    print(f"{workers} workers, {count} connections that stay")
    for how, capacity in (("least-loaded", count), ("LIFO", 0), ("hash", 0)):
        found = serve(how, workers, capacity, hold(rate / 10, count))
        print(f"  {how:14} the fullest holds {max(found.held)}, the emptiest {min(found.held)}", flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
