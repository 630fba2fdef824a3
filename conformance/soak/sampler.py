"""What is sampled while a pool is soaked: the memory of its processes, its workers, and how fast it answers."""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Callable
from types import TracebackType

from backchannel_conformance import kernel
from backchannel_conformance.errors import ContractError
from backchannel_conformance.load_clients import TrackedClients
from backchannel_conformance.pool_under_test import PoolUnderTest

__all__ = ["Sampler"]

Sample = dict[str, float]


class Sampler:
    """While this context lasts, a thread adds to ``samples``, sixty times in ``seconds`` or each second.

    ``parent`` tells the process id of the parent, where its status document does not.
    """

    def __init__(
        self,
        pool: PoolUnderTest,
        clients: TrackedClients,
        seconds: float,
        parent: Callable[[], int],
        samples: list[Sample],
    ) -> None:
        self._pool = pool
        self._clients = clients
        self._seconds = seconds
        self._parent = parent
        self._samples = samples
        self._began = time.monotonic()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Sampler:
        self._thread.start()
        return self

    def __exit__(self, *_error: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._over.wait(min(1.0, self._seconds / 60)):
            try:
                status = self._pool.status()
                # one that has served nothing has hardly touched its memory yet
                workers = [kernel.memory(worker["pid"]) for worker in status.workers if worker["accepted"]]
                memory = kernel.memory(status.pid or self._parent())
            except (OSError, ContractError, IndexError):
                continue  # a process was killed while it was looked at
            taken = sorted(self._clients.take_latencies())
            self._samples.append(
                {
                    "second": round(time.monotonic() - self._began, 2),
                    "parent_mb": memory / 1e6,
                    "worker_mb": statistics.fmean(workers) / 1e6 if workers else 0.0,
                    "workers": len(status.slots("READY")),
                    "median_ms": taken[len(taken) // 2] * 1000 if taken else 0.0,
                    "p99_ms": taken[len(taken) * 99 // 100] * 1000 if taken else 0.0,
                    "answered": len(taken),
                }
            )
