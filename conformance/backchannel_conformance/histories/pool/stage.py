"""Plays a history of role *pool*, and looks after each step whether the invariants hold:

- nobody is lost before a worker has accepted it, and whoever there is room for is served (BC-LOSS-01, BC-WATCH-07);
- the parent's figures, the answers and the kernel's tables say the same of every worker (BC-LOAD-01);
- no worker holds more than its capacity (BC-LOAD-02);
- there are as many workers as the pool is to have, and those that were killed have been replaced (BC-SCALE-11);
- each connection that was ordered is accounted for (BC-HERD-03);
- a worker that served nobody is not woken (BC-HERD-01).
"""

from __future__ import annotations

import select
import signal
from collections import Counter
from dataclasses import dataclass, field
from typing import Final

from ... import kernel, processes
from ...client import Held, NoAnswer, Who
from ...errors import RequirementViolated, check
from ...pool_under_test import PoolUnderTest
from ...status_document import Status
from ...waiting import TimedOut, scale, until
from .scenario import Step

__all__ = ["PoolStage"]

PATIENCE: Final = 20.0
"""Seconds in which a client must be served that there is room for: many times the order's deadline."""
SPURIOUS: Final = 3
"""Switches of a worker that served nobody while others did: a kernel wakes a process for reasons of its own, too. A
herd wakes it once for each connection.
"""


@dataclass
class _Customer:
    """A client that stays."""

    socket: Held
    served: Who | None = None
    """By whom; ``None`` while it waits in the backlog."""


@dataclass
class PoolStage:
    """One pool, of ``slots`` workers of ``capacity``, and the clients that are there."""

    pool: PoolUnderTest
    slots: int
    capacity: int
    trace: list[str] = field(default_factory=list)
    """What was done."""

    def __post_init__(self) -> None:
        self._clients: dict[int, _Customer] = {}
        self._frozen: int | None = None
        self._generation = 1
        self.pool.settle()

    # ------------------------------------------------------------------------------------- steps

    def play(self, step: Step) -> None:
        """One step, and the invariants after it. A step for whose worker or client there is none does nothing."""
        self.trace.append(str(step))
        at = step.number
        match step.what:
            case "hold":
                self._hold(at)
            case "who":
                self._one_after_another(at)
            case "burst":
                self._at_once(at)
            case "again":
                self._again(at)
            case "release" | "reset":
                self._leave(at, reset=step.what == "reset")
            case "kill server":
                if self._room() > 0:
                    self._kill(self._ask().pid)
            case "kill holder":
                if at in self._clients and (who := self._clients[at].served) and who.pid != self._frozen:
                    self._kill(who.pid)
            case "freeze":
                self._freeze(at)
            case "thaw":
                self._thaw()
            case "kill stopped":
                self._kill_stopped()
            case "stop parent":
                self._stop_parent(at)
            case "reload":
                self._reload()
        self._check()

    def finish(self) -> None:
        """The end of a history: everybody goes."""
        self._thaw()
        self._check()
        self._census()
        for at in list(self._clients):
            self._leave(at)
        self.trace.append("everybody has left")
        self._check()
        self._census()

    def stop(self) -> None:
        """The end of the pool: SIGTERM while clients are served. They are served on, and then it exits."""
        self._hold(-1)
        self.trace.append("the pool is stopped (SIGTERM)")
        self.pool.signal(signal.SIGTERM)
        self.pool.until("the drain", lambda s: s.state == "DRAINING" or s.slots("DRAINING"), breaks="BC-STOP-01")
        self._again(-1)
        self._clients.pop(-1).socket.close()
        status = self.pool.wait()
        check(status == 0, "BC-STOP-02", f"the parent exited with status {status}")

    def close(self) -> None:
        """Close the clients, and let go whoever is stopped."""
        for one in self._clients.values():
            one.socket.close()
        if self._frozen is not None and not processes.ended(self._frozen):
            processes.send(self._frozen, signal.SIGCONT)

    # ------------------------------------------------------------------------------------- clients

    def _room(self) -> int:
        """Connections that the workers which are not stopped can take, beyond those that wait."""
        held = self._held()
        serving = [pid for pid in _serving(self.pool.status()) if pid != self._frozen]
        return sum(self.capacity - held[pid] for pid in serving) - sum(not one.served for one in self._clients.values())

    def _held(self) -> Counter[int]:
        return Counter(one.served.pid for one in self._clients.values() if one.served)

    def _expired(self) -> int:
        return self.pool.status().counters["expired"]

    def _ask(self) -> Who:
        try:
            return self.pool.client.ask()
        except NoAnswer as error:
            raise _not_served("a client", error) from None

    def _hold(self, at: int) -> None:
        room = self._room()
        one = self._clients[at] = _Customer(Held(self.pool.addresses[0], "hold"))
        if room > 0:
            one.served = self._answer(f"client {at}", one.socket)

    def _answer(self, who: str, client: Held) -> Who:
        try:
            return client.answer(PATIENCE)
        except NoAnswer as error:
            raise _not_served(who, error) from None

    def _again(self, at: int) -> None:
        one = self._clients.get(at)
        if one is None or one.served is None or one.served.pid == self._frozen:
            return
        try:
            who = one.socket.again()
        except (NoAnswer, OSError) as error:
            raise RequirementViolated("BC-LOSS-02", f"client {at} was lost while it was served: {error}") from None
        check(who.pid == one.served.pid, "BC-LOSS-02", f"client {at} was served by {one.served}, and then by {who}")

    def _leave(self, at: int, *, reset: bool = False) -> None:
        if (one := self._clients.pop(at, None)) is None:
            return
        if reset:
            one.socket.reset()
        else:
            one.socket.close()
        self._seat()

    def _seat(self) -> None:
        """Room has returned: as many of those that wait are served as there is room for."""
        while (waiting := [one for one in self._clients.values() if not one.served]) and (
            self._room() + len(waiting) > 0
        ):
            readable, _, _ = select.select([one.socket.socket for one in waiting], [], [], PATIENCE * scale())
            check(bool(readable), "BC-WATCH-07", f"there is room, and none of the {len(waiting)} that wait was served")
            for at, one in self._clients.items():
                if one.socket.socket in readable:
                    one.served = self._answer(f"client {at}", one.socket)

    def _one_after_another(self, count: int) -> None:
        if self._room() < 1:
            return
        counted = self._frozen is None and kernel.can("switches")
        pids = _serving(self.pool.status()) if counted else []
        if counted:
            until(lambda: all(kernel.state(pid) == "S" for pid in pids), what="the workers to sleep")
        before = {pid: kernel.switches(pid) for pid in pids}
        expired = self._expired()
        served = {self._ask().pid for _ in range(count)}
        if self._expired() != expired:
            return  # on a machine so busy that an order expired, another worker is ordered as well, and rightly
        for pid in before.keys() - served:
            woken = kernel.switches(pid) - before[pid]
            check(
                woken <= SPURIOUS,
                "BC-HERD-01",
                f"process {pid} served none of {count} clients, and was woken {woken} times",
            )

    def _at_once(self, count: int) -> None:
        if self._room() < 1:
            return
        self._all_answer([self.pool.client.send("who") for _ in range(count)])

    def _all_answer(self, clients: list[Held]) -> None:
        for at, one in enumerate(clients):
            self._answer(f"number {at} of {len(clients)} clients", one)
        self.pool.client.close()

    # ------------------------------------------------------------------------------------- trouble

    def _kill(self, pid: int) -> None:
        self._check()  # what it accepted has been reported, so that what is lost with it is known
        processes.send(pid, signal.SIGKILL)
        self._killed(pid)

    def _kill_stopped(self) -> None:
        """It may have an order that it has not read: somebody else serves that client."""
        if self._frozen is not None:
            pid, self._frozen = self._frozen, None
            processes.send(pid, signal.SIGKILL)
            self._killed(pid)

    def _killed(self, pid: int) -> None:
        for at, one in list(self._clients.items()):
            if one.served and one.served.pid == pid:
                check(one.socket.ended(), "BC-LOSS-02", f"client {at} of the killed worker has been told something")
                one.socket.close()
                del self._clients[at]
        self.pool.until("the killed worker to be gone", lambda s: pid not in s.pids().values(), breaks="BC-DEATH-01")
        self._whole()
        self._seat()

    def _freeze(self, slot: int) -> None:
        worker = self.pool.status().slots().get(slot)
        if self._frozen is not None or worker is None or worker["state"] != "READY":
            return
        self._frozen = worker["pid"]
        processes.send(self._frozen, signal.SIGSTOP)
        until(lambda: kernel.state(worker["pid"]) == "T", what=f"process {worker['pid']} to stop")

    def _thaw(self) -> None:
        if self._frozen is None:
            return
        pid, self._frozen = self._frozen, None
        processes.send(pid, signal.SIGCONT)
        self.pool.until(
            "the worker that was stopped to be READY again",
            lambda s: [worker["state"] for worker in s.workers if worker["pid"] == pid] == ["READY"],
            breaks="BC-SILENT-13",
        )
        self._seat()

    def _stop_parent(self, count: int) -> None:
        room = self._room()
        processes.send(self.pool.pid, signal.SIGSTOP)
        try:
            clients = [self.pool.client.send("who") for _ in range(count)] if room > 0 else []
        finally:
            processes.send(self.pool.pid, signal.SIGCONT)
        self._all_answer(clients)

    def _reload(self) -> None:
        if self._frozen is not None:
            return
        self._generation += 1
        old = set(_serving(self.pool.status()))
        self.pool.signal(signal.SIGHUP)
        self.pool.until(
            "the end of the reload",
            lambda s: s.generation == self._generation and not s.reloading,
            breaks="BC-RELOAD-01",
        )
        self._whole()
        left = old & set(_serving(self.pool.status()))
        check(not left, "BC-RELOAD-01", f"processes {left} serve on after the reload")
        self._seat()

    # ------------------------------------------------------------------------------------- invariants

    def _whole(self) -> None:
        """As many workers serve as there are to be."""
        self.pool.until(
            f"{self.slots} workers that serve", lambda s: len(_serving(s)) == self.slots, breaks="BC-SCALE-11"
        )

    def _check(self) -> None:
        """Everything that holds whenever nothing is on its way. Nobody knows what a worker that is stopped holds."""
        held = self._held()
        if self._frozen is not None:
            held.pop(self._frozen, None)

        def agrees(status: Status) -> bool:
            # one of an older generation exits when it has closed its last, and is gone from the kernel's tables
            loads = _loads(status, self._frozen)
            return Counter(loads) == held and loads.keys() == held.keys() | set(_serving(status)) - {self._frozen}

        def accounted(status: Status) -> bool:
            # while somebody is stopped, an order may be in flight
            outcomes = sum(status.counters[name] for name in ("accepted", "expired", "short", "dead"))
            return self._frozen is not None or status.counters["orders"] == outcomes

        what = f"the reports of {dict(held)}, and an outcome for each connection ordered"
        try:
            status = self.pool.until(what, lambda s: agrees(s) and accounted(s), PATIENCE)
        except TimedOut as error:
            rule = "BC-HERD-03" if agrees(self.pool.status()) else "BC-LOAD-01"
            raise RequirementViolated(rule, str(error)) from None
        figures = _loads(status, self._frozen)
        most = max(figures.values(), default=0)
        check(most <= self.capacity, "BC-LOAD-02", f"a worker of capacity {self.capacity} holds {most}")

    def _census(self) -> None:
        """The kernel says the same. It takes as long to ask as all the rest of a step, so it is asked at the end."""
        figures = _loads(self.pool.status(), self._frozen)
        table = kernel.established(figures, self.pool.port)
        check(figures == table, "BC-LOAD-01", f"by process, the parent says {figures}, the kernel {table}")


def _not_served(who: str, error: NoAnswer) -> RequirementViolated:
    return RequirementViolated("BC-LOSS-01", f"{who} was not served, though there was room: {error}")


def _loads(status: Status, but: int | None) -> dict[int, int]:
    """How many each worker holds by the parent's figures, without the one that is stopped."""
    return {worker["pid"]: worker["open"] for worker in status.workers if worker["pid"] != but}


def _serving(status: Status) -> list[int]:
    return [worker["pid"] for worker in status.workers if worker["state"] in ("READY", "SUSPECT")]
