"""The status document, from any pool, in four dresses."""

from __future__ import annotations

import json
import os
import pty
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from backchannel_tools import plain, prometheus, top
from backchannel_tools.status import Rates, Sample, StatusError, read
from prometheus_client.parser import text_string_to_metric_families

REQUIRED = {
    "spec": "1.0",
    "pid": 4700,
    "state": "running",
    "listeners": [{"address": "127.0.0.1:40001"}],
    "counters": {"orders": 12, "accepted": 10, "late": 1, "expired": 2, "wakeups": 30, "spawned": 4, "deaths": 1},
    "workers": [
        {"slot": 0, "pid": 4711, "state": "READY", "open": 2, "capacity": 2, "orders": 7, "accepted": 6},
        {"slot": 2, "pid": 4713, "state": "READY", "open": 0, "capacity": 2, "orders": 5, "accepted": 5},
        {"slot": 3, "pid": None, "state": "STARTING", "open": 0, "capacity": 0, "orders": 0, "accepted": 0},
    ],
}
"""What the contract asks of every pool, and no more."""


def fuller(**changes: Any) -> dict[str, Any]:
    workers = [
        {**worker, "expired": 0, "age": 3700.5 * at, "generation": 2}
        for at, worker in enumerate(REQUIRED["workers"], 1)
    ]
    more = {
        "generation": 2,
        "reloading": False,
        "board": "B.IS",
        "scaling": {"min": 1, "max": 8, "min_spare": 3, "max_spare": 4},
        "workers": workers,
    }
    return {**REQUIRED, **more, **changes}


def sample(document: dict[str, Any], when: float = 0.0) -> Sample:
    return Sample.of(document, when)


def test_a_pool_that_says_no_more_than_it_must() -> None:
    found = sample(REQUIRED)
    assert (found.open, found.capacity, found.spare, found.served) == (2, 4, 2, 11)
    assert found.board == "B.IS"
    assert found.bounds is None
    assert plain.text(found).splitlines() == [
        "pool 4700 running on 127.0.0.1:40001",
        "board B.IS",
        "open 2 of 4, spare 2",
        "accepted 11, expired 2, short -, spawned 4, died 1, killed -, wake-ups of the parent 30",
        "",
        "SLOT   PID     STATE  OPEN  CAP  ACCEPTED  PER S  EXPIRED  GEN  AGE",
        "   0  4711     READY     2    2         6      -        -    -    -",
        "   2  4713     READY     0    2         5      -        -    -    -",
        "   3     -  STARTING     0    0         0      -        -    -    -",
    ]


def test_rates_and_bounds() -> None:
    later = json.loads(json.dumps(fuller()))
    later["counters"]["accepted"] += 30
    later["workers"][0]["accepted"] += 20
    later["workers"][1].update(pid=5000, accepted=10)
    before, after = sample(fuller(), 100.0), sample(later, 102.0)
    rates = Rates.between(before, after)
    assert rates is not None
    assert (rates.served, rates.expired, rates.workers[4711], rates.workers[5000]) == (15.0, 0.0, 10.0, 5.0)
    shown = plain.text(after, rates)
    assert "pool 4700 running, generation 2 on" in shown
    assert "spare 2 between 3 and 4 (below)" in shown
    assert "accepted 41 (15.0/s)" in shown
    assert "10.0        0    2  1h01m" in shown


@pytest.mark.parametrize(
    ("newest", "reloading", "serving", "shown"),
    [
        (2, False, (2, 2), ", generation 2"),
        (3, True, (2, 2), ", generation 2, reloading"),
        (3, True, (2, 3), ", generation 2, reloading"),
        (3, False, (2, 2), ", generation 2 (the reload to generation 3 failed)"),
    ],
)
def test_the_generation_that_serves(newest: int, reloading: bool, serving: tuple[int, int], shown: str) -> None:
    document = fuller(generation=newest, reloading=reloading)
    for worker, one in zip(document["workers"], serving, strict=False):
        worker["generation"] = one
    assert plain.text(sample(document)).splitlines()[0] == f"pool 4700 running{shown} on 127.0.0.1:40001"


def test_a_counter_that_a_pool_does_not_have_is_no_0() -> None:
    """Of a pool of another age: ``expired`` had another name once."""
    document = fuller(counters={"accepted": 3, "voids": 2})
    text = plain.text(sample(document))
    assert "accepted 3, expired -, short -, spawned -, died -, killed -, wake-ups of the parent -" in text


def test_no_rates_across_a_new_start() -> None:
    assert Rates.between(sample(fuller(), 1.0), sample(fuller(pid=1), 2.0)) is None


def test_a_pool_of_fixed_size_has_no_bounds() -> None:
    assert sample(fuller(scaling={"min": 2, "max": 2, "min_spare": 0, "max_spare": 9})).bounds is None


@pytest.mark.parametrize(
    ("seconds", "shown"), [(None, "-"), (0.9, "0s"), (187, "3m07s"), (18720, "5h12m"), (792000, "9d04h")]
)
def test_ages(seconds: float | None, shown: str) -> None:
    assert plain.age(seconds) == shown


def test_prometheus_reads_its_text() -> None:
    families = {family.name: family for family in text_string_to_metric_families(prometheus.text(sample(fuller())))}
    values = {(s.name, tuple(s.labels.items())): s.value for family in families.values() for s in family.samples}
    assert values["backchannel_accepted_total", ()] == 10
    assert values["backchannel_spare", ()] == 2
    assert values["backchannel_spare_min", ()] == 3
    assert values["backchannel_workers", (("state", "READY"),)] == 2
    assert values["backchannel_worker_accepted_total", (("slot", "2"),)] == 5
    assert families["backchannel_expired"].type == "counter"
    assert families["backchannel_worker_open"].type == "gauge"


# --------------------------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("document", "named"),
    [
        ({}, "'pid' is missing"),
        ([], "list indices"),
        ({**REQUIRED, "workers": [{"slot": 0}]}, "'state' is missing"),
        ({**REQUIRED, "counters": []}, "items"),
    ],
)
def test_what_is_no_status_document_is_named(document: Any, named: str) -> None:
    with pytest.raises(StatusError, match="not a status document") as caught:
        Sample.of(document, 0.0)
    assert named in str(caught.value)


@contextmanager
def answering(path: Path, answer: Callable[[], bytes]) -> Iterator[None]:
    """A status socket of no pool."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()

        def serve() -> None:
            while True:
                try:
                    client, _ = listener.accept()
                except OSError:
                    return
                with client:
                    client.sendall(answer())

        thread = Thread(target=serve)
        thread.start()
        try:
            yield
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join(20)


def test_bad_sockets_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert top.main([str(tmp_path / "none"), "--once"]) == 1
    assert "start the pool with --status" in capsys.readouterr().err
    with socket.socket(socket.AF_UNIX) as left_behind:
        left_behind.bind(str(tmp_path / "dead"))
    assert top.main([str(tmp_path / "dead"), "--json"]) == 1
    assert "nothing answers" in capsys.readouterr().err
    (tmp_path / "plain").write_text("")
    assert top.main([str(tmp_path / "plain"), "--once"]) == 1
    assert "this is not a socket" in capsys.readouterr().err
    with answering(tmp_path / "nonsense", lambda: b"220 smtp"):
        assert top.main([str(tmp_path / "nonsense"), "--prometheus"]) == 1
    assert "it sent no JSON" in capsys.readouterr().err
    with pytest.raises(SystemExit) as caught:
        top.main([str(tmp_path / "none"), "--interval", "0"])
    assert caught.value.code == 2


# ----------------------------------------------------------------------------------- a real pool


@pytest.fixture
def pool(tmp_path: Path) -> Iterator[Path]:
    (tmp_path / "hello.py").write_text("def handle(connection):\n    connection.sendall(b'hello')\n")
    reader, writer = os.pipe()
    command = [sys.executable, "-m", "backchannel_sync", "--listen", "127.0.0.1:0", "--status", "status"]
    process = subprocess.Popen(
        [*command, "--ready-fd", str(writer), "hello:handle"],
        cwd=tmp_path,
        pass_fds=[writer],
        stderr=subprocess.DEVNULL,
    )
    os.close(writer)
    with open(reader) as ready, process:
        assert ready.readline().startswith("READY")
        yield tmp_path / "status"
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0


def test_every_dress_of_a_real_pool(pool: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = read(pool)
    assert (found.board, found.bounds) == ("II", (1, 4))
    assert top.main([str(pool)]) == 0
    assert "board II" in capsys.readouterr().out
    assert top.main([str(pool), "--rates", "--interval", "0.05"]) == 0
    assert "accepted 0 (0.0/s)" in capsys.readouterr().out
    assert top.main([str(pool), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["derived"] == {"open": 0, "capacity": 2, "spare": 2, "served": 0}
    assert top.main([str(pool), "--pid"]) == 0
    assert int(capsys.readouterr().out) == found.pid
    assert top.main([str(pool), "--prometheus"]) == 0
    assert "backchannel_worker_open" in capsys.readouterr().out


def heed_ctrl_c() -> None:
    """What runs in the background has been told to ignore Ctrl-C, and so have its children."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def test_live_in_a_terminal_until_ctrl_c(pool: Path) -> None:
    terminal, inside = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "100", "LINES": "30"}
    arguments = [sys.executable, "-m", "backchannel_tools.top", str(pool), "--interval", "0.05"]
    process = subprocess.Popen(
        arguments, stdin=inside, stdout=inside, stderr=inside, env=environment, preexec_fn=heed_ctrl_c
    )
    os.close(inside)
    with process:
        shown, deadline = b"", time.monotonic() + 20
        # the rate of a worker is there from the second look on
        while b"(0.0/s)" not in shown and time.monotonic() < deadline:
            if select.select([terminal], [], [], 1)[0]:
                shown += os.read(terminal, 65536)
        process.send_signal(signal.SIGINT)
        status = process.wait(20)
        os.close(terminal)
    assert b"spare 2 between 1 and 4" in shown
    assert b"(0.0/s)" in shown
    assert status == 0
