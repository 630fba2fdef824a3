"""Fork-and-exec against a spawner, for workers of the trio reference: time until ready, and memory.

    python docs/figures/spawning.py [WORKERS]

*exec* starts each worker as the trio parent does. *spawner* is the alternative: a small process without a loop, forked
before ``trio.run``, that has imported everything a worker needs and forks when it is told to. Its channels were made
before it was forked, one pair for each worker to come. A worker is ready when its hello has been read. Memory is read
from ``/proc`` (Linux) when all workers are ready: *own* is what only that process holds, *share* (PSS) divides what
several hold among them.
"""

from __future__ import annotations

import os
import re
import signal
import socket
import statistics
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import trio
from backchannel import FRAME_SIZE, ExecStart
from backchannel_server.exec_binding import Launcher
from backchannel_trio import worker

HANDLER = "backchannel_trio.worker:find"  # never called: nothing is ordered
COUNT = int(sys.argv[1]) if len(sys.argv) > 1 else 16


def ready(channel: socket.socket) -> None:
    """Wait for the hello."""
    assert len(channel.recv(FRAME_SIZE, socket.MSG_WAITALL)) == FRAME_SIZE


@contextmanager
def by_exec(listener: socket.socket) -> Iterator[tuple[list[float], list[int], float]]:
    code = "import backchannel_trio.worker as w; w.find = lambda name: None; raise SystemExit(w.main(['x:y']))"
    launcher = Launcher([sys.executable, "-c", code])
    times, pids, channels = [], [], []
    began = time.perf_counter()
    for slot in range(COUNT):
        started = time.perf_counter()
        ours, theirs = socket.socketpair()
        pids.append(launcher.start(ExecStart(slot, 1, 1, 30.0), theirs, [listener]))
        theirs.close()
        ready(ours)
        times.append(time.perf_counter() - started)
        channels.append(ours)
    yield times, pids, time.perf_counter() - began
    for channel in channels:
        channel.close()
    for pid in pids:
        os.waitpid(pid, 0)


@contextmanager
def by_spawner(listener: socket.socket) -> Iterator[tuple[list[float], list[int], float]]:
    pairs = [socket.socketpair() for _ in range(COUNT)]
    orders, told = socket.socketpair()
    spawner = os.fork()
    if not spawner:
        orders.close()
        for ours, _ in pairs:
            ours.close()
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        while told.recv(1):
            theirs = pairs.pop(0)[1]
            pid = os.fork()
            if not pid:
                told.close()
                for _, others in pairs:
                    others.close()
                status = trio.run(partial(worker.run, theirs, [listener], None, capacity=1, drain_deadline=30.0))
                os._exit(status)
            theirs.close()
            told.send(pid.to_bytes(4))
        while True:
            try:
                os.wait()
            except ChildProcessError:
                os._exit(0)
    told.close()
    for _, theirs in pairs:
        theirs.close()
    times, pids = [], []
    began = time.perf_counter()
    for ours, _ in pairs:
        started = time.perf_counter()
        orders.send(b"f")
        pids.append(int.from_bytes(orders.recv(4)))
        ready(ours)
        times.append(time.perf_counter() - started)
    yield times, pids, time.perf_counter() - began
    orders.close()
    for ours, _ in pairs:
        ours.close()
    os.waitpid(spawner, 0)


def memory(pids: list[int]) -> tuple[float, float]:
    """Megabytes of a worker, on average: its own, and its share."""
    own = share = 0
    for pid in pids:
        fields = dict(re.findall(r"^(\w+): +(\d+) kB", Path(f"/proc/{pid}/smaps_rollup").read_text(), re.MULTILINE))
        own += int(fields["Private_Clean"]) + int(fields["Private_Dirty"])
        share += int(fields["Pss"])
    return own / 1000 / len(pids), share / 1000 / len(pids)


def main() -> None:
    print(f"{COUNT} workers, one after another; Python {sys.version.split()[0]}, trio {trio.__version__}")
    print(f"{'':<8} {'ms, median':>10} {'ms, best':>9} {'own MB':>7} {'share MB':>9}")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        for name, way in (("exec", by_exec), ("spawner", by_spawner)):
            with way(listener) as (times, pids, _):
                own, share = memory(pids)
            middle, best = statistics.median(times) * 1000, min(times) * 1000
            print(f"{name:<8} {middle:>10.1f} {best:>9.1f} {own:>7.1f} {share:>9.1f}")


if __name__ == "__main__":
    main()
