"""The suite survives what it tests: whatever a port does there is a verdict, and of a killed run nothing is left."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from backchannel_conformance import guardian
from backchannel_conformance.codec_under_test import CodecUnderTest
from backchannel_conformance.errors import ContractError, RequirementViolated
from backchannel_conformance.kernel.limits import files
from backchannel_conformance.manifest import load
from backchannel_conformance.parent_under_test import ParentUnderTest
from backchannel_conformance.pool_under_test import PoolUnderTest
from backchannel_conformance.waiting import TimedOut, no_longer_than, scale
from backchannel_conformance.worker_under_test import WorkerUnderTest

EVIL = {
    "stops itself": "import os, signal; os.kill(os.getpid(), signal.SIGSTOP)",
    "never says anything": "import time; time.sleep(600)",
    "writes without end": "while True: print('x' * 70)",
    "closes its descriptors": "import os, time; os.closerange(0, 1024); time.sleep(600)",
    "leaves its group": "import os, time\nif os.fork(): time.sleep(600)\nos.setpgid(0, 0); time.sleep(600)",
    "ignores every signal": "import signal, time\n"
    "for number in signal.valid_signals() - {9, 19}: signal.signal(number, signal.SIG_IGN)\ntime.sleep(600)",
}
"""Ports that are none, as Python: what they do instead of anything useful."""

DAEMON = """
import os, sys, time
if not os.fork():
    os.setsid()
    if not os.fork():
        open(sys.argv[0] + ".daemon", "w").close()
        time.sleep(600)
    os._exit(0)
time.sleep(600)
"""
"""A port that forks off a daemon, and says so by a file."""


SETTINGS = {
    "parent": ', "{worker}"',
    "pool": ', "{start}", "{min}", "{max}", "{capacity}"',
}
"""What a port of a role is told, so that cases which need that are not left out."""


def manifest(folder: Path, role: str, program: str) -> Path:
    """A port of one role."""
    (folder / "port.py").write_text(program)
    text = f"""
contract = "1.0"
spec = "1.0"
[implementation]
name = "evil"
language = "Python"
classes = ["exec"]
[{role}]
command = ["{{python}}", "{folder / "port.py"}"{SETTINGS.get(role, "")}]
"""
    (folder / "it.toml").write_text(text)
    return folder / "it.toml"


def command(folder: Path, *arguments: str) -> list[str]:
    """A run of the suite against that port."""
    options = ["--manifest", str(folder / "it.toml"), "--no-controls", "--no-smoke", "--report", str(folder / "report")]
    return [sys.executable, "-m", "backchannel_conformance", "run", *options, *arguments]


@contextlib.contextmanager
def nothing_left(folder: Path) -> Iterator[None]:
    """Afterwards no process of that port is left."""
    yield
    deadline = time.monotonic() + 20
    while found := [pid for pid in map(int, filter(str.isdigit, os.listdir("/proc"))) if str(folder) in words(pid)]:
        if time.monotonic() > deadline:
            for pid in found:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            pytest.fail(f"processes {found} were left")
        time.sleep(0.02)


def words(pid: int) -> str:
    """The command line of a process; nothing for one that is dead or gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_text(errors="replace")
    except OSError:
        return ""


linux = pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="the environment of processes is not shown")


@pytest.fixture
def hurried() -> None:
    """Limits of time are short."""
    scale(0.05)


@linux
@pytest.mark.usefixtures("hurried")
@pytest.mark.parametrize("what", EVIL)
def test_every_port_gets_a_verdict(tmp_path: Path, what: str) -> None:
    """As each role: what is asked of it is refused in words, and the port is ended."""
    verdicts = (ContractError, RequirementViolated, TimedOut)
    log = tmp_path / "log"
    began = time.monotonic()
    with nothing_left(tmp_path), guardian.guarded(), files(1 << 20):
        worker = WorkerUnderTest(load(manifest(tmp_path, "worker", EVIL[what])), log, [listener := socket.socket()])
        with listener, pytest.raises(verdicts):
            worker.greet()
        worker.close()
        parent = ParentUnderTest(load(manifest(tmp_path, "parent", EVIL[what])), {}, log)
        with pytest.raises(verdicts):
            parent.stub()
        parent.close()
        with pytest.raises(verdicts):
            PoolUnderTest(load(manifest(tmp_path, "pool", EVIL[what])), {}, log)
        codec = CodecUnderTest(load(manifest(tmp_path, "codec", EVIL[what])), log)
        with pytest.raises(verdicts):
            codec.ask({})
        codec.close()
    assert time.monotonic() - began < 60


@linux
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_killed_run_leaves_nobody(tmp_path: Path, number: signal.Signals) -> None:
    """Nor does it leave a daemon that its port has forked off."""
    kill_run(tmp_path, number, "--role", "pool", "--jobs", "1", "--", "-k", "test_stop_when_idle")


@linux
def test_killed_run_with_helpers_leaves_nobody(tmp_path: Path) -> None:
    kill_run(tmp_path, signal.SIGKILL, "--role", "parent", "--jobs", "2", helpers=2)


def kill_run(tmp_path: Path, number: signal.Signals, *arguments: str, helpers: int = 0) -> None:
    """Start a run, kill it when its port has forked off a daemon, and look who is left. It has so many helpers then."""
    manifest(tmp_path, arguments[1], DAEMON)
    with (
        nothing_left(tmp_path),
        subprocess.Popen(
            command(tmp_path, *arguments),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        ) as run,
    ):
        try:
            deadline = time.monotonic() + 300
            while not (tmp_path / "port.py.daemon").exists():  # to look through all processes would take a processor
                assert time.monotonic() < deadline, "no port was started"
                assert run.poll() is None, "the run has ended"
                time.sleep(0.02)
            commands = [words(int(pid)) for pid in os.listdir("/proc") if pid.isdigit()]
            assert sum(str(tmp_path) in line and "\0--helper\0" in line for line in commands) == helpers
            run.send_signal(number)
            run.wait(60)
        finally:
            run.kill()


def test_guardian_of_a_run_within_a_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(guardian.MARK, "outer")
    with guardian.guarded():
        assert os.environ[guardian.MARK] == "outer"


def test_call_that_blocks_is_interrupted() -> None:
    before = signal.getsignal(signal.SIGALRM)
    reader, writer = os.pipe()
    try:
        with pytest.raises(TimedOut, match=r"^the read had not ended after 0\.05 s, in line \d+ of .*test_survival"):
            with no_longer_than(0.05, "the read had not ended"):
                os.read(reader, 1)
        with no_longer_than(0.05, "nothing"):
            pass
        assert signal.getsignal(signal.SIGALRM) == before
    finally:
        os.close(reader)
        os.close(writer)
