"""Whose processes the suite touches: its own, whatever a port says."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from backchannel_conformance import kernel, manifest, processes, status_document
from backchannel_conformance.client import Who
from backchannel_conformance.errors import ContractError
from backchannel_conformance.load_clients import TrackedClients, kill_one
from backchannel_conformance.parent_under_test import ParentUnderTest
from backchannel_conformance.pool_under_test import PoolUnderTest

SLEEP = [sys.executable, "-c", "print('ready', flush=True); import time; time.sleep(60)"]
TREE = """
import os, sys, threading, time
ours, theirs = os.pipe()
if not os.fork():
    os.setsid()
    os.write(theirs, b"%d " % os.getpid())
    if not os.fork():
        os.setsid()
        os.write(theirs, b"%d " % os.getpid())
    time.sleep(60)
words = b""
while words.count(b" ") < 2:
    words += os.read(ours, 100)
made = threading.Thread(target=time.sleep, args=(60,), daemon=True)
made.start()
print(words.decode(), made.native_id, flush=True)
time.sleep(60)
"""


@contextlib.contextmanager
def started(command: list[str], *, noted: bool) -> Iterator[tuple[subprocess.Popen[bytes], list[int]]]:
    """A process that leads a session, and the numbers that it has said."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE, start_new_session=True)
    assert process.stdout
    try:
        said = process.stdout.readline()
        if noted:
            processes.note(process.pid)
        yield process, [int(word) for word in said.split() if word.isdigit()]
    finally:
        process.kill()
        process.stdout.close()
        process.wait()
        processes.forget(process.pid)


@pytest.fixture
def stranger() -> Iterator[subprocess.Popen[bytes]]:
    """A process that the suite has not started."""
    with started(SLEEP, noted=False) as (process, _):
        yield process


NONE = [-1, 0, 1, -4711, 2**31, 2**64, 10**400, True, 12.0, "12", "", None, [12], {"pid": 12}]


@pytest.mark.parametrize("value", NONE, ids=lambda value: repr(value)[:20])
def test_what_is_no_process_id(value: object) -> None:
    with pytest.raises(
        ContractError, match=r"^it is process .{1,120}, which is not a process id: name the process itself"
    ):
        processes.claimed(value, "it")


def test_whose_process_it_is_is_said(stranger: subprocess.Popen[bytes]) -> None:
    said = {os.getpid(): "is the suite itself", os.getppid(): "has started the suite"}
    said[stranger.pid] = "the port has not started"
    for pid, who in said.items():
        with pytest.raises(ContractError, match=f"it is process {pid}, which {who}: name the process itself"):
            processes.claimed(pid, "it")
        with pytest.raises(ContractError, match=who):
            processes.send(pid, signal.SIGKILL)
    assert stranger.poll() is None


def test_descendants_are_the_suites_too() -> None:
    """One that has left the session, and one that has left it twice."""
    with started([sys.executable, "-c", TREE], noted=True) as (process, (child, grandchild, thread)):
        try:
            for pid in (process.pid, child, grandchild):
                assert processes.claimed(pid, "it") == pid
            if kernel.can("is_process") and sys.platform == "linux":
                with pytest.raises(ContractError, match="which is a thread"):
                    processes.claimed(thread, "it")
                with pytest.raises(ContractError, match="which is a thread"):
                    processes.send(thread, signal.SIGKILL)
            processes.forget(process.pid)
            for pid in (process.pid, child, grandchild):
                with pytest.raises(ContractError, match="the port has not started"):
                    processes.send(pid, signal.SIGKILL)
            processes.note(process.pid)
        finally:
            for pid in (grandchild, child):  # an orphan that has left the session is nobody's any more
                processes.send(pid, signal.SIGKILL)
        assert process.poll() is None


def test_a_process_that_has_ended() -> None:
    with started(SLEEP, noted=True) as (process, _):
        processes.send(process.pid, signal.SIGKILL)
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        processes.send(process.pid, 0)  # dead, and there until somebody waits for it
        process.wait()
        assert processes.claimed(process.pid, "it") == process.pid
        with pytest.raises(processes.Ended, match=f"process {process.pid}, which the port has named, has ended"):
            processes.send(process.pid, signal.SIGKILL)


@pytest.mark.skipif(not kernel.can("no_descriptors"), reason="nobody limits a process's descriptors here")
def test_no_stranger_is_changed_or_traced(stranger: subprocess.Popen[bytes]) -> None:
    import resource

    before = resource.prlimit(stranger.pid, resource.RLIMIT_NOFILE)
    with pytest.raises(ContractError, match="the port has not started"), kernel.no_descriptors(stranger.pid):
        pass
    assert resource.prlimit(stranger.pid, resource.RLIMIT_NOFILE) == before
    if kernel.can("faulty"):
        with (
            pytest.raises(ContractError, match="not started"),
            kernel.faulty(stranger.pid, "accept", "error=EPERM", "1"),
        ):
            pass


# ------------------------------------------------------------------------------------ what ports say

POOL = """
import json, os, socket, sys, threading
worker, parent = json.loads(sys.argv[1])
listener = socket.create_server(("127.0.0.1", 0))
status = socket.socket(socket.AF_UNIX)
status.bind(sys.argv[2]); status.listen()
port = listener.getsockname()[1]
slot = {"slot": 3, "pid": worker, "state": "READY", "open": 0, "capacity": 1, "orders": 0, "accepted": 1}
document = {"pid": parent, "state": "running", "counters": {"probes": 1}, "workers": [slot]}
def tell():
    while True:
        reader, _ = status.accept()
        reader.sendall(json.dumps({k: v for k, v in document.items() if v != "own"}).encode()); reader.close()
threading.Thread(target=tell, daemon=True).start()
print(f"READY 127.0.0.1:{port}", flush=True)
while True:
    client, _ = listener.accept()
    client.recv(100); client.sendall(f"{worker} 3\\n".encode()); client.close()
"""
MANIFEST = """
contract = "1.0"
spec = "1.0"

[implementation]
name = "odd"
language = "Python"

[pool]
command = ["{python}", "{here}/pool.py", '''CLAIMS''', "{status}", "{max}"]
"""


def load(folder: Path, text: str) -> manifest.Manifest:
    (folder / "odd.toml").write_text(text)
    return manifest.load(folder / "odd.toml")


@contextlib.contextmanager
def pool(folder: Path, worker: object, parent: object = "own") -> Iterator[PoolUnderTest]:
    """A pool that says that its processes are these."""
    (folder / "pool.py").write_text(POOL)
    made = PoolUnderTest(load(folder, MANIFEST.replace("CLAIMS", json.dumps([worker, parent]))), {}, folder / "log")
    try:
        yield made
    finally:
        made.close()


@pytest.mark.parametrize("claim", [-1, 0, 1, 10**300, "4711", None])
def test_status_document_that_names_no_process(tmp_path: Path, claim: object) -> None:
    with pool(tmp_path, claim) as odd:
        with pytest.raises(
            ContractError, match=r"the status document says that the worker in slot 3 is process .* not a process id"
        ):
            odd.workers()
    with pool(tmp_path, 0, claim) as odd, pytest.raises(ContractError, match="the worker in slot 3"):
        odd.status()


def test_status_document_and_service_that_name_a_stranger(tmp_path: Path, stranger: subprocess.Popen[bytes]) -> None:
    with pool(tmp_path, stranger.pid, stranger.pid) as odd:
        for ask in (odd.status, odd.workers, odd.settle, odd.client.ask, lambda: odd.client.serve(1)):
            with pytest.raises(ContractError, match=f"is process {stranger.pid}, which the port has not started"):
                ask()
        with TrackedClients(odd.addresses[0], 1) as clients, pytest.raises(ContractError, match="has not started"):
            kill_one(stranger.pid, odd.port, clients)
    assert stranger.poll() is None
    assert kernel.state(stranger.pid) == "S"


def test_status_document_that_names_the_dead(tmp_path: Path) -> None:
    with started(SLEEP, noted=False) as (process, _):
        process.kill()
        process.wait()
        with pool(tmp_path, process.pid) as odd, pytest.raises(ContractError, match=f"{process.pid}, which has ended"):
            odd.status()


@pytest.mark.parametrize("line", [b"", b"-1", b"4711 x", b"1e3 0", b"4_711 0", b"\xd9\xa1 0", b"9" * 5000 + b" 0"])
def test_answer_that_is_none(line: bytes) -> None:
    with pytest.raises(ContractError):
        Who.parse(line)


def test_stranger_among_the_suites_workers(tmp_path: Path, stranger: subprocess.Popen[bytes]) -> None:
    """A parent under test that connects in a worker's place, and says that it is somebody else."""
    said = {"pid": stranger.pid, "started": 0.0, "descriptors": [], "blocked": [], "ignored": [], "addresses": []}
    said["variables"] = {"BACKCHANNEL_SLOT": "0"}
    (tmp_path / "parent.py").write_text(
        f"import shlex, socket, sys, time\nc = socket.socket(socket.AF_UNIX)\nc.connect(shlex.split(sys.argv[1])[-1])\n"
        f"c.sendall({(json.dumps(said) + chr(10)).encode()!r})\ntime.sleep(60)\n"
    )
    text = MANIFEST.replace("[pool]", "[parent]").replace("pool.py", "parent.py").replace("'''CLAIMS'''", '"{worker}"')
    parent = ParentUnderTest(load(tmp_path, text), {}, tmp_path / "log")
    try:
        with pytest.raises(
            ContractError, match=f"says that it is process {stranger.pid}, which the port has not started"
        ):
            parent.stub()
    finally:
        parent.close()
    assert stranger.poll() is None


@pytest.mark.parametrize(
    "address", ["192.0.2.1:80", "[2001:db8::1]:80", "unix:/run/other", "example.org:1", "127.0.0.1"]
)
def test_address_of_somebody_else(tmp_path: Path, address: str) -> None:
    (tmp_path / "pool.py").write_text(f"import time\nprint('READY {address}', flush=True)\n")
    with pytest.raises(ContractError, match="READY is followed by addresses of this machine"):
        PoolUnderTest(load(tmp_path, MANIFEST.replace("CLAIMS", "")), {}, tmp_path / "log")


# ------------------------------------------------------------------------------- status documents


@contextlib.contextmanager
def telling(path: str, *parts: bytes, ends: bool = True) -> Iterator[None]:
    """Somebody who says this to whoever connects."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        over = threading.Event()

        def tell() -> None:
            with contextlib.suppress(OSError):
                while True:
                    reader, _ = listener.accept()
                    with reader, contextlib.suppress(OSError):
                        for part in parts:
                            reader.sendall(part)
                        if not ends:
                            over.wait()

        thread = threading.Thread(target=tell, daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


GOOD = {"counters": {}, "workers": [], "state": "running"}
WORKER = {"slot": 0, "pid": 1, "state": "READY", "open": 0, "capacity": 1, "orders": 0, "accepted": 0}


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (b"", "is not JSON"),
        (b"\xff\xfe{", "is not JSON"),
        (b"[" * 100_000, "is not JSON"),
        (b"[]", "is not a JSON object"),
        (json.dumps({**GOOD, "counters": {"orders": -1}}).encode(), "no 'counters'"),
        (json.dumps({**GOOD, "counters": {"orders": True}}).encode(), "no 'counters'"),
        (json.dumps({**GOOD, "counters": ["orders"]}).encode(), "no 'counters'"),
        (json.dumps({**GOOD, "workers": {}}).encode(), "no 'workers'"),
        (json.dumps({**GOOD, "workers": [7]}).encode(), "no 'workers'"),
        (json.dumps({**GOOD, "workers": [{**WORKER, "open": "\x1b[2J"}]}).encode(), "no 'workers'"),
        (json.dumps({**GOOD, "workers": [{**WORKER, "slot": 1.5}]}).encode(), "no 'workers'"),
        (json.dumps({**GOOD, "state": None}).encode(), "no 'state'"),
        (json.dumps({**GOOD, "generation": "two"}).encode(), "'generation' is 'two'"),
        (json.dumps({**GOOD, "successor": "next"}).encode(), "the successor is process 'next'"),
    ],
)
def test_what_is_no_status_document(tmp_path: Path, said: bytes, why: str) -> None:
    path = str(tmp_path / "s")
    with telling(path, said), pytest.raises(ContractError, match=why):
        status_document.read(path)


def test_status_document_without_an_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = str(tmp_path / "s")
    with telling(path, *[b" " * (1 << 16)] * 1000), pytest.raises(ContractError, match="more than 4194304 octets"):
        status_document.read(path)
    monkeypatch.setattr(status_document, "LIMIT", 0.2)
    with (
        telling(str(tmp_path / "t"), b"{", ends=False),
        pytest.raises(ContractError, match=r"had not ended after 0\.2 s"),
    ):
        status_document.read(str(tmp_path / "t"))


def test_a_process_that_ends_while_it_is_looked_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """It had not ended at the first question, and at the second one there is no such process: no port has lied."""
    with started(SLEEP, noted=False) as (process, _):
        looked_up = processes._is_related

        def ends_meanwhile(pid: int) -> bool:
            process.kill()
            process.wait()
            return looked_up(pid)

        monkeypatch.setattr(processes, "_is_related", ends_meanwhile)
        assert processes.claimed(process.pid, "a worker") == process.pid
