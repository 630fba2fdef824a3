"""Workers with a quota do not all retire at the same moment."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
from backchannel_server.context import retires_after
from programs import Program

Start = Callable[..., Program]

FORKED = """
import os
from {package} import current_worker
SAYS = b"%d %d" % (current_worker().slot, os.getpid())
"""
HANDLERS = {
    "blocking": "def handle(connection):\n    connection.recv(100)\n    connection.sendall(SAYS)\n",
    "event": "def handle(connection):\n    yield from connection.recv(100)\n    yield from connection.sendall(SAYS)\n",
    "trio": "async def handle(stream):\n    await stream.receive_some(100)\n    await stream.send_all(SAYS)\n",
}
WORKERS = {
    "blocking": ("blocking", ()),
    "traditional": ("blocking", ("--traditional",)),
    "event": ("event", ()),
    "trio": ("trio", ()),
}


@pytest.mark.parametrize("kind", WORKERS)
def test_each_slot_has_a_number_of_its_own(tmp_path: Path, start: Start, kind: str) -> None:
    """One worker is kept busy, so the other one serves: as often as its slot says, and then another process does."""
    code, more = WORKERS[kind]
    package = "backchannel_trio" if kind == "trio" else "backchannel_sync"
    (tmp_path / "service.py").write_text(FORKED.format(package=package) + HANDLERS[code])
    fixed = ("--workers", "2", "--quota", "10")
    program = start(tmp_path, *fixed, *more, "service:handle", module=package).ready()
    with program.connect():
        served = [tuple(map(int, program.ask().split())) for _ in range(25)]
    slot, pid = served[0]
    times = [process for _, process in served].index(next(process for _, process in served if process != pid))
    assert times == retires_after(10, slot)


@pytest.mark.parametrize("quota", [1, 7, 300, 100_000])
def test_numbers(quota: int) -> None:
    numbers = [retires_after(quota, slot) for slot in range(64)]
    assert numbers[0] == quota, "a pool of one keeps to it"
    assert all(quota <= number < 2 * quota for number in numbers)
    assert numbers == [retires_after(quota, slot) for slot in range(64)]


@pytest.mark.parametrize("workers", [2, 3, 4, 8, 16, 32, 64])
def test_numbers_lie_apart(workers: int) -> None:
    """However many there are, any two of them differ by a good part of what they would if they were evenly spread."""
    numbers = sorted(retires_after(100_000, slot) for slot in range(workers))
    nearest = min(after - before for before, after in pairwise(numbers))
    assert nearest >= 100_000 / workers / 3


def test_no_quota() -> None:
    assert retires_after(0, 5) == 0
