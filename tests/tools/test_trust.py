"""Documents and captures of somebody who means harm: nobody is signalled, and nothing of them reaches a terminal."""

from __future__ import annotations

import io
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from backchannel.printing import printable
from backchannel_tools import plain, prometheus, reload, status, top, trace
from backchannel_tools.capture import CaptureError, read
from backchannel_tools.chart import draw
from backchannel_tools.live import view
from backchannel_tools.peer import pid_of
from backchannel_tools.status import Sample, StatusError
from prometheus_client.parser import text_string_to_metric_families
from rich.console import Console
from test_server import Server

EVIL = "\x1b]0;owned\x07\x1b[2J\u202e\x9b31m\r\nforged 1\n"
WORKER = {"slot": 0, "pid": 2, "state": "READY", "open": 0, "capacity": 1, "orders": 0, "accepted": 0}
DOCUMENT = {
    "spec": "1.0",
    "pid": 4700,
    "state": "running",
    "generation": 1,
    "reloading": False,
    "board": "I",
    "listeners": [{"address": "127.0.0.1:40001"}],
    "counters": {"orders": 1},
    "workers": [WORKER],
}


@contextmanager
def answering(path: Path, answer: Callable[[socket.socket], object]) -> Iterator[None]:
    """A status socket of no pool."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()

        def serve() -> None:
            with suppress(OSError):
                while True:
                    client, _ = listener.accept()
                    with client, suppress(OSError):
                        answer(client)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join(20)


# ------------------------------------------------------------------------------ who is signalled


@pytest.mark.parametrize("pid", [-1, 0, 1, "-victim", "victim", 2**31, 1.5, True, "4700"])
def test_no_process_is_signalled_that_a_document_names(
    pid: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    signalled: list[tuple[int, int]] = []
    pid = {"victim": os.getppid(), "-victim": -os.getppid()}.get(pid, pid)
    octets = json.dumps({**DOCUMENT, "pid": pid}).encode()
    with monkeypatch.context() as patch, answering(tmp_path / "status", lambda client: client.sendall(octets)):
        patch.setattr(reload.os, "kill", lambda *arguments: signalled.append(arguments))
        assert reload.main([str(tmp_path / "status")]) == 1
        assert top.main([str(tmp_path / "status"), "--pid"]) == 1
    captured = capsys.readouterr()
    assert (signalled, captured.out) == ([], "")
    assert len(captured.err.splitlines()) == 2


def test_the_system_names_who_listens(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as client:
        listener.bind(str(tmp_path / "status"))
        listener.listen()
        client.connect(str(tmp_path / "status"))
        assert pid_of(client) == os.getpid()


def test_where_the_system_cannot_tell_only_an_ordinary_user_believes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(status.os, "geteuid", lambda: 1000)
    assert Sample.of(DOCUMENT, 0.0).parent == 4700
    with pytest.raises(StatusError, match="does not tell"):
        _ = Sample.of({**DOCUMENT, "pid": 1}, 0.0).parent
    monkeypatch.setattr(status.os, "geteuid", lambda: 0)
    with pytest.raises(StatusError, match="does not tell"):
        _ = Sample.of(DOCUMENT, 0.0).parent


@pytest.mark.parametrize("module", ["backchannel_sync", "backchannel_trio"])
def test_a_successor_is_known_by_its_socket(module: str, tmp_path: Path) -> None:
    """The system remembers who called listen: after a replacement that must not be the old parent."""

    class Replaced(Server):
        handlers = (
            "async def handle(stream):\n    await stream.send_all(b'x')\n"
            if module.endswith("trio")
            else "def handle(connection):\n    connection.sendall(b'x')\n"
        )

    Replaced.module = module
    path = tmp_path / "status"
    options = ["--listen", "127.0.0.1:0", "--status", str(path), "--workers", "1"]
    server = Replaced(tmp_path, *options, "handlers_for_tests:handle")
    try:
        assert server.process.stdout
        assert status.read(path).parent == server.process.pid
        server.process.send_signal(signal.SIGUSR2)
        assert server.process.stdout.readline().startswith(b"READY")  # the successor's
        assert server.process.wait(60) == 0
        successor = status.read(path).parent
        assert successor != server.process.pid
        done = subprocess.run(
            [sys.executable, "-m", "backchannel_tools.reload", str(path)], capture_output=True, timeout=60, check=False
        )
        assert (done.returncode, done.stderr) == (0, b"")
        os.kill(successor, signal.SIGTERM)
        assert server.process.stdout.read() == b""  # it has gone
    finally:
        server.process.kill()
        server.process.wait()
        server.process.stdout.close()


# -------------------------------------------------------------------------------- what is shown


def fits(text: str) -> bool:
    return all(char.isprintable() or char == "\n" for char in text) and "\nforged" not in text


def evil_document() -> dict[str, Any]:
    return {
        **DOCUMENT,
        "state": "running" + EVIL,
        "board": "I" + EVIL,
        "listeners": [{"address": "unix:/x" + EVIL}],
        "counters": {"orders": 1, EVIL: 1},
        "workers": [{**WORKER, "state": 'READY"} 1\nforged_metric{x="y\\'}, {**WORKER, "slot": 1, "state": EVIL}],
        "extra": EVIL,
    }


def test_texts_of_a_document_are_escaped() -> None:
    sample = Sample.of(evil_document(), 0.0)
    assert fits(plain.text(sample))
    console = Console(file=io.StringIO(), force_terminal=False, width=200)
    console.print(view(sample, None))
    assert fits(console.file.getvalue())  # type: ignore[attr-defined]
    assert json.dumps(top.as_json(sample)).isascii()
    metrics = prometheus.text(sample)
    assert fits(metrics)
    families = list(text_string_to_metric_families(metrics))
    assert "forged_metric" not in {family.name for family in families}
    states = {s.labels["state"] for family in families for s in family.samples if "state" in s.labels}
    assert states == {printable(worker["state"], status.WORD) for worker in evil_document()["workers"]}


@pytest.mark.parametrize(
    "changes",
    [
        {"pid": 10**400},
        {"state": 7},
        {"listeners": [{"address": None}]},
        {"counters": {"orders": -1}},
        {"counters": {"orders": True}},
        {"workers": [{**WORKER, "slot": 30_000_000}]},
        {"workers": [{**WORKER, "open": 1e300}]},
        {"workers": [{**WORKER, "age": -1}]},
        {"workers": [{**WORKER, "age": 10**400}]},
    ],
)
def test_figures_out_of_range_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(StatusError, match="not a status document"):
        Sample.of({**DOCUMENT, **changes}, 0.0)


def test_long_texts_are_cut() -> None:
    long = {**DOCUMENT, "state": "x" * 10**6, "board": "I" * 10**6, "listeners": [{"address": "y" * 999}] * 1000}
    assert len(plain.text(Sample.of(long, 0.0))) < 100_000


@pytest.mark.parametrize(
    ("octets", "named"),
    [
        (b"[" * 200_000, "nested too deeply"),
        (b'{"pid": Infinity}', "it sent no JSON"),
        (b'{"pid": NaN}', "it sent no JSON"),
        (b'{"pid": ' + b"9" * 5000 + b"}", "it sent no JSON"),
        (b"\xff\xfe\x00", "it sent no JSON"),
        (b" " * (status.LARGEST + 1), "larger than"),
        (b"{}", "'pid' is missing"),
        (json.dumps({**DOCUMENT, "pid": EVIL}).encode(), "is not a number"),
    ],
)
def test_what_is_no_document_is_said_in_a_line(
    octets: bytes, named: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with answering(tmp_path / "status", lambda client: client.sendall(octets)):
        for option in ("--once", "--prometheus", "--json", "--pid"):
            assert top.main([str(tmp_path / "status"), option]) == 1
            captured = capsys.readouterr()
            assert (captured.out, len(captured.err.splitlines())) == ("", 1)
            assert named in captured.err
            assert fits(captured.err)


def test_who_never_ends_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An octet now and then, for ever: each comes in time, and the whole does not."""
    monkeypatch.setattr(status, "TIMEOUT", 0.3)
    stop = threading.Event()

    def drip(client: socket.socket) -> None:
        while not stop.wait(0.001):
            client.sendall(b" ")

    with answering(tmp_path / "status", drip):
        try:
            with pytest.raises(StatusError, match="no answer within"):
                status.read(tmp_path / "status")
        finally:
            stop.set()


# ------------------------------------------------------------------------------------- captures


@pytest.mark.parametrize(
    "lines",
    [
        [{"out": "Note", "slot": 0, "text": EVIL, "requirement": EVIL}],
        [{"in": EVIL, "slot": 0}],
        [{"in": "exited", "slot": 0, "status": EVIL}],
        [{"in": "readable", "listener": EVIL}],
        [{"in": "dispatch", "counts": {EVIL: EVIL}}],
        [{"out": "Note", "slot": None, "text": "is spawned"}],
    ],
)
def test_texts_of_a_trace_are_escaped(lines: list[dict[str, Any]]) -> None:
    events = read("".join(json.dumps(line) + "\n" for line in lines).encode())
    for shown in ("\n".join(trace.lines(events)), "\n".join(draw(events))):
        assert shown
        assert fits(shown)


@pytest.mark.parametrize(
    "content",
    [
        b'{"out": "Send", "slot": 0, "data": ""}',
        b'{"out": "Send", "slot": "\\u001b[2J", "data": ""}',
        b'{"in": "exited", "slot": 99999999999, "status": 0}',
        b'{"in": "start", "now": Infinity}',
        b'{"in": "start", "now": 1e400}',
        b'{"in": "start", "now": "\\u001b"}',
        b'{"in":' * 100_000,
        b"".join(b'{"in": "eof", "slot": %d}\n' % slot for slot in range(2000)),
        b"P" + b"x" * 100_000 + b" 00",
        b"\x1b[2J",
    ],
)
def test_a_capture_that_is_none_is_named_in_a_line(
    content: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "capture").write_bytes(content)
    status = trace.main([str(tmp_path / "capture"), "--chart"])
    captured = capsys.readouterr()
    assert fits(captured.out + captured.err)
    if status == 0:
        assert "ends within a frame" in captured.out
    else:
        assert len(captured.err.splitlines()) == 1


def test_a_capture_that_is_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trace, "LARGEST", 10)
    (tmp_path / "capture").write_bytes(b"- a line\n- another one\n")
    with pytest.raises(CaptureError, match="larger than 10 octets"):
        trace._all_of(tmp_path / "capture")
