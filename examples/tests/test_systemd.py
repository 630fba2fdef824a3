"""The units: systemd understands them, and what they start does what their page says."""

from __future__ import annotations

import re
import shlex
import shutil
import signal
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
from backchannel import Settings
from running import EXAMPLES, Running
from snippets import Server, Sitting, free_port

UNITS = EXAMPLES / "systemd"
PYTHON = "/opt/hello/.venv/bin/python"
ECHO = """
def handle(connection):
    while data := (yield from connection.recv(4096)):
        yield from connection.sendall(data)
"""

needs_analyze = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd-analyze here")


def setting(name: str) -> list[str]:
    """What hello.service says of ``name``, each time."""
    return re.findall(rf"^{name}=(.*)$", (UNITS / "hello.service").read_text(), re.M)


def analyze(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["systemd-analyze", *arguments], capture_output=True, text=True, timeout=60)


@needs_analyze
def test_systemd_understands_the_units(tmp_path: Path) -> None:
    units = []
    for source in sorted(UNITS.glob("hello.*")):
        # the interpreter that the unit starts must be there
        (tmp_path / source.name).write_text(source.read_text().replace(PYTHON, sys.executable))
        units.append(str(tmp_path / source.name))
    assert len(units) == 2

    def verify() -> str:
        done = analyze("verify", *units)
        return done.stdout + done.stderr

    assert verify() == ""
    service = tmp_path / "hello.service"
    service.write_text(service.read_text().replace("KillMode=mixed", "KilMode=mixed"))
    assert "KilMode" in verify(), "a check that cannot fail"


@needs_analyze
def test_the_service_may_do_little(tmp_path: Path) -> None:
    if "--offline" not in analyze("security", "--help").stdout:
        pytest.skip("this systemd-analyze judges installed units only")

    def judged(unit: Path) -> subprocess.CompletedProcess[str]:
        return analyze("security", "--offline=yes", "--no-pager", "--threshold=15", str(unit))

    done = judged(UNITS / "hello.service")
    assert done.returncode == 0, done.stdout
    (tmp_path / "hello.service").write_text((UNITS / "hello.service").read_text().replace("SystemCallFilter=", "#"))
    assert judged(tmp_path / "hello.service").returncode != 0, "a check that cannot fail"


class Activated:
    """The service in ``tmp_path``, started by the unit's command, as a socket unit starts it."""

    def __init__(self, tmp_path: Path, *under: str) -> None:
        if shutil.which("systemd-socket-activate") is None:
            pytest.skip("no systemd-socket-activate here")
        self.directory = tmp_path
        (tmp_path / "echo.py").write_text(ECHO)
        port = free_port()
        command = [*under, "systemd-socket-activate", "-l", f"127.0.0.1:{port}", "--", *self.command("ExecStart")]
        self.server = Server(shlex.join(command), tmp_path, Sitting(tmp_path).environment).wait()
        self.running = Running(port, tmp_path / "status.sock", self.server)

    def command(self, name: str) -> list[str]:
        (text,) = setting(name)
        return shlex.split(text.replace(PYTHON, sys.executable).replace("/run/hello", str(self.directory)))

    def reload(self) -> subprocess.CompletedProcess[str]:
        self.running.until(lambda document: document["state"] == "running")  # which systemd is told by READY=1
        return subprocess.run(
            self.command("ExecReload"), cwd=self.directory, capture_output=True, text=True, timeout=60
        )

    def says(self, data: bytes) -> bytes:
        with self.running.connect() as client:
            client.sendall(data)
            return client.recv(100)


def test_start_reload_and_stop_do_what_the_page_says(tmp_path: Path) -> None:
    service = Activated(tmp_path)
    try:
        assert service.says(b"hi") == b"hi"
        (tmp_path / "echo.py").write_text(ECHO.replace("sendall(data)", "sendall(data.upper())"))
        assert service.reload().returncode == 0
        assert service.says(b"hi") == b"HI", "the new code serves when the command has ended"
        (tmp_path / "echo.py").write_text("def handle(connection)\n")
        assert service.reload().returncode != 0, "systemctl reload fails"
        assert service.says(b"hi") == b"HI", "and nothing else has changed"
        with service.running.connect() as held:
            held.sendall(b"one")
            assert held.recv(100) == b"ONE"
            service.server.process.send_signal(signal.SIGTERM)  # to the parent alone: KillMode=mixed
            held.sendall(b"two")
            assert held.recv(100) == b"TWO", "it is drained"
        service.server.stop()
    except BaseException:
        service.server.kill()
        raise


def test_the_end_is_waited_for() -> None:
    defaults = Settings()
    assert setting("KillMode") == ["mixed"]
    assert float(setting("TimeoutStopSec")[0]) > defaults.stop_deadline + defaults.drain_deadline


@cache
def calls(group: str) -> frozenset[str]:
    """The system calls of a group, as systemd knows them."""
    names: set[str] = set()
    for line in map(str.strip, analyze("syscall-filter", group).stdout.splitlines()[1:]):
        if line and not line.startswith("#"):
            names |= calls(line) if line.startswith("@") else {line}
    return frozenset(names)


@needs_analyze
def test_the_filter_lets_pass_what_the_service_does(tmp_path: Path) -> None:
    # -D: it is the service that is started here, and the tracer that is on its own
    strace = ["strace", "-D", "-f", "-qq", "-o", f"{tmp_path}/trace"]
    if shutil.which("strace") is None or subprocess.run([*strace, "true"], capture_output=True).returncode:
        pytest.skip("no strace here, or it may not trace")
    service = Activated(tmp_path, *strace)
    try:
        assert service.says(b"hi") == b"hi"
        assert service.reload().returncode == 0
        service.server.stop()
    except BaseException:
        service.server.kill()
        raise
    allowed = set(calls("@system-service"))
    for name in setting("SystemCallFilter"):
        assert name == "@system-service" or name.startswith("~")
        for group in name[1:].split() if name.startswith("~") else ():
            allowed -= calls(f"@{group.lstrip('@')}")
    used = set(re.findall(r"^\d+ +(\w+)\(", (tmp_path / "trace").read_text(), re.M))
    assert "accept4" in used
    assert used <= allowed
