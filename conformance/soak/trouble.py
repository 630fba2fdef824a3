"""What is done to a pool during its soak: kills, stops, reloads, replacements, bursts. And whom it cost what."""

from __future__ import annotations

import signal
import time
from collections import Counter

from backchannel_conformance import kernel, processes
from backchannel_conformance.client import Held, NoAnswer
from backchannel_conformance.errors import ContractError
from backchannel_conformance.load_clients import TrackedClients, kill_one, pick_victim
from backchannel_conformance.pool_under_test import PoolUnderTest
from backchannel_conformance.waiting import until

__all__ = ["WORKERS", "Trouble"]

WORKERS = 4


class Trouble:
    """Trouble for ``pool`` while ``clients`` use it, and the account of it. ``seed`` chooses who is killed."""

    def __init__(self, pool: PoolUnderTest, clients: TrackedClients, capacity: int, seed: int) -> None:
        self.done: Counter[str] = Counter()
        self.parent = pool.status().pid or pool.pid
        self.killed: set[int] = set()
        """Workers, by process id."""
        self.held = 0
        """Connections that workers held when they were killed."""
        self.burst_failures: list[str] = []
        self._pool = pool
        self._clients = clients
        self._capacity = capacity
        self._seed = seed

    def _experienced(self) -> list[int]:
        """Workers that have served: the death of one that has not rightly delays the next spawn."""
        workers = self._pool.status().workers
        return [
            worker["pid"]
            for worker in workers
            if worker["state"] == "READY" and worker["accepted"] and worker["pid"] not in self.killed
        ]

    def kill(self, count: int) -> None:
        """Kill so many workers, one after the other, each when it has served."""
        for _ in range(count):
            workers = until(self._experienced, 60, what="a worker that has served")
            at = self.done["kills"]
            pid = pick_victim(workers, at, self._seed)
            self.killed.add(pid)
            self.held += len(kill_one(pid, self._pool.port, self._clients, linger=0.01 * (at % 2)))
            self.done["kills"] += 1

    def stop_worker(self) -> None:
        """Stop a worker for longer than the order's deadline; then it goes on."""
        pid = until(self._experienced, 60, what="a worker that has served")[0]
        self._pause(pid, 0.5)
        self.done["stopped workers"] += 1

    def stop_parent(self) -> None:
        """Stop the parent for a while."""
        self._pause(self.parent, 0.4)
        self.done["stopped parents"] += 1

    def _pause(self, pid: int, seconds: float) -> None:
        processes.send(pid, signal.SIGSTOP)
        try:
            time.sleep(seconds)
        finally:
            processes.send(pid, signal.SIGCONT)

    def reload(self) -> None:
        """Reload the pool; killing goes on meanwhile."""
        generation = self._pool.status().generation
        processes.send(self.parent, signal.SIGHUP)
        self.kill(2)
        self._pool.until("the end of a reload", lambda s: s.generation > generation and not s.reloading, 60)
        self.done["reloads"] += 1

    def replace(self) -> None:
        """Replace the parent, and wait until the old one has gone."""
        old = self.parent
        processes.send(old, signal.SIGUSR2)
        until(lambda: self._successor(old), 60, what="the successor")
        if self._pool.pid == self._pool.process.pid:
            self._pool.wait()
        until(lambda: kernel.state(old) in ("", "Z"), 60, what="the old parent to go")
        self._pool.pid = self.parent
        self.done["replacements"] += 1

    def _successor(self, old: int) -> bool:
        try:
            status = self._pool.status()
        except (OSError, ContractError):
            return False  # between two owners of the status socket
        if status.pid in (0, old):
            return False
        self.parent = status.pid
        return True

    def burst(self) -> None:
        """Have ten times more clients than there is room for come at once."""
        count = 10 * WORKERS * self._capacity
        waiting = [Held(self._pool.addresses[0], "burn 1") for _ in range(count)]
        for one in waiting:
            try:
                one.answer(60)
                self._clients.answered_elsewhere(one.port)
            except NoAnswer as error:
                self.burst_failures.append(str(error))
            one.close()
        self.done["clients in bursts"] += count
