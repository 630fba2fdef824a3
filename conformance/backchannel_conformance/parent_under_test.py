"""Role *parent*: the suite plays every worker. What the parent under test starts is a stub
(:mod:`~backchannel_conformance.stub_worker`), and each stub does, step by step, what a case says.

What must *not* happen is shown by :meth:`ParentUnderTest.barrier`: one more worker, which was held back, says hello, is
welcomed, retires in its answer and is drained. By then the parent has read all that was written before, and has decided
about it.
"""

from __future__ import annotations

import contextlib
import re
import selectors
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from . import frames, kernel, processes, status_document
from .errors import ContractError, RequirementViolated
from .manifest import Manifest, unless_set
from .port_output import tail
from .stub_worker import StubWorker, instead
from .waiting import TimedOut, deadline_in, scale, until

__all__ = ["ParentUnderTest"]

LIMIT = 10.0
START_LIMIT = 60.0
"""Seconds that a program may take to start where no clause says how long: dozens start at once, on a busy machine."""
TICK = 0.02
"""The least time that a parent's clock tells apart, by the specification's word on its defaults."""
STUB_PROGRAM = Path(__file__).parent / "stub_program.py"


class ParentUnderTest:
    """A parent under test."""

    def __init__(self, manifest: Manifest, values: Mapping[str, str], log: Path, program: Path = STUB_PROGRAM) -> None:
        self.manifest = manifest
        self._log = log
        self._directory = tempfile.TemporaryDirectory(prefix="bc-")
        self._clients: list[socket.socket] = []
        self.stubs: list[StubWorker] = []
        self.workers: list[StubWorker] = []
        """Those that :meth:`gather` greeted, by slot."""
        self.witness: StubWorker | None = None
        self.control = socket.socket(socket.AF_UNIX)
        self.control.bind(f"{self._directory.name}/control")
        self.control.listen(128)
        self.control.settimeout(LIMIT * scale())
        self.status_path = f"{self._directory.name}/status"
        role = manifest.roles["parent"]
        worker = shlex.join([sys.executable, "-I", "-S", str(program), f"{self._directory.name}/control"])
        options = {**unless_set(), "status": self.status_path, "worker": worker, **values}
        if not options["policy"]:
            options["policy"] = "lowest" if options["capacity"] == "1" else "least-loaded"
        self.options = options
        self.has_status = "status" in role.placeholders
        environment = {key: manifest.fill(value, options) for key, value in role.environment.items()}
        command = [manifest.fill(word, options) for word in role.command()]
        self.process = processes.start(command, {"BACKCHANNEL_STRAY": "1", **environment}, log)

    # ------------------------------------------------------------------------------------ workers

    def stub(self, requirement: str = "", seconds: float = LIMIT) -> StubWorker:
        """The next worker that the parent has started.

        If none comes, ``requirement`` is violated; without one, :class:`ContractError` is raised.
        """
        deadline = deadline_in(seconds if requirement else START_LIMIT)
        with selectors.DefaultSelector() as selector:
            selector.register(self.control, selectors.EVENT_READ)
            while not selector.select(0.05):
                if not requirement and self.process.poll() is not None:
                    raise ContractError(f"the parent started no worker, and exited: {self._last_words()}")
                if time.monotonic() > deadline:
                    if requirement:
                        raise RequirementViolated(requirement, f"no worker was started within {seconds * scale():g} s")
                    raise ContractError(
                        f"the parent started no worker within {START_LIMIT * scale():g} s; {self._last_words()}"
                    )
        control = self.control.accept()[0]
        try:
            made = StubWorker(control, self.process, self.stubs)
        except BaseException:
            control.close()
            raise
        for earlier in self.stubs:
            if earlier.slot == made.slot and not processes.ended(earlier.pid):
                raise RequirementViolated("BC-KILL-05", f"{made} was started while {earlier} had not been waited for")
        self.stubs.append(made)
        return made

    def gather(self, count: int, capacity: int | Sequence[int] = 1) -> list[StubWorker]:
        """Wait for ``count`` workers and one more, and greet the ``count`` with the lowest slots."""
        found = sorted((self.stub() for _ in range(count + 1)), key=lambda stub: stub.slot)
        self.workers, self.witness = found[:count], found[count]
        for at, stub in enumerate(self.workers):
            stub.greet(capacity if isinstance(capacity, int) else capacity[at])
        return self.workers

    def barrier(self, by: StubWorker | None = None) -> None:
        """Two exchanges with a worker that was held back: the parent has read and decided all that came before.

        ``by``: with this one instead, which must be the one that the parent picks. It serves two clients.
        """
        if by is not None:
            for _ in range(2):
                self.connect()
                by.order("BC-PEND-05")
                by.take()
                by.finish()
            return
        witness, self.witness = self.witness or self.stub(), None
        witness.hello(1)
        witness.order("BC-HELLO-04")
        witness.answer(0, capacity=0)
        witness.drained("BC-CAP-03")
        witness.leave(0)

    def ordered(
        self, stubs: Sequence[StubWorker], requirement: str, seconds: float = LIMIT
    ) -> tuple[StubWorker, frames.Frame]:
        """The first of ``stubs`` that is sent something, and what. If none is in time, ``requirement`` is violated."""
        deadline = deadline_in(seconds)
        while True:
            for stub in stubs:
                if stub.waiting():
                    return stub, stub.order(requirement)
            if time.monotonic() > deadline:
                slots = ", ".join(str(stub.slot) for stub in stubs)
                nothing = f"none of slots {slots} was ordered within {seconds * scale():g} s"
                raise RequirementViolated(requirement, "; ".join((nothing, *instead(self.stubs))))
            time.sleep(0.002)

    # ------------------------------------------------------------------------------------ clients

    def connect(self, count: int = 1, listener: int = 0) -> list[socket.socket]:
        """Clients that have connected, and say nothing."""
        address = self.stubs[0].addresses[listener]
        made = [socket.create_connection(address, timeout=15 * scale()) for _ in range(count)]
        self._clients += made
        return made

    # ------------------------------------------------------------------------------- what it says

    def log(self) -> str:
        """What it has written so far, or the end of it if it is long."""
        return tail(self._log, 1 << 20)

    def logged(self, requirement: str, *words: str) -> None:
        """A line of its log must hold all of ``words``; a number at the end of one must not go on in the line."""
        patterns = [re.compile(re.escape(word) + r"(?!\d)") for word in words]

        def said() -> bool:
            return any(all(pattern.search(line) for pattern in patterns) for line in self.log().splitlines())

        try:
            until(said, LIMIT, what="it")
        except TimedOut:
            wanted = " and ".join(repr(word) for word in words)
            last = tail(self._log) or "(nothing)"
            raise RequirementViolated(
                requirement, f"no line of the log holds {wanted}; the log ends:\n{last}"
            ) from None

    def counters(self) -> dict[str, int]:
        """The counters of its status document."""
        return dict(status_document.read(self.status_path).counters)

    def more(self) -> bool:
        """Whether it has started a worker that the case has not met."""
        with selectors.DefaultSelector() as selector:
            selector.register(self.control, selectors.EVENT_READ)
            return bool(selector.select(0))

    def reaped(self, stub: StubWorker) -> None:
        """Wait until it has waited for a worker that exits: one whose channel has ended may be dying still."""
        until(lambda: processes.ended(stub.pid), what=f"the parent to wait for process {stub.pid}")

    def signal(self, number: int) -> None:
        """Send it a signal."""
        self.process.send_signal(number)

    def freeze(self) -> None:
        """Stop it while it sleeps, and wait until it has stopped.

        A pass that is half done when it stops has read what there was, and goes on with that: it would judge a deadline
        that passes meanwhile by reports that were there before.
        """
        until(lambda: kernel.state(self.process.pid) == "S", what="the parent to sleep")
        self.signal(signal.SIGSTOP)
        until(lambda: kernel.state(self.process.pid) == "T", what="the parent to stop")

    def freeze_between_passes(self) -> None:
        """Stop it while it sleeps and has nothing to do: the worker that takes the place of one that a barrier has used
        up is waited for.
        """
        self.witness = self.witness or self.stub()
        self.freeze()

    @contextlib.contextmanager
    def asleep(self, moment: float) -> Iterator[float]:
        """Stop it while this context lasts, and until ``moment`` has passed, by the monotonic clock. Tells since when.

        It then finds at once what was written meanwhile and every deadline up to ``moment`` passed, however slow the
        machine is. So a barrier shows what it has made of a deadline, and nobody has to say how soon that must be.
        """
        self.freeze()
        try:
            yield time.monotonic()
            while (left := moment + TICK - time.monotonic()) > 0:
                time.sleep(left)
        finally:
            self.signal(signal.SIGCONT)

    def wait(self, requirement: str, seconds: float = LIMIT) -> int:
        """Its exit status. If it does not exit, ``requirement`` is violated."""
        try:
            return self.process.wait(seconds * scale())
        except subprocess.TimeoutExpired:
            raise RequirementViolated(requirement, f"the parent had not exited after {seconds * scale():g} s") from None

    def close(self) -> None:
        """End it and all its workers."""
        processes.end(self.process)
        for stub in self.stubs:
            stub.close()
        for client in self._clients:
            client.close()
        self.control.close()
        self._directory.cleanup()

    def _last_words(self) -> str:
        status = self.process.poll()
        how = "it is still running" if status is None else f"its exit status is {status}"
        last = tail(self._log)
        return f"{how}; its output ends:\n{last}" if last else f"{how}, and it wrote nothing"
