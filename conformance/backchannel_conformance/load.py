"""Steady load: clients that ask one after another until they are told to stop, and remember who answered, and who not.

The clients are threads of the suite: they spend their time in the kernel, and the pool does not see the difference.
"""

from __future__ import annotations

import threading
from collections import Counter
from types import TracebackType

from .client import Client, NoAnswer
from .pool import Pool

__all__ = ["Load"]


class Load:
    """While this context lasts, ``clients`` clients ask. ``answers`` counts by process id; ``failures`` says what went
    wrong for whom was not answered.
    """

    def __init__(self, pool: Pool, clients: int) -> None:
        self.answers: Counter[int] = Counter()
        self.failures: list[str] = []
        self._client = Client(pool.addresses[0])
        self._enough = threading.Event()
        self._more = threading.Condition()
        self._threads = [threading.Thread(target=self._run, daemon=True) for _ in range(clients)]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_error: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._enough.set()
        for thread in self._threads:
            thread.join()

    def _run(self) -> None:
        while not self._enough.is_set():
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
        """Until ``count`` more have been answered, or one has failed."""
        with self._more:
            goal = self.answers.total() + count
            self._more.wait_for(lambda: self.failures or self.answers.total() >= goal, seconds)
