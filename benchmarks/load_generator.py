"""The load generator, a process of its own: it reads one JSON line for each task and answers with one.

*Closed loop*: each client asks, waits for the answer, and asks again. This measures what a server can carry. *Open
loop*: requests leave by a schedule fixed beforehand (exponential gaps, from a seed), whatever the server does, and
latency counts from the time in the schedule. So a server that stalls cannot hold the load back and thereby hide its
stall (coordinated omission). *Burst*: many connections at once, after silence. *Hold*: connections that stay.

Every answer says how busy this process was. Near 1, the load was the limit, and two servers look more alike than they
are. Each connection costs it seven system calls, which a generator in C would need as well; the interpreter is the
smaller part of its time. Connections are reset at the end, so that no port waits out its TIME_WAIT.
"""

from __future__ import annotations

import heapq
import json
import random
import select
import socket
import struct
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

__all__ = ["LoadGenerator", "burst", "closed", "hold", "open_loop"]

Task = dict[str, Any]
Mix = list[tuple[float, str, str]]
"""(share, kind, line): requests drawn by share, told apart by kind."""

NULL: Mix = [(1.0, "all", "n")]
OKAY = b"HTTP/1.1 200 "
RESET = struct.pack("ii", 1, 0)


def closed(clients: int, seconds: float = 1.0, mix: Mix = NULL, *, http: bool = False) -> Task:
    """So many clients, one after another each. ``http``: the lines of ``mix`` are paths."""
    return {"mode": "closed", "clients": clients, "seconds": seconds, "mix": mix, "http": http}


def open_loop(
    rate: float, seconds: float, mix: Mix = NULL, every: tuple[float, str] | None = None, *, http: bool = False
) -> Task:
    """``rate`` requests a second; and besides, the line ``every[1]`` every ``every[0]`` seconds."""
    return {"mode": "open", "rate": rate, "seconds": seconds, "mix": mix, "every": every, "http": http}


def burst(count: int, times: int, silence: float = 0.2) -> Task:
    """``count`` connections at once, ``times`` times."""
    return {"mode": "burst", "count": count, "times": times, "silence": silence}


def hold(count: int, churn: int, at_once: int = 128) -> Task:
    """``count`` connections that stay, ``at_once`` of them on their way; then ``churn`` of them end and as many come
    anew.
    """
    return {"mode": "hold", "count": count, "churn": churn, "at_once": at_once}


class LoadGenerator:
    """The other process, seen from here."""

    def __init__(self) -> None:
        program = [sys.executable, str(Path(__file__))]
        self._process = subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def begin(self, address: tuple[str, int], task: Task) -> None:
        """Let it start with ``task``."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({**task, "address": address}) + "\n")
        self._process.stdin.flush()

    def result(self) -> dict[str, float]:
        """Wait for the end of the task."""
        assert self._process.stdout is not None
        found: dict[str, float] = json.loads(self._process.stdout.readline())
        return found

    def run(self, address: tuple[str, int], task: Task) -> dict[str, float]:
        """Both."""
        self.begin(address, task)
        return self.result()

    def close(self) -> None:
        """End it."""
        self._process.kill()
        self._process.communicate()


# --------------------------------------------------------------------------------- inside the process


class Requests:
    """Connections under way, each with its line; ``done`` hears of each answer."""

    def __init__(
        self,
        address: tuple[str, int],
        done: Callable[[str, float, bytes, socket.socket], None],
        *,
        http: bool = False,
    ) -> None:
        self.address = address
        self.done = done
        self.http = http
        """An answer is a response, and ends where the server closes; otherwise it is what comes first."""
        self.parts: dict[int, bytes] = {}
        self.epoll = select.epoll()
        self.open: dict[int, tuple[socket.socket, str, bytes, float]] = {}
        self.errors = 0

    def ask(self, kind: str, line: bytes, began: float) -> None:
        """Connect and send ``line``."""
        sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK, 0)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        sock.connect_ex(self.address)  # over loopback it is through when this returns, unless the backlog is full
        fd = sock.fileno()
        try:
            sock.send(line)
            self.epoll.register(fd, select.EPOLLIN)
        except BlockingIOError:
            self.epoll.register(fd, select.EPOLLOUT)
        self.open[fd] = sock, kind, line, began

    def turn(self, timeout: float) -> None:
        """Wait once, and take the answers that have come."""
        for fd, events in self.epoll.poll(timeout):
            sock, kind, line, began = self.open[fd]
            try:
                if events & select.EPOLLOUT:
                    sock.send(line)
                    self.epoll.modify(fd, select.EPOLLIN)
                    continue
                data = sock.recv(256 if not self.http else 65536)
            except OSError:
                data = b""
            if self.http:
                if data:
                    self.parts[fd] = self.parts.get(fd, b"") + data
                    continue
                data = self.parts.pop(fd, b"")
                data = data if data.startswith(OKAY) else b""
            del self.open[fd]
            if data:
                self.done(kind, began, data, sock)
            else:
                self.errors += 1
                sock.close()

    def forget(self) -> None:
        """Drop what is under way."""
        for sock, *_ in self.open.values():
            sock.close()
        self.epoll.close()


class Samples:
    """Latencies by kind, and how long and how busy the measurement was."""

    def __init__(self) -> None:
        self.latencies: dict[str, list[float]] = {}
        self.count = 0
        self.began, self.busy = time.monotonic(), time.process_time()

    def add(self, kind: str, seconds: float) -> None:
        self.count += 1
        self.latencies.setdefault(kind, []).append(seconds)

    def summary(self, errors: int) -> dict[str, float]:
        elapsed = time.monotonic() - self.began
        found: dict[str, float] = {
            "connections": self.count,
            "seconds": elapsed,
            "throughput": self.count / elapsed,
            "errors": errors,
            "load_busy": (time.process_time() - self.busy) / elapsed,
        }
        for kind, latencies in self.latencies.items():
            latencies.sort()
            for name, share in (("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("max", 1.0)):
                found[f"{kind}.{name}"] = latencies[min(len(latencies) - 1, int(share * len(latencies)))]
        return found


def drawer(mix: Mix, seed: int, *, http: bool = False) -> Callable[[], tuple[str, bytes]]:
    """Draws requests by their shares, the same ones for the same seed."""
    choose = random.Random(seed).choices
    form = "GET {} HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n" if http else "{}\n"
    entries = [(kind, form.format(line).encode()) for _, kind, line in mix]
    if len(entries) == 1:
        return lambda: entries[0]
    shares = [share for share, _, _ in mix]
    return lambda: choose(entries, shares)[0]


def run_closed(task: Task) -> dict[str, float]:
    samples, draw = Samples(), drawer(task["mix"], task["clients"], http=task["http"])
    clock = time.monotonic
    until = clock() + task["seconds"]

    def done(kind: str, began: float, _data: bytes, sock: socket.socket) -> None:
        now = clock()
        sock.close()
        samples.add(kind, now - began)
        if now < until:
            kind, line = draw()
            requests.ask(kind, line, clock())

    requests = Requests(tuple(task["address"]), done, http=task["http"])
    for _ in range(task["clients"]):
        requests.ask(*draw(), clock())
    limit = until + 30
    while requests.open and clock() < limit:
        requests.turn(1.0)
    found = samples.summary(requests.errors + len(requests.open))
    requests.forget()
    return found


def run_open(task: Task) -> dict[str, float]:
    samples, gaps = Samples(), random.Random(2)
    draw = drawer(task["mix"], 1, http=task["http"])
    clock = time.monotonic
    plan: list[tuple[float, str, bytes]] = []
    at = 0.0
    while at < task["seconds"]:
        at += gaps.expovariate(task["rate"])
        plan.append((at, *draw()))
    if task["every"]:
        period, line = task["every"]
        count = max(1, round(task["seconds"] / period))
        plan += [((index + 0.5) * period, "every", line.encode() + b"\n") for index in range(count)]
    heapq.heapify(plan)

    def done(kind: str, began: float, _data: bytes, sock: socket.socket) -> None:
        samples.add(kind, clock() - began)
        sock.close()

    requests = Requests(tuple(task["address"]), done, http=task["http"])
    start = clock() + 0.01
    limit = start + task["seconds"] + 30
    while (plan or requests.open) and clock() < limit:
        while plan and plan[0][0] + start <= clock():
            at, kind, line = heapq.heappop(plan)
            requests.ask(kind, line, at + start)
        requests.turn(max(0.0, plan[0][0] + start - clock()) if plan else 1.0)
    found = samples.summary(requests.errors + len(requests.open) + len(plan))
    requests.forget()
    return found


def run_burst(task: Task) -> dict[str, float]:
    samples, clock = Samples(), time.monotonic
    last: list[float] = []

    def done(kind: str, began: float, _data: bytes, sock: socket.socket) -> None:
        samples.add(kind, clock() - began)
        sock.close()

    errors = 0
    for _ in range(task["times"]):
        requests = Requests(tuple(task["address"]), done)
        time.sleep(task["silence"])
        began = clock()
        for _ in range(task["count"]):
            requests.ask("all", b"n\n", began)
        while requests.open and clock() < began + 30:
            requests.turn(1.0)
        last.append(clock() - began)
        errors += requests.errors + len(requests.open)
        requests.forget()
    found = samples.summary(errors)
    found["last"] = sorted(last)[len(last) // 2]
    return found


def run_hold(task: Task) -> dict[str, float]:
    samples, clock = Samples(), time.monotonic
    held: list[tuple[socket.socket, bytes]] = []

    def done(kind: str, began: float, data: bytes, sock: socket.socket) -> None:
        samples.add(kind, clock() - began)
        requests.epoll.unregister(sock)
        held.append((sock, data))

    def fill() -> None:
        limit = clock() + 60
        while len(held) + requests.errors < task["count"] and clock() < limit:
            while len(requests.open) < task["at_once"] and len(held) + len(requests.open) < task["count"]:
                requests.ask("all", b"h\n", clock())
            requests.turn(1.0)

    def spread() -> int:
        counts = Counter(pid for _, pid in held)
        return max(counts.values()) - min(counts.values())

    requests = Requests(tuple(task["address"]), done)
    fill()
    found: dict[str, float] = {"spread": spread(), "workers": len({pid for _, pid in held})}
    leaving = random.Random(3)
    for _ in range(task["churn"]):
        at = leaving.randrange(len(held))
        held[at], held[-1] = held[-1], held[at]
        held.pop()[0].close()
    time.sleep(0.3)  # what has ended is reported within the coalescing time; nothing here is judged by this pause
    fill()
    found["spread_after_churn"] = spread()
    found |= samples.summary(requests.errors + task["count"] - len(held))
    for sock, _ in held:
        sock.close()
    requests.forget()
    return found


MODES = {"closed": run_closed, "open": run_open, "burst": run_burst, "hold": run_hold}


def main() -> None:
    """Do each task that comes on standard input."""
    for line in sys.stdin:
        task = json.loads(line)
        print(json.dumps(MODES[task["mode"]](task)), flush=True)


if __name__ == "__main__":
    main()
