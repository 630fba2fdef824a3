"""One pool's soak: when it has what trouble, what is sampled meanwhile, and what must have held.

In the first sixth the parent is replaced again and again. Then one parent stays and has its overload, and its memory in
the last third is compared with that in the second: by then it has filled what an interpreter keeps for later use.
Kills go on all the time, 110 a minute, except during the overload: once, for a tenth of the time, there are ten times
more clients than room. All of them must be answered, at the rate at which fewer are.
"""

from __future__ import annotations

import signal
import statistics
import time
from collections import Counter
from pathlib import Path
from typing import Any

from backchannel_conformance import kernel, processes
from backchannel_conformance.client import NoAnswer
from backchannel_conformance.errors import ContractError
from backchannel_conformance.load_clients import TrackedClients
from backchannel_conformance.manifest import Manifest
from backchannel_conformance.pool_under_test import PoolUnderTest, Status
from backchannel_conformance.waiting import TimedOut, until
from sampler import Sampler
from trouble import WORKERS, Trouble

__all__ = ["Run"]

KILLS_A_MINUTE = 110
FLAT = 0.02
"""By how much memory may differ between the second third and the last."""
FULL = 0.7
"""Of the rate at which a full pool answers: what it must answer at under ten times as many clients, and after them. The
clients run on the same processors, and ten times as many cost more: with two processors that alone takes a fifth.
"""
WAKEUPS = 3.0
"""Of the parent, for each connection, at most (BC-WAIT-04)."""
EARLY = 1 / 6
"""Of the time: while the parent is replaced."""
LONG = 600
"""Seconds of a soak that must have done enough of everything."""
ENOUGH = {"kills": 1000, "reloads": 100, "replacements": 10}


class Run:
    """A pool, from its start to its verdict."""

    def __init__(self, target: Manifest, seconds: float, capacity: int, seed: int, log: Path) -> None:
        self.figures: dict[str, Any] = {}
        self.verdict: dict[str, bool] = {}
        self.samples: list[dict[str, float]] = []
        self._target = target
        self._seconds = seconds
        self._seed = seed
        self._capacity = capacity
        self._descriptors: list[tuple[int, int]] = []
        options = {
            "capacity": str(capacity),
            "start": str(WORKERS),
            "min": str(WORKERS),
            "max": str(WORKERS + 2),
            "pass": "0.2",
            "order_deadline": "0.3",
            "silence_deadline": "10",
        }
        self.pool = PoolUnderTest(target, options, log)

    def go(self) -> None:
        """All of it."""
        self._began = time.monotonic()
        self.clients = TrackedClients(self.pool.addresses[0], 4, ("who", "burn 2", "who", "burn 5"))
        self._trouble = trouble = Trouble(self.pool, self.clients, self._capacity, self._seed)
        try:
            try:
                with (
                    self.clients,
                    Sampler(self.pool, self.clients, self._seconds, lambda: trouble.parent, self.samples),
                ):
                    while self._elapsed < self._seconds:
                        self._round()
                self._judge_clients()
                self._judge_pool()
                self._judge_stop()
            except (TimedOut, NoAnswer, ContractError, OSError) as error:
                self.figures["it went no further"] = f"after {self._elapsed:.0f} s: {error}"
                self.verdict["the pool went on to the end"] = False
                self._judge_clients()
        finally:
            self.pool.close()

    @property
    def held(self) -> bool:
        """Whether everything was as promised."""
        return all(self.verdict.values())

    def lines(self) -> list[str]:
        """Figures and verdict, for people."""
        shown = [f"{name}: {value}" for name, value in self.figures.items()]
        return [*shown, *(f"{'holds ' if held else 'BROKEN'}  {what}" for what, held in self.verdict.items())]

    @property
    def _elapsed(self) -> float:
        return time.monotonic() - self._began

    # ---------------------------------------------------------------------------------- what is done

    def _round(self) -> None:
        """Some of everything."""
        trouble = self._trouble
        early = self._elapsed < self._seconds * EARLY
        if "reload" in self._target.classes:
            trouble.reload()
        trouble.kill(5)
        trouble.stop_worker()
        trouble.kill(5)
        trouble.stop_parent()
        for _ in range(2):
            if early and "replace" in self._target.classes:
                trouble.replace()
            elif not early and "reload" in self._target.classes:
                trouble.reload()
        trouble.burst()
        if not early and not trouble.done["overloads"]:
            self._overload()
        # the rest of everything must not wait for kills that are behind
        for _ in range(20):
            if trouble.done["kills"] < KILLS_A_MINUTE * self._elapsed / 60 and self._elapsed < self._seconds:
                trouble.kill(1)
        self._note_descriptors()

    def _overload(self) -> None:
        """Ten times more clients than there is room for, for a while; as many as there is room for, before and after.

        What a client asks takes long beside what it takes to be a client: the pool is what is measured.
        """
        room, seconds = WORKERS * self._capacity, self._seconds / 10
        self.pool.until("a pool of ready workers", lambda s: len(s.slots("READY")) >= WORKERS, 60)
        before, _ = self._rate(room, seconds / 4)
        counted = self.pool.status().counters
        used = kernel.cpu_seconds(self._trouble.parent)
        during, clients = self._rate(10 * room, seconds)
        used = kernel.cpu_seconds(self._trouble.parent) - used
        counters = self.pool.status().counters
        after, _ = self._rate(room, seconds / 4)
        accepted = max(1, counters["accepted"] - counted["accepted"])
        wakeups = (counters["wakeups"] - counted["wakeups"]) / accepted
        self.figures[f"answers a second: {room} clients, {10 * room} for {seconds:.0f} s, {room} again"] = (
            f"{before:.0f}, {during:.0f}, {after:.0f}"
        )
        self.figures["the parent meanwhile: wake-ups, ms of processor time for each connection"] = (
            f"{wakeups:.2f}, {used / accepted * 1000:.3f}"
        )
        self.verdict["every client of the overload was answered"] = not clients.lost
        self.verdict[f"the rate was full, {FULL:.0%} at least, during the overload and after"] = (
            min(during, after) >= FULL * before
        )
        self.verdict[f"the parent woke at most {WAKEUPS:g} times for each connection of it"] = wakeups <= WAKEUPS
        self._trouble.done["overloads"] += 1

    def _rate(self, count: int, seconds: float) -> tuple[float, TrackedClients]:
        """Answers a second to so many clients; the others go on meanwhile, and count as well."""
        others = self.clients.answered
        began = time.monotonic()
        with TrackedClients(self.pool.addresses[0], count, ("burn 10",), patience=120) as clients:
            time.sleep(seconds)
            answered = clients.answered + self.clients.answered - others
            took = time.monotonic() - began
        self._trouble.done["clients of the overload"] += clients.totals().clients
        return answered / took, clients

    def _note_descriptors(self) -> None:
        """Note how many descriptors the parent has besides its channels, once every death has been noticed.

        A reader of its status costs it one for a moment, and so does a worker that is being started. So it is looked at
        several times, and the most frequent number is taken.
        """

        def calm(status: Status) -> bool:
            alive = set(status.pids().values())
            return not alive & self._trouble.killed and len(status.workers) == len(status.slots("READY"))

        looks = []
        for _ in range(9):
            status = self.pool.until("a pool of ready workers", calm, 60)
            looks.append(sum(kernel.kinds(self._trouble.parent).values()) - len(status.workers))
        self._descriptors.append((self._trouble.parent, statistics.mode(looks)))

    # ------------------------------------------------------------------------------ what must have held

    def _judge_clients(self) -> None:
        totals, trouble = self.clients.totals(), self._trouble
        self.figures |= dict(sorted(trouble.done.items()))
        self.figures |= {
            "clients": totals.clients,
            "answered": totals.answered,
            "lost before accept": len(totals.before),
            "lost after accept": totals.after,
            "held by workers when they were killed": trouble.held,
            "of those, answered in full": totals.spared,
        }
        if totals.before:
            self.figures["lost before accept, such as"] = [
                f"{attempt.command}, {attempt.error}, {attempt.took:.2f} s" for attempt in totals.before[:5]
            ]
        self.verdict["no connection was lost before an accept"] = not totals.before
        self.verdict["those lost after it were held by workers that died"] = (
            totals.after == trouble.held - totals.spared
        )
        self.verdict[
            "every client in a burst was answered, except where its worker was killed"
        ] = not trouble.burst_failures
        if self._seconds >= LONG:
            for what, enough in ENOUGH.items():
                if what != "replacements" or "replace" in self._target.classes:
                    self.verdict[f"at least {enough:,} {what}"] = trouble.done[what] >= enough

    def _judge_pool(self) -> None:
        status = self.pool.until("a quiet pool", lambda s: s.quiet and len(s.workers) >= WORKERS, 60)
        family = [self._trouble.parent, *status.pids().values()]
        zombies = [pid for pid in kernel.session_of(self.pool.process.pid) if kernel.state(pid) == "Z"]
        mine = [pid for pid in zombies if kernel.parent(pid) == self._trouble.parent]
        strangers = [
            pid
            for pid in kernel.session_of(self.pool.process.pid)
            if pid not in family and kernel.state(pid) not in ("", "Z")
        ]
        self.figures["zombies, processes beside the pool"] = f"{len(mine)}, {len(strangers)}"
        self.verdict["no zombie, and no process that is not of the pool"] = not mine and not strangers
        self._note_descriptors()
        counts = [count for parent, count in self._descriptors if parent == self._trouble.parent]
        self.figures["descriptors of the last parent besides channels"] = f"{counts[0]} at first, {counts[-1]} at last"
        self.verdict["no descriptor leaked"] = counts[0] >= counts[-1]
        for key, what in (("parent_mb", "the parent's memory"), ("worker_mb", "a worker's memory")):
            parts = [self._typical(key, part) for part in (1, 2)]
            change = parts[1] / parts[0] - 1 if parts[0] else 0.0
            self.figures[f"{what}, second third and last"] = f"{parts[0]:.2f} MB, {parts[1]:.2f} MB ({change:+.1%})"
            self.verdict[f"{what} is flat within {FLAT:.0%}"] = abs(change) <= FLAT
        medians = [sample["median_ms"] for sample in self.samples if sample["answered"]]
        tails = [sample["p99_ms"] for sample in self.samples if sample["answered"]]
        self.figures["ms to an answer: median, median of the 99th percentiles"] = (
            f"{statistics.median(medians):.2f}, {statistics.median(tails):.1f}"
        )
        names = ("orders", "accepted", "expired", "late", "short", "dead", "deaths", "kills")
        self.figures["counters of the last parent"] = {name: status.counters[name] for name in names}
        counters = status.counters
        ended = counters["accepted"] + counters["expired"] + counters["short"] + counters["dead"]
        self.verdict["every order is accounted for"] = counters["orders"] == ended
        self.verdict["the parent killed no worker"] = not counters["kills"]

    def _typical(self, key: str, part: int) -> float:
        low, high = self._seconds * part / 3, self._seconds * (part + 1) / 3
        found = [sample[key] for sample in self.samples if low <= sample["second"] < high and sample[key]]
        return statistics.median(found) if found else 0.0

    def _judge_stop(self) -> None:
        """SIGTERM under load: a client that was accepted is answered; those that came in the last gap are counted.

        When a client is reset, nothing tells whether it came in the last gap or had been accepted. So some clients hold
        connections that are known to be accepted, one to a worker, and must be served until they close them.
        """
        held = [self.pool.client.hold() for _ in range(WORKERS - 1)]
        with TrackedClients(self.pool.addresses[0], 4) as clients:
            clients.wait_for(100)
            processes.send(self._trouble.parent, signal.SIGTERM)
            self.pool.until("a pool that drains", lambda s: len(s.workers) == len(s.slots("DRAINING")), 60)
            went_on = all(connection.again() == who for connection, who in held)
            for connection, _ in held:
                connection.close()
            until(lambda: kernel.state(self._trouble.parent) in ("", "Z"), 60, what="the parent to exit")
        kinds = Counter(_end(attempt.error) for attempt in clients.lost)
        others = sum(kinds.values()) - kinds["reset"] - kinds["refused"]
        self.figures["after SIGTERM: answered, reset in the last gap, refused after it, anything else"] = (
            f"{clients.answered}, {kinds['reset']}, {kinds['refused']}, {others}"
        )
        self.verdict["connections held at SIGTERM went on being served"] = went_on
        self.verdict["no accepted connection lost its answer to SIGTERM"] = not others
        if self.pool.pid == self.pool.process.pid:
            self.verdict["the exit status is 0"] = self.pool.wait() == 0
        left = [pid for pid in kernel.session_of(self.pool.process.pid) if kernel.state(pid) not in ("", "Z")]
        self.verdict["nothing outlived the pool"] = not left


def _end(error: str) -> str:
    """How a client that was not answered ended, in a word."""
    return next((word for word in ("refused", "reset") if word in error.lower()), error)
