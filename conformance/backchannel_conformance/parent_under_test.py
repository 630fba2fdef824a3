"""Role *parent*: the suite plays every worker. What the parent under test starts is a stub
(:mod:`~backchannel_conformance.stub_worker`), and each stub does, step by step, what a case says.

What must *not* happen is shown by :meth:`ParentUnderTest.barrier`: one more worker, which was held back, says hello, is
welcomed, retires in its answer and is drained. By then the parent has read all that was written before, and has decided
about it.
"""

from __future__ import annotations

import os
import re
import selectors
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from . import frames, kernel, processes, status_document
from .errors import ContractError, RequirementViolated
from .manifest import DEFAULTS, Manifest
from .port_output import tail
from .stub_worker import StubWorker
from .waiting import TimedOut, deadline_in, scale, until

__all__ = ["ParentUnderTest"]

LIMIT = 10.0
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
        self.status_path = f"{self._directory.name}/status"
        role = manifest.roles["parent"]
        worker = shlex.join([sys.executable, "-I", "-S", str(program), f"{self._directory.name}/control"])
        options = {**DEFAULTS, "status": self.status_path, "worker": worker, **values}
        if not options["policy"]:
            options["policy"] = "lowest" if options["capacity"] == "1" else "least-loaded"
        self.options = options
        self.has_status = "status" in role.placeholders
        environment = {key: manifest.fill(value, options) for key, value in role.environment.items()}
        with log.open("wb") as stream:
            self.process: subprocess.Popen[bytes] = subprocess.Popen(
                [manifest.fill(word, options) for word in role.command()],
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=subprocess.STDOUT,
                env={**os.environ, "BACKCHANNEL_STRAY": "1", **environment},
                start_new_session=True,
            )

        processes.note(self.process.pid)

    # ------------------------------------------------------------------------------------ workers

    def stub(self, requirement: str = "", seconds: float = LIMIT) -> StubWorker:
        """The next worker that the parent has started.

        If none comes, ``requirement`` is violated; without one, :class:`ContractError` is raised.
        """
        deadline = deadline_in(seconds if requirement else 20)
        with selectors.DefaultSelector() as selector:
            selector.register(self.control, selectors.EVENT_READ)
            while not selector.select(0.05):
                if not requirement and self.process.poll() is not None:
                    raise ContractError(f"the parent started no worker, and exited: {self._last_words()}")
                if time.monotonic() > deadline:
                    if requirement:
                        raise RequirementViolated(requirement, f"no worker was started within {seconds * scale():g} s")
                    raise ContractError(f"the parent started no worker within 20 s; {self._last_words()}")
        control = self.control.accept()[0]
        try:
            made = StubWorker(control, self.process)
        except BaseException:
            control.close()
            raise
        self.stubs.append(made)
        return made

    def gather(self, count: int, capacity: int | Sequence[int] = 1) -> list[StubWorker]:
        """Wait for ``count`` workers and one more, and greet the ``count`` with the lowest slots."""
        found = sorted((self.stub() for _ in range(count + 1)), key=lambda stub: stub.slot)
        self.workers, self.witness = found[:count], found[count]
        for at, stub in enumerate(self.workers):
            stub.greet(capacity if isinstance(capacity, int) else capacity[at])
        return self.workers

    def barrier(self) -> None:
        """Two exchanges with a worker that was held back: the parent has read and decided all that came before."""
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
                raise RequirementViolated(
                    requirement, f"none of slots {slots} was ordered within {seconds * scale():g} s"
                )
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

    def signal(self, number: int) -> None:
        """Send it a signal."""
        self.process.send_signal(number)

    def freeze(self) -> None:
        """Stop it, and wait until it has stopped."""
        self.signal(signal.SIGSTOP)
        until(lambda: kernel.state(self.process.pid) == "T", what="the parent to stop")

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
