"""The sources of what the suite asks the system, against this very process and its children."""

from __future__ import annotations

import os
import resource
import select
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from backchannel_conformance import kernel, manifest
from backchannel_conformance.kernel import limits, lsof, procfs, ps, tcp_table
from backchannel_conformance.pool_under_test import ContractError, PoolUnderTest
from backchannel_conformance.waiting import until
from backchannel_conformance.wakeups import AskedCounter


def sources(question: str) -> list[object]:
    found = []
    for source in kernel.QUESTIONS[question]:
        works = source.can(question)
        why = pytest.mark.skipif(not works, reason=f"{source.__name__} cannot tell here")
        found.append(pytest.param(source, marks=why, id=source.__name__.rpartition(".")[2]))
    return found


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(["sleep", "60"], start_new_session=True)
    yield process
    process.kill()
    process.wait()


@pytest.mark.parametrize("source", sources("state"))
def test_state(source: object, sleeper: subprocess.Popen[bytes]) -> None:
    wait_for(source, sleeper.pid, "S")
    os.kill(sleeper.pid, signal.SIGSTOP)
    wait_for(source, sleeper.pid, "T")
    sleeper.kill()
    wait_for(source, sleeper.pid, "Z")
    sleeper.wait()
    assert source.state(sleeper.pid) == ""  # type: ignore[attr-defined]


def wait_for(source: object, pid: int, state: str) -> None:
    deadline = time.monotonic() + 10
    while source.state(pid) != state:  # type: ignore[attr-defined]
        assert time.monotonic() < deadline, f"never in state {state}"


@pytest.mark.parametrize("source", sources("session_of"))
def test_session(source: object, sleeper: subprocess.Popen[bytes]) -> None:
    assert source.session_of(sleeper.pid) == [sleeper.pid]  # type: ignore[attr-defined]


@pytest.mark.parametrize("source", sources("switches"))
def test_switches(source: object) -> None:
    before = source.switches(os.getpid())  # type: ignore[attr-defined]
    for _ in range(20):
        time.sleep(0.001)  # a sleep is a voluntary switch: that is what is counted here
    assert source.switches(os.getpid()) >= before + 20  # type: ignore[attr-defined]


@pytest.mark.parametrize("source", sources("established"))
def test_sockets(source: object) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)) as client:
            held = listener.accept()[0]
            assert source.established([os.getpid()], port) == {os.getpid(): 1}  # type: ignore[attr-defined]
            client.shutdown(socket.SHUT_WR)
            assert held.recv(1) == b""
            # the client has closed, and the connection is held still; and another process holds none
            both = [os.getpid(), os.getppid()]
            assert source.established(both, port) == {os.getpid(): 1, os.getppid(): 0}  # type: ignore[attr-defined]
            held.close()
            assert source.established([os.getpid()], port) == {os.getpid(): 0}  # type: ignore[attr-defined]


HOLDER = """
import os, select, socket, sys
for number in range(3, 64):
    try:
        os.close(number)
    except OSError:
        pass
pair = socket.socketpair()
listener = socket.create_server(("127.0.0.1", 0))
client = socket.create_connection(listener.getsockname())
poller = getattr(select, "epoll", getattr(select, "kqueue", None))
held = poller and poller()
print("ready", flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("source", sources("kinds"))
def test_kinds(source: object) -> None:
    with subprocess.Popen([sys.executable, "-c", HOLDER], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout
        assert holder.stdout.readline() == b"ready\n"
        kinds = source.kinds(holder.pid)  # type: ignore[attr-defined]
        assert holder.stdin
        holder.stdin.close()
    assert kinds.pop("poller", 1) == 1
    assert kinds == {"unix": 2, "tcp-listen": 1, "tcp": 1}


@pytest.mark.skipif(not hasattr(select, "epoll"), reason="needs epoll")
def test_what_processes_share() -> None:
    """A child that inherited a socket and an epoll set, and has others of its own, is seen to share the two."""
    code = "import select, socket, sys; pair = socket.socketpair(); own = select.epoll(); own.register(pair[0])\n"
    code += "print('ready', flush=True); sys.stdin.read()"
    ours, theirs = socket.socketpair()
    with ours, theirs, select.epoll() as poller:
        poller.register(ours)
        with subprocess.Popen(
            [sys.executable, "-c", code],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            pass_fds=(theirs.fileno(), poller.fileno()),
        ) as child:
            assert child.stdout
            assert child.stdout.readline() == b"ready\n"
            kinds = procfs.kinds(child.pid)
            shared = procfs.shared(child.pid, [os.getpid()])
            assert child.stdin
            child.stdin.close()
    assert kinds == {"unix": 3, "poller": 2}
    assert shared == {"unix": 1, "poller": 1}


@pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="needs Linux")
@pytest.mark.parametrize(("family", "host"), [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")])
def test_sockets_in_netlink_and_in_the_file(
    family: socket.AddressFamily, host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both ways to learn of sockets say the same of each."""
    with socket.create_server((host, 0), family=family) as listener:
        port = listener.getsockname()[1]
        with socket.create_connection((host, port)) as ours, listener.accept()[0] as theirs:
            inodes = {os.fstat(one.fileno()).st_ino for one in (listener, ours, theirs)}
            asked = {row for row in tcp_table.rows(Path("/proc")) if row.inode in inodes}
            monkeypatch.setattr(sys, "platform", "netbsd")
            assert {row for row in tcp_table.rows(Path("/proc")) if row.inode in inodes} == asked
            there = ours.getsockname()[1]
            assert sorted((row.state, row.port, row.peer) for row in asked) == [
                *sorted([(tcp_table.ESTABLISHED, port, there), (tcp_table.ESTABLISHED, there, port)]),
                (tcp_table.LISTEN, port, 0),
            ]


def test_a_descriptor_that_is_closed_while_it_is_looked_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was listed, and there is nothing to read of it any more: the others are told of."""
    (tmp_path / "7" / "fd").mkdir(parents=True)
    (tmp_path / "7" / "fdinfo").mkdir()
    for number in (3, 4, 5):
        (tmp_path / "7" / "fd" / str(number)).symlink_to("anon_inode:[eventpoll]")
    (tmp_path / "7" / "fdinfo" / "3").write_text("pos:\t0\nflags:\t02\n")
    (tmp_path / "7" / "fdinfo" / "4").write_text(f"pos:\t0\nflags:\t0{os.O_CLOEXEC | 2:o}\n")
    (tmp_path / "7" / "fdinfo" / "5").symlink_to("is-not-there")
    monkeypatch.setattr(procfs, "PROC", tmp_path)
    assert procfs.kept_at_exec(7) == [3]


def test_what_ps_prints_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    said = {"nvcsw": "4711", "state": "Is+", "time": "1:02.50"}
    monkeypatch.setattr(ps, "_column", lambda name, _pid: said[name])
    assert ps.can("switches")
    assert ps.switches(1) == 4711
    assert ps.state(1) == "S"
    assert ps.cpu_seconds(1) == 62.5
    said["time"] = "1-02:03:04.25"
    assert ps.cpu_seconds(1) == 93784.25
    said |= {"nvcsw": "-", "time": "00:01:02"}
    assert not ps.can("switches")
    assert not ps.can("cpu_seconds"), "whole seconds show nothing"


def test_fields_of_lsof() -> None:
    output = "p12 fcwd tDIR n/ f2 tCHR n/dev/null f3 u tunix d0x2 n->0x1 f4 tIPv4 n*:80 TST=LISTEN "
    output += "p13 f4 tIPv4 n*:80 TST=LISTEN f5 tKQUEUE ncount=0"
    found = [(file.pid, file.number, lsof._kind(file)) for file in lsof.parse(output.replace(" ", "\n"))]
    assert found == [(12, 3, "unix"), (12, 4, "tcp-listen"), (13, 4, "tcp-listen"), (13, 5, "poller")]


def test_what_nobody_tells_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel, "_source", lambda _question: None)
    assert not kernel.can("threads")
    with pytest.raises(LookupError, match=r"nobody tells of threads: no .* as on Linux"):
        kernel.threads(1)


@pytest.fixture
def pool(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[PoolUnderTest]:
    made = PoolUnderTest(manifest.find(request.param), {"start": "4", "min": "4", "max": "4"}, tmp_path / "log")
    yield made
    made.close()


ASLEEP = pytest.mark.skipif(not kernel.can("state"), reason="nobody tells who is asleep")


@ASLEEP
@pytest.mark.parametrize("pool", ["sync"], indirect=True)
def test_who_was_woken_is_told_by_the_asked(pool: PoolUnderTest) -> None:
    victim, *others = sorted(pool.workers())

    def load() -> Counter[int]:
        for _ in range(20):
            os.kill(victim, signal.SIGSTOP)
            until(lambda: kernel.state(victim) == "T", what="a stop")
            os.kill(victim, signal.SIGCONT)
            until(lambda: kernel.state(victim) == "S", what="sleep")
        return Counter()

    gains = AskedCounter().gains(pool, load)
    assert gains.workers[victim] >= 20, "each stop is a switch of this one"
    assert all(gains.workers[pid] <= 0 for pid in others), f"to ask them shows in their figures: {gains}"
    assert gains.parent is None


@ASLEEP
@pytest.mark.parametrize("pool", ["sync", "naive-herd"], indirect=True)
def test_a_herd_is_seen_by_asking(pool: PoolUnderTest) -> None:
    gains = AskedCounter().gains(pool, lambda: pool.client.serve(300))
    over = [pid for pid, gain in gains.workers.items() if gain > 3 * gains.served[pid]]
    assert bool(over) == (pool.manifest.name == "naive-herd"), gains


@ASLEEP
@pytest.mark.parametrize("pool", ["sync"], indirect=True)
def test_asking_must_reach_each_worker(pool: PoolUnderTest) -> None:
    with pytest.raises(ContractError, match="3 held connections reached"):
        AskedCounter.ask(pool, [*pool.workers()[:2], os.getppid()])


def test_room_for_a_large_pool(monkeypatch: pytest.MonkeyPatch) -> None:
    """All processes of the user count, and the superuser has no limit."""
    assert limits._processes() >= 1
    monkeypatch.setattr(limits, "_processes", lambda: 100)
    monkeypatch.setattr(resource, "getrlimit", lambda _what: (160, 160))
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert limits.can("room")
    monkeypatch.setattr(limits, "_processes", lambda: 160 - limits.ROOM + 1)
    assert not limits.can("room")
    assert kernel.missing("room") == "this user may not have 48 processes more"
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert limits.can("room")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(resource, "getrlimit", lambda _what: (resource.RLIM_INFINITY,) * 2)
    assert limits.can("room")
