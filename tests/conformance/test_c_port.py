"""The port in C, attacked: by its workers, its clients, its environment and its command line."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from backchannel_conformance import kernel
from backchannel_conformance.waiting import until

Address = tuple[str, int]
LONG = "9" * 400

# ----------------------------------------------------------------------------------------------- parent

WORKER = """
import os, socket, struct, sys, time
FRAME = struct.Struct("!BBBBIIII")
channel = socket.socket(fileno=3)
channel.setblocking(True)
slot = int(os.environ["BACKCHANNEL_SLOT"])
def say(kind, order=0, accepted=0, held=0, capacity=5, reason=0):
    channel.sendall(FRAME.pack(16, ord(kind), reason, 0, order, accepted, held, capacity))
def hear():
    data = channel.recv(20, socket.MSG_WAITALL)
    if len(data) < 20:
        os._exit(0)
    _, _, _, _, order, _, most, _ = FRAME.unpack(data)
    return order, most
def serve():
    listener = socket.socket(fileno=4)
    while True:
        order, most = hear()
        taken = 0
        try:
            client, _ = listener.accept()
            client.setblocking(True)
            client.sendall(b"%d\\n" % slot)
            client.close()
            taken = 1
        except BlockingIOError:
            pass
        say("B", order, taken, 0, 5, 0 if taken == most else 1)
def flood():
    flood = b"".join(FRAME.pack(16, ord("I"), 0, 0, 0, 0, 0, 6 - at % 2) for at in range(800))
    while True:
        channel.sendall(flood)
channel.sendall(FRAME.pack(16, ord("I"), 0, 0, 0x10100000, 0, 0, 5))
say("B", hear()[0])
"""


@contextlib.contextmanager
def parent(port: Path, folder: Path, body: str, *options: str, **keywords: Any) -> Iterator[tuple[Any, Address]]:
    """A parent whose workers do this once they are greeted; and its address, once all are."""
    program = folder / "worker.py"
    program.write_text(WORKER + body)
    command = [str(port / "parent"), "--listen", "127.0.0.1:0", "--workers", "2", *options]
    command.append(f"{sys.executable} {program}")
    keywords.setdefault("stderr", subprocess.DEVNULL)
    process = subprocess.Popen(command, stdout=subprocess.PIPE, start_new_session=True, **keywords)
    assert process.stdout
    try:
        word, _, address = process.stdout.readline().decode().strip().partition(" ")
        assert word == "READY"
        host, _, number = address.rpartition(":")
        yield process, (host, int(number))
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        process.stdout.close()


def ask(address: tuple[str, int], seconds: float = 30) -> bytes:
    with socket.create_connection(address, seconds) as client:
        return client.recv(100)


FLOODERS = {
    "a grandchild of a dead worker": """
if slot == 0:
    if not all((os.fork(), os.fork(), os.fork())):  # seven of them: one is always awake
        flood()
    os._exit(3)
serve()
""",
    "a worker": "(os.fork(), os.fork(), flood()) if slot == 0 else serve()",
    "a worker with an order unanswered": """
if slot == 0:
    hear()
    os.fork()
    os.fork()
    flood()
serve()
""",
}


@pytest.mark.parametrize("who", FLOODERS)
def test_nobody_that_writes_without_a_pause_keeps_the_parent(port: Path, tmp_path: Path, who: str) -> None:
    """The others are served meanwhile, and an order to it expires."""
    options = ("--order-deadline", "0.2")
    with parent(port, tmp_path, FLOODERS[who], *options) as (process, address):
        # whoever reads less often than the other one writes never finds the channel empty
        os.setpriority(os.PRIO_PROCESS, process.pid, 15)
        for _ in range(5):
            assert ask(address) in (b"0\n", b"1\n")
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 130


SHIM = r"""
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* read() for the parent: a channel on which a report with capacity 7 came never runs dry from then on. */
ssize_t flooding_read(int fd, void *to, size_t room)
{
    static ino_t flooder;
    static size_t position;
    struct stat found;
    unsigned char *octets = to;
    ssize_t n;

    if (fstat(fd, &found) < 0 || found.st_ino != flooder) {
        n = read(fd, to, room);
        for (ssize_t at = 0; at + 20 <= n; at += 20)
            if (octets[at + 1] == 'I' && octets[at + 19] == 7)
                flooder = found.st_ino;
        return n;
    }
    for (size_t i = 0; i < room; i++, position++) {
        size_t at = position % 20;
        octets[i] = at == 0 ? 16 : at == 1 ? 'I' : at == 19 ? 5 + position / 20 % 2 : 0;
    }
    return (ssize_t)room;
}
"""


@pytest.mark.parametrize(
    "body",
    [
        "say('I', capacity=7)\n    os._exit(3)",
        "hear()\n    say('I', capacity=7)\n    for at in range(6000): time.sleep(0.01); say('I', capacity=6 - at % 2)",
    ],
)
def test_channel_that_never_runs_dry(port: Path, tmp_path: Path, body: str) -> None:
    """The same without the race: whatever the parent reads from the dead, or from one that owes an answer, is full."""
    (tmp_path / "shim.c").write_text(SHIM)
    sources = [port.parent / "parent.c", tmp_path / "shim.o"]
    subprocess.run(["cc", "-c", "-o", tmp_path / "shim.o", tmp_path / "shim.c"], check=True)
    subprocess.run(["cc", "-Dread=flooding_read", "-o", tmp_path / "parent", *sources], check=True)
    body = f"if slot == 0:\n    {body}\nserve()"
    with parent(tmp_path, tmp_path, body, "--order-deadline", "0.2") as (_, address):
        for _ in range(5):
            assert ask(address) in (b"0\n", b"1\n")


def test_drain_deadline_of_a_worker_that_writes_without_a_pause(port: Path, tmp_path: Path) -> None:
    """It is judged by what was there when the deadline had passed: drained, it floods on, and is killed in time."""
    with parent(port, tmp_path, "flood() if slot == 0 else serve()", "--drain-deadline", "0.5") as (process, _):
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0


def test_parent_sleeps_while_every_slot_drains(port: Path, tmp_path: Path) -> None:
    """Workers that retire and stay: until one of them ends there is no slot for a newcomer, and nothing to do."""
    retire = 'say("I", capacity=0)\ntime.sleep(600)\n'
    status = tmp_path / "status"
    with parent(port, tmp_path, f"time.sleep(0.3)\n{retire}", "--status", str(status)) as (process, _):

        def drains() -> bool:
            return [worker["state"] for worker in read(status)["workers"]] == ["DRAINING"] * 4

        until(drains, 30, what="four workers that drain")
        before, used = read(status)["counters"]["wakeups"], kernel.cpu_seconds(process.pid)
        until(lambda: kernel.state(process.pid) == "S", what="sleep")
        time.sleep(0.5)  # not evidence: a parent that spins has thousands of passes meanwhile
        assert read(status)["counters"]["wakeups"] - before < 20
        assert kernel.cpu_seconds(process.pid) - used < 0.4


def read(path: Path) -> dict[str, Any]:
    with socket.socket(socket.AF_UNIX) as reader:
        reader.connect(str(path))  # before there is a time limit: with one, a backlog that is full is an error at once
        reader.settimeout(30)
        found: dict[str, Any] = json.loads(b"".join(iter(lambda: reader.recv(1 << 16), b"")))
        return found


def test_parent_whose_log_nobody_reads(port: Path, tmp_path: Path) -> None:
    """A full pipe costs lines of the log, and nothing else: the dead are replaced."""
    ours, theirs = os.pipe()
    with contextlib.suppress(BlockingIOError):
        os.set_blocking(theirs, False)
        while True:
            os.write(theirs, b"x" * 65536)
    os.set_blocking(theirs, True)
    once = "sys.argv[0] + '.done'"
    body = f"if slot == 0 and not os.path.exists({once}):\n    open({once}, 'w')\n    say('X')\n"
    status = tmp_path / "status"
    try:
        with parent(port, tmp_path, body + "serve()", "--status", str(status), stderr=theirs) as (_, address):
            until(lambda: read(status)["counters"]["kills"] == 1, 30, what="the worker that breaks a rule to be killed")
            until(lambda: len(read(status)["workers"]) == 2, 30, what="another in its place")
            assert ask(address) in (b"0\n", b"1\n")
    finally:
        os.close(ours)
        os.close(theirs)


def test_variables_of_the_protocol_do_not_pass_through(port: Path, tmp_path: Path) -> None:
    environment = {**os.environ, "BACKCHANNEL_" + "X" * 100: "1", "BACKCHANNEL_SLOTS": "9", "KEPT": "yes"}
    body = "open(sys.argv[0] + '.env', 'a').write(repr(sorted(os.environ)) + '\\n')\nserve()"
    with parent(port, tmp_path, body, env=environment) as (_, address):
        ask(address)
    names = (tmp_path / "worker.py.env").read_text()
    assert "'KEPT'" in names
    assert "BACKCHANNEL_X" not in names
    assert "BACKCHANNEL_SLOTS" not in names
    assert "BACKCHANNEL_VERSIONS" in names


# ------------------------------------------------------------------------------------------- its status


def test_status_is_the_users_own(port: Path, tmp_path: Path) -> None:
    """Whatever the umask; what a parent that has gone has left there is replaced."""
    status = tmp_path / "status"
    for _ in range(2):
        with parent(port, tmp_path, "serve()", "--status", str(status), umask=0):
            assert stat.S_IMODE(status.stat().st_mode) == 0o600
            assert read(status)["state"] == "running"
        assert status.is_socket(), "it was killed"


@pytest.mark.parametrize("what", ["a file", "a link to a file", "a directory", "a live socket", "a full socket"])
def test_status_takes_nothing_away(port: Path, tmp_path: Path, what: str) -> None:
    status, other = tmp_path / "status", tmp_path / "other"
    other.write_text("precious")
    with socket.socket(socket.AF_UNIX) as listener, contextlib.ExitStack() as clients:
        if what == "a file":
            status.write_text("precious")
        elif what == "a link to a file":
            status.symlink_to(other)
        elif what == "a directory":
            status.mkdir()
        else:
            listener.bind(str(status))
            listener.listen(0)
            for _ in range(3 if what == "a full socket" else 0):
                client = clients.enter_context(socket.socket(socket.AF_UNIX))
                client.setblocking(False)
                with contextlib.suppress(BlockingIOError, ConnectionRefusedError):
                    client.connect(str(status))
        command = [port / "parent", "--listen", "127.0.0.1:0", "--workers", "1", "--status", status, "true"]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
        assert done.returncode == 2, done.stderr
        assert f"--status {status}: " in done.stderr
        assert "or name another path" in done.stderr
        assert status.exists()
        assert other.read_text() == "precious"


def test_reader_of_the_status_that_takes_nothing(port: Path, tmp_path: Path) -> None:
    status = tmp_path / "status"
    with parent(port, tmp_path, "serve()", "--status", str(status)) as (_, address), contextlib.ExitStack() as slow:
        for _ in range(20):
            reader = slow.enter_context(socket.socket(socket.AF_UNIX))
            reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
            reader.connect(str(status))
        assert read(status)["state"] == "running"
        assert ask(address) in (b"0\n", b"1\n")


# ------------------------------------------------------------------------------------- senseless numbers


@pytest.mark.parametrize(
    ("option", "value"),
    [
        *(("--workers", value) for value in ("0", "-1", "1.5", "nan", "inf", "1e3", "0x10", "", " 2", "4097", LONG)),
        *(("--capacity", value) for value in ("0", "1048577", "many")),
        *(("--order-deadline", value) for value in ("nan", "inf", "-1", "1e3", "1.2.3", ".", "", LONG)),
        ("--listen", "127.0.0.1:65536"),
        ("--listen", "127.0.0.1"),
        ("--listen", "["),
        ("--listen", "[]:1"),
        ("--listen", ""),
        ("--listen", "x" * 5000),
        ("--status", "x" * 5000),
        ("--nothing", "1"),
    ],
    ids=lambda value: value[:20],
)
def test_senseless_options(port: Path, option: str, value: str) -> None:
    command = [port / "parent", "--listen", "127.0.0.1:0", option, value, "exit 78"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 2, done.stderr
    assert option in done.stderr or "usage: parent" in done.stderr


RIGHT = {"SLOT": "0", "CAPACITY": "1", "LISTENERS": "1", "DRAIN_DEADLINE": "2.5", "VERSIONS": "1.0"}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("SLOT", value) for value in ("-1", "", " 1", "1 ", "1.0", "0x1", "1e1", "nan", "4294967296", LONG)),
        *(("CAPACITY", value) for value in ("0", "-1", "4294967296", "+1", "\u0661")),
        *(("LISTENERS", value) for value in ("0", "2", "4294967295", "4294967296")),
        *(("DRAIN_DEADLINE", value) for value in ("-1", ".", "1.", ".5", "1.2.3", "inf", "nan", "1e9")),
        *(
            ("VERSIONS", value)
            for value in ("", "1", "1.", "0.1", "16.0", "1.16", "1.0-", "1.1-1.0", "1.0-1.1-1.2", "x")
        ),
    ],
    ids=lambda value: value[:20],
)
def test_senseless_variables(port: Path, name: str, value: str) -> None:
    """Exit status 78, with a line that names the variable (BC-EXEC-03)."""
    done = worker(port, {**RIGHT, name: value})
    assert done.returncode == 78, done.stderr
    assert f"BACKCHANNEL_{name}" in done.stderr


@pytest.mark.parametrize("value", ["0", "2.5", "000", LONG, "9.99999999999999999999999"])
def test_deadlines_that_make_sense(port: Path, value: str) -> None:
    done = worker(port, {**RIGHT, "DRAIN_DEADLINE": value})
    assert done.returncode == 0, done.stderr


def worker(port: Path, variables: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """A worker that finds these, and the end of its channel."""
    ours, theirs = socket.socketpair()
    with ours, theirs, socket.create_server(("127.0.0.1", 0)) as listener:
        ours.shutdown(socket.SHUT_WR)
        place = "import fcntl, os\n"  # above their places first: either may stand in the other's
        place += f"a, b = (fcntl.fcntl(n, fcntl.F_DUPFD, 10) for n in ({theirs.fileno()}, {listener.fileno()}))\n"
        place += "os.dup2(a, 3); os.dup2(b, 4)\n"
        place += f"os.closerange(5, 64); os.execv({str(port / 'worker')!r}, ['worker'])"
        return subprocess.run(
            [sys.executable, "-c", place],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
            pass_fds=(theirs.fileno(), listener.fileno()),
            env={**os.environ, **{f"BACKCHANNEL_{key}": value for key, value in variables.items()}},
        )


def test_client_that_sends_without_a_pause(port: Path, tmp_path: Path) -> None:
    """One that holds its connection and never ends its line does not keep the others from the worker."""
    command = [port / "parent", "--listen", "127.0.0.1:0", "--workers", "1", "--capacity", "4", str(port / "worker")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, start_new_session=True) as process:
        assert process.stdout
        try:
            host, _, number = process.stdout.readline().decode().split()[1].rpartition(":")
            address = host, int(number)
            flood = f"import socket\ns = socket.create_connection({address!r})\ns.sendall(b'hold\\n')\n"
            flood += "while True: s.sendall(b'x' * 65536)"
            with subprocess.Popen([sys.executable, "-c", flood]) as flooder:
                try:
                    until(lambda: kernel.state(flooder.pid) != "Z", what="the flood")
                    for _ in range(5):
                        with socket.create_connection(address, 30) as client:
                            client.sendall(b"who\n")
                            assert select.select([client], [], [], 30)[0], "nobody serves it"
                            assert client.recv(100).endswith(b" 0\n")
                finally:
                    flooder.kill()
        finally:
            os.killpg(process.pid, signal.SIGKILL)
