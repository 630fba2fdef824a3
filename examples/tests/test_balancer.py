"""Two pools behind a balancer: one is reloaded and one is drained under load, and no request fails."""

from __future__ import annotations

import contextlib
import http.client
import signal
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from balancing import BALANCERS, POOL, balancer, need, sessions, tell_haproxy
from running import Running, running
from snippets import READY, free_port


class Load:
    """Clients that ask all the time, each for itself."""

    def __init__(self, port: int, clients: int = 4) -> None:
        self.port = port
        self.failed: list[str] = []
        self.served: Counter[str] = Counter()
        self.over = threading.Event()
        self.lock = threading.Condition()
        self.threads = [threading.Thread(target=self._ask) for _ in range(clients)]

    def __enter__(self) -> Load:
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        for thread in self.threads:
            thread.join(30)

    def _ask(self) -> None:
        while not self.over.is_set():
            client = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
            try:
                client.request("GET", "/")
                response = client.getresponse()
                body = response.read().decode()
                problem = "" if response.status == 200 else f"{response.status} {body}"
            except OSError as error:
                problem = f"{type(error).__name__}: {error}"
            finally:
                client.close()
            with self.lock:
                if problem:
                    self.failed.append(problem)
                else:
                    self.served[body.split()[-1]] += 1
                self.lock.notify_all()

    def until(self, met: Callable[[], bool], what: str) -> None:
        """Go on until ``met``; it is asked after each request."""
        with self.lock:
            assert self.lock.wait_for(lambda: met() or self.failed, 30), f"never: {what}"

    def more(self, count: int = 100) -> None:
        """Let so many more be served."""
        least = self.served.total() + count
        self.until(lambda: self.served.total() >= least, f"{count} more")


def pids(pool: Running) -> set[str]:
    return {str(worker["pid"]) for worker in pool.status()["workers"]}


@pytest.mark.parametrize("name", BALANCERS)
def test_a_reload_and_a_drain_fail_nobody(name: str, tmp_path: Path) -> None:
    need(name)
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    with running("wsgi", tmp_path / "a", POOL) as a, contextlib.ExitStack() as stack:
        again = stack.enter_context(running("wsgi", tmp_path / "b", POOL))
        port = free_port()
        with balancer(name, tmp_path, port, (a.port, again.port)) as (directory, server), Load(port) as load:
            load.more()
            ready = len(READY.findall(server.log))
            # the balancer itself is reloaded
            server.process.send_signal(signal.SIGUSR2 if name == "haproxy" else signal.SIGHUP)
            load.until(lambda: len(READY.findall(server.log)) > ready, "the balancer has reloaded")
            load.more()
            # one pool is reloaded: all its workers are others afterwards, and they serve
            before = pids(a)
            a.server.process.send_signal(signal.SIGHUP)
            load.until(
                lambda: not (before & pids(a)) and a.status()["board"].strip("IbB.") == "", "all workers are new"
            )
            load.until(lambda: any(pid in load.served for pid in pids(a)), "a new worker serves")
            # the other one is drained, and stopped
            if name == "haproxy":
                tell_haproxy(directory, "set server pools/b state drain")
                load.until(lambda: sessions(directory, "b") == 0, "nothing is left in pool b")
            stack.close()
            load.more()
        assert load.failed == []
