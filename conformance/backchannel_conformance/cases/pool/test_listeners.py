"""What a pool listens on: any family, several at once, listeners it was given; and as which user it then runs."""

from __future__ import annotations

import os
import pwd
import re
import selectors
import signal
import socket
import stat
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from backchannel_conformance import kernel, processes
from backchannel_conformance.client import Client, Held
from backchannel_conformance.errors import UNTESTABLE, check
from backchannel_conformance.fixtures import Pools
from backchannel_conformance.manifest import DEFAULTS, Manifest
from backchannel_conformance.waiting import scale


def has_ipv6() -> bool:
    """Whether the loopback has an IPv6 address."""
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


@pytest.fixture
def unix_path() -> Iterator[str]:
    """A name for an AF_UNIX listener, short enough."""
    with tempfile.TemporaryDirectory(prefix="bc-") as folder:
        yield f"{folder}/listener"


@pytest.mark.needs("status")
@pytest.mark.classes("listeners")
@pytest.mark.parametrize("family", ["ipv6", "unix"])
@pytest.mark.req("BC-HERD-03", "BC-LOAD-01", "BC-STOP-11", "BC-FORK-13")
def test_other_families(pools: Pools, family: str, unix_path: str) -> None:
    """IPv6 and AF_UNIX listeners are served as IPv4 ones are: an order for each connection, the lowest slot first."""
    if family == "ipv6" and not has_ipv6():
        pytest.skip(f"{UNTESTABLE}no IPv6 on the loopback")
    pool = pools(3, listen="[::1]:0" if family == "ipv6" else f"unix:{unix_path}")
    pool.settle()
    slots = Counter(pool.client.ask().slot for _ in range(20))
    held, _ = pool.client.hold()
    status = pool.until("the report", lambda s: s.open == 1)
    counters = status.counters
    check(
        counters["orders"] == counters["accepted"] + counters["expired"] + counters["short"] == 21,
        "BC-HERD-03",
        f"21 connections, and the counters are {dict(counters)}; served by slots {dict(slots)}",
    )
    held.close()
    check(pool.stop() == 0, "BC-STOP-11", f"exit status {pool.status_code} instead of 0")


@pytest.mark.needs("status")
@pytest.mark.classes("listeners")
@pytest.mark.parametrize("poller", ["auto", "poll"])
@pytest.mark.req("BC-PICK-04", "BC-LOSS-01", "BC-WATCH-03")
def test_listeners_take_turns(pools: Pools, unix_path: str, poller: str) -> None:
    """One worker, three listeners, four connections waiting on each: they are served in turn, whichever began, and
    whether the parent is told of each arrival or must look when room returns.
    """
    pool = pools(1, listen=f"127.0.0.1:0,127.0.0.1:0,unix:{unix_path}", poller=poller)
    clients = [Client(address) for address in pool.addresses]
    try:
        held, _ = pool.client.hold()
        pool.until("the report", lambda s: s.open == 1)
        waiting = [client.send("hold") for _ in range(4) for client in clients]
        order: list[int] = []
        held.close()
        for _ in range(len(waiting)):
            # one worker of capacity 1 holds one of them at a time, and answers no other
            served = next_served(waiting)
            order.append(waiting.index(served) % 3)
            served.close()
        first = order[0]
        expected = [(first + at) % 3 for at in range(len(order))]
        check(order == expected, "BC-PICK-04", f"the listeners were served in the order {order}")
    finally:
        for client in clients:
            client.close()


def next_served(waiting: Sequence[Held]) -> Held:
    """The one of ``waiting`` that is answered."""
    with selectors.DefaultSelector() as selector:
        for held in waiting:
            if held.socket.fileno() >= 0:
                selector.register(held.socket, selectors.EVENT_READ, held)
        found = selector.select(15 * scale())
        assert found, f"nobody was answered within {15 * scale():g} s"
    (key, _), *more = found
    assert not more, "a worker of capacity 1 answered two"
    served: Held = key.data
    served.answer()
    return served


@pytest.mark.classes("activation")
@pytest.mark.needs("status")
@pytest.mark.req("BC-FORK-12", "BC-FORK-21", "BC-FORK-07", "BC-STOP-01")
def test_passed_listeners(pools: Pools, unix_path: str) -> None:
    """Two listeners that the supervisor keeps are served, and nothing else; what arrives after the pool has stopped
    waits for its successor.
    """
    with socket.socket() as first, socket.socket(socket.AF_UNIX) as second:
        first.bind(("127.0.0.1", 0))
        second.bind(unix_path)
        for listener in (first, second):
            listener.listen(16)
        expected = [first.getsockname(), unix_path]
        pool = pools(2, listen="", passed=[first, second])
        check(pool.addresses == expected, "BC-FORK-21", f"it serves {pool.addresses} instead of {expected}")
        other = Client(unix_path)
        pids = set(pool.workers())
        check({pool.client.ask().pid, other.ask().pid} <= pids, "BC-FORK-12", "a passed listener is not served")
        kept = kernel.kept_at_exec(pool.pid) if kernel.can("kept_at_exec") else []
        check(not kept, "BC-FORK-07", f"descriptors {kept}, which came open at exec, would be passed on once more")
        pool.stop()
        check(stat.S_ISSOCK(os.stat(unix_path).st_mode), "BC-FORK-12", "a path that was not its own was removed")
        late = other.send("who")
        successor = pools(2, listen="", passed=[first, second])
        check(late.answer().pid in successor.workers(), "BC-STOP-01", "a connection between two pools was lost")
        other.close()


def low_port() -> int:
    """A free port below 1024.

    Nothing holds it until the pool does, so two suites on one machine begin their search at different ports.
    """
    first = os.getpid() % 511
    for number in range(511):
        port = 1023 - (first + number) % 511
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    pytest.skip(f"{UNTESTABLE}no port below 1024 is free")


def python_for(user: str, manifest: Manifest) -> dict[str, Any]:
    """``{python}`` for a pool that runs as ``user``: ours may lie where only root may read.

    It must be able to import what the manifest runs with ``-m``.
    """
    role = manifest.roles["pool"]
    if "python" not in role.placeholders:
        return {}
    modules = sorted(set(re.findall(r"-m (\S+)", " ".join(word for words in role.commands.values() for word in words))))
    text = f"import sys, resource, ssl; assert sys.version_info >= (3, 11); open({str(manifest.path)!r})\n"
    text += "".join(f"import {module}\n" for module in modules)
    environment = {name: manifest.fill(value, DEFAULTS) for name, value in role.environment.items()}
    for python in (sys.executable, "/usr/bin/python3", "/usr/local/bin/python3"):
        try:
            done = subprocess.run(
                [python, "-c", text],
                user=user,
                group=pwd.getpwnam(user).pw_gid,
                extra_groups=[],
                cwd="/",
                env={**os.environ, **environment},
                stderr=subprocess.DEVNULL,
                check=False,
            )
        except OSError:
            continue
        if not done.returncode:
            return {"python": python}
    names = " and ".join((str(manifest.path), *modules))
    pytest.skip(f"{UNTESTABLE}{user} may not read the interpreter, or finds no {names} with one it may read")


@pytest.mark.kernel("identity")
@pytest.mark.classes("privileges")
@pytest.mark.needs("status", "user")
@pytest.mark.req("BC-FORK-10", "BC-FORK-11", "BC-FORK-19", "BC-FORK-20")
def test_low_port_without_root(pools: Pools) -> None:
    """Bound by root below 1024, served by nobody: in the parent, in the first workers and in a later one."""
    if os.geteuid():
        pytest.skip(f"{UNTESTABLE}only root may bind below 1024 and become somebody else")
    nobody = pwd.getpwnam("nobody")
    port = low_port()
    pool = pools(2, listen=f"127.0.0.1:{port}", user="nobody", **python_for("nobody", pools.manifest))
    victim = pool.client.ask().pid
    processes.send(victim, signal.SIGKILL)
    pool.until("a new worker", lambda s: len(s.slots("READY")) == 2 and victim not in s.pids().values())
    check(pool.client.ask().pid != victim, "BC-FORK-10", "the port is not served by the new worker")
    for pid in (pool.pid, *pool.workers()):
        users, groups = kernel.identity(pid)
        check(users == {nobody.pw_uid}, "BC-FORK-11", f"process {pid} is or can become users {users}")
        check(groups == {nobody.pw_gid}, "BC-FORK-20", f"process {pid} is or can become groups {groups}")
