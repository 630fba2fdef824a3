"""Role *parent*: the suite is every worker. The parent under test starts stubs (:mod:`~backchannel_conformance.stub`),
and each does, step by step, what a case says.

Each order that a stub reads is judged: its octets, its number, that it fits the room that the stub has reported. What
must *not* happen is shown by :meth:`Under.barrier`: one more worker, which was held back, says hello, is welcomed,
retires in its answer and is drained. The parent has then read whatever was written before, and decided about it.
"""

from __future__ import annotations

import contextlib
import json
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
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from . import document, frames, kernel, processes, transcript, wire
from .errors import Broken, Failure, check
from .manifest import DEFAULTS, Manifest
from .text import tail
from .waiting import TimedOut, deadline_in, scale, until

__all__ = ["Stub", "Under"]

LIMIT = 10.0
LONGEST = 1 << 20
"""Characters of a line that a stub says: a thousand frames have less."""
PROGRAM = Path(__file__).parent / "stub.py"

# what a worker would call a violation, as the clause that its parent broke
_SENDERS = {"BC-FRAME-03": "BC-FRAME-02", "BC-VER-06": "BC-VER-04"}


class Stub:
    """One worker of the pool, at the suite's command."""

    def __init__(self, control: socket.socket, parent: subprocess.Popen[bytes]) -> None:
        self._control = control
        self._parent = parent
        self._lines = control.makefile("rw", encoding="utf-8")
        control.settimeout(20 * scale())
        said = json.loads(self._line())
        self.pid = processes.claimed(said["pid"], "whoever has connected to the suite's workers' socket says that it")
        self.started: float = said["started"]
        self.descriptors: list[tuple[int, str]] = [(fd, kind) for fd, kind in said["descriptors"]]
        self.variables: dict[str, str] = said["variables"]
        self.blocked: list[int] = said["blocked"]
        self.ignored: list[int] = said["ignored"]
        self.addresses = [tuple(address) for address in said["addresses"]]
        self.slot = int(self.variables["BACKCHANNEL_SLOT"])
        self.open, self.capacity = 0, 0
        self.unanswered: wire.Frame | None = None
        self._last_order = 0

    def call(self, do: str, **arguments: Any) -> dict[str, Any]:
        """Have it do something; what it says of it. Raises :class:`Failure` when it is not there any more."""
        try:
            self._lines.write(json.dumps({"do": do, **arguments}) + "\n")
            self._lines.flush()
            line = self._line()
        except OSError as error:
            line = ""
            del error
        if not line:
            raise Failure(f"the stub in slot {self.slot} (pid {self.pid}) has gone, and could not {do}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def _line(self) -> str:
        """What it says next. The parent could connect in its place, and say anything."""
        line = self._lines.readline(LONGEST)
        if len(line) == LONGEST:
            raise Failure(f"a stub said more than {LONGEST} characters in a line: it is not the suite's")
        return line

    def begin(self, do: str, **arguments: Any) -> None:
        """Have it do something that goes on until :meth:`close`."""
        self._lines.write(json.dumps({"do": do, **arguments}) + "\n")
        self._lines.flush()

    # ------------------------------------------------------------------------------------ sending

    def write(self, *pieces: bytes | wire.Frame) -> None:
        """Write to the channel, each piece with a write of its own."""
        for piece in pieces:
            octets = piece.octets if isinstance(piece, wire.Frame) else piece
            transcript.note(f"W{self.slot}", octets)
            with self._unless_killed("BC-VIOL-01"):
                self.call("write", octets=octets.hex())

    @contextlib.contextmanager
    def _unless_killed(self, requirement: str) -> Iterator[None]:
        """A parent that kills a worker out of turn breaks ``requirement``. One that has crashed is an error."""
        try:
            yield
        except Failure:
            if self._parent.poll() in (None, 0):
                raise Broken(requirement, f"the worker in slot {self.slot} was killed, having broken nothing") from None
            raise

    def err(self, *pieces: bytes | wire.Frame) -> None:
        """Write what it is to be killed for: it may be gone before it can say that it has written."""
        for piece in pieces:
            octets = piece.octets if isinstance(piece, wire.Frame) else piece
            transcript.note(f"W{self.slot}", octets)
            self.begin("write", octets=octets.hex())

    def hello(self, capacity: int = 1, features: int = 0) -> None:
        """Ready to serve."""
        self.capacity = capacity
        self.write(wire.hello(capacity, features=features))

    def greet(self, capacity: int = 1, features: int = 0) -> None:
        """Hello, welcome, and its answer."""
        self.hello(capacity, features)
        welcome = self.order("BC-HELLO-04")
        check(not welcome.max, "BC-HELLO-04", f"the welcome is {welcome}, not max=0")
        self.answer(0)

    def answer(
        self, accepted: int, reason: int | None = None, *, ended: int = 0, capacity: int | None = None
    ) -> wire.Frame:
        """Answer the unanswered order; ``ended`` connections are folded in. ``reason``: by default one that fits."""
        frame = self.busy(accepted, reason, ended=ended, capacity=capacity)
        self.write(frame)
        return frame

    def busy(
        self, accepted: int, reason: int | None = None, *, ended: int = 0, capacity: int | None = None
    ) -> wire.Frame:
        """The answer to the unanswered order, which is taken as sent."""
        order = self.unanswered
        assert order is not None, "the case answers an order that it did not read"
        if reason is None:
            reason = wire.FILLED if accepted == order.max else wire.EMPTY
        self.unanswered = None
        self.open += accepted - ended
        self.capacity = self.capacity if capacity is None else capacity
        return wire.busy(order.order, accepted, reason, self.open, self.capacity)

    def status(self, open: int, capacity: int | None = None) -> None:
        """``GONE`` or ``IDLE``, as it must be."""
        self.open = open
        self.capacity = self.capacity if capacity is None else capacity
        self.write(wire.gone(open, self.capacity) if open else wire.idle(self.capacity))

    def take(self) -> None:
        """Accept as often as the unanswered order says, and answer."""
        order = self.unanswered
        assert order is not None
        taken = sum(self.call("accept", listener=order.listener)["accepted"] for _ in range(order.max))
        self.answer(taken)

    def finish(self, count: int = 1) -> None:
        """Close connections that it accepted, the oldest first, and report."""
        for _ in range(count):
            with self._unless_killed("BC-VIOL-01"):
                self.call("finish")
        self.status(self.open - count)

    # ----------------------------------------------------------------------------------- receiving

    def frame(self, requirement: str, seconds: float = LIMIT) -> wire.Frame | None:
        """The next frame, judged; ``None`` at the end of the channel. Nothing in time breaks ``requirement``."""
        with self._unless_killed(requirement):
            said = self.call("read", count=wire.SIZE, seconds=seconds * scale())
        octets = bytes.fromhex(said["octets"])
        if len(octets) < wire.SIZE:
            slot = f"the worker in slot {self.slot}"
            check(said["ended"] != "time", requirement, f"nothing came to {slot} within {seconds * scale():g} s")
            check(not octets, "BC-FRAME-01", f"the channel of {slot} ended within a frame: {octets.hex()}")
            return None
        return self._judge(octets)

    def order(self, requirement: str, seconds: float = LIMIT) -> wire.Frame:
        """The next order."""
        frame = self.frame(requirement, seconds)
        check(frame is not None, requirement, f"the channel of slot {self.slot} ended where an order was due")
        assert frame is not None
        return frame

    def drained(self, requirement: str, seconds: float = LIMIT) -> None:
        """Its channel must end, without another order."""
        frame = self.frame(requirement, seconds)
        check(frame is None, requirement, f"{frame} came to slot {self.slot} instead of the end of the channel")

    def waiting(self) -> bool:
        """Whether there is something to read, an order or the end."""
        said = self.call("peek")
        return bool(said["ready"])

    def quiet(self, requirement: str, why: str) -> None:
        """Nothing may have been sent to it."""
        if self.waiting():
            frame = self.frame(requirement)
            what = "the end of its channel" if frame is None else str(frame)
            raise Broken(requirement, f"slot {self.slot} was sent {what}, although {why}")

    def _judge(self, octets: bytes) -> wire.Frame:
        transcript.note(f"P{self.slot}", octets)
        try:
            frames.decode(octets, "parent", first=not self._last_order)
        except frames.Wrong as wrong:
            raise Broken(_SENDERS.get(wrong.requirement, wrong.requirement), f"{octets.hex()}: {wrong}") from None
        frame = wire.Frame.parse(octets)
        slot = f"to slot {self.slot}"
        due = self._last_order + 1
        check(frame.order == due, "BC-ACCEPT-01", f"{frame} {slot}, where order {due} was due")
        count = len(self.addresses)
        check(frame.listener < (count if frame.max else 1), "BC-ACCEPT-02", f"{frame} {slot}, of {count} listeners")
        check(self.unanswered is None, "BC-ORDER-01", f"{frame} {slot}, which has not answered {self.unanswered}")
        room = self.capacity - self.open
        check(frame.max <= max(room, 0), "BC-ACCEPT-03", f"{frame} {slot}, which has room for {room}")
        self._last_order = frame.order
        self.unanswered = frame
        return frame

    # ------------------------------------------------------------------------------------- the end

    def kill(self) -> None:
        """SIGKILL."""
        processes.send(self.pid, signal.SIGKILL)

    def leave(self, status: int, *last: wire.Frame) -> None:
        """Write ``last`` and exit at once."""
        octets = b"".join(frame.octets for frame in last).hex()
        self.begin("leave", status=status, octets=octets)

    def killed(self, requirement: str, why: str, seconds: float = LIMIT) -> None:
        """The parent must end it."""
        check(self.is_gone(seconds), requirement, f"{why}, and the worker in slot {self.slot} was not killed")

    def alive(self) -> bool:
        """Whether it is still there."""
        try:
            self.call("peek")
        except Failure:
            return False
        return True

    def is_gone(self, seconds: float) -> bool:
        """Whether its process ends within ``seconds``."""
        self._control.settimeout(seconds * scale())
        try:
            while self._line():
                pass
            return True
        except TimeoutError:
            return False
        except OSError:
            return True
        finally:
            self._control.settimeout(20 * scale())

    def close(self) -> None:
        """Let go of it."""
        with contextlib.suppress(OSError):
            self._lines.close()
        self._control.close()


class Under:
    """A parent under test."""

    def __init__(self, manifest: Manifest, values: Mapping[str, str], log: Path) -> None:
        self.manifest = manifest
        self._log = log
        self._directory = tempfile.TemporaryDirectory(prefix="bc-")
        self._clients: list[socket.socket] = []
        self.stubs: list[Stub] = []
        self.workers: list[Stub] = []
        """Those that :meth:`gather` greeted, by slot."""
        self.witness: Stub | None = None
        self._control = socket.socket(socket.AF_UNIX)
        self._control.bind(f"{self._directory.name}/control")
        self._control.listen(128)
        self.status_path = f"{self._directory.name}/status"
        role = manifest.roles["parent"]
        worker = shlex.join([sys.executable, "-I", "-S", str(PROGRAM), f"{self._directory.name}/control"])
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

    def stub(self, requirement: str = "", seconds: float = LIMIT) -> Stub:
        """The next worker that the parent has started.

        That none comes breaks ``requirement``; without one it is an error of the set-up.
        """
        deadline = deadline_in(seconds if requirement else 20)
        with selectors.DefaultSelector() as selector:
            selector.register(self._control, selectors.EVENT_READ)
            while not selector.select(0.05):
                if not requirement and self.process.poll() is not None:
                    raise Failure(f"the parent started no worker, and exited: {self._last_words()}")
                if time.monotonic() > deadline:
                    if requirement:
                        raise Broken(requirement, f"no worker was started within {seconds * scale():g} s")
                    raise Failure(f"the parent started no worker within 20 s; {self._last_words()}")
        control = self._control.accept()[0]
        try:
            made = Stub(control, self.process)
        except BaseException:
            control.close()
            raise
        self.stubs.append(made)
        return made

    def gather(self, count: int, capacity: int | Sequence[int] = 1) -> list[Stub]:
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

    def ordered(self, stubs: Sequence[Stub], requirement: str, seconds: float = LIMIT) -> tuple[Stub, wire.Frame]:
        """The first of ``stubs`` that is sent something, and what; nobody in time breaks ``requirement``."""
        deadline = deadline_in(seconds)
        while True:
            for stub in stubs:
                if stub.waiting():
                    return stub, stub.order(requirement)
            if time.monotonic() > deadline:
                slots = ", ".join(str(stub.slot) for stub in stubs)
                raise Broken(requirement, f"nobody of slots {slots} was ordered within {seconds * scale():g} s")
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
        """What it has written so far; the end of it, if that is much."""
        return tail(self._log, 1 << 20)

    def logged(self, requirement: str, *words: str) -> None:
        """A line of its log must hold all of ``words``; one that ends in a figure is not the beginning of a longer."""
        patterns = [re.compile(re.escape(word) + r"(?!\d)") for word in words]

        def said() -> bool:
            return any(all(pattern.search(line) for pattern in patterns) for line in self.log().splitlines())

        try:
            until(said, LIMIT, what="it")
        except TimedOut:
            wanted = " and ".join(repr(word) for word in words)
            last = tail(self._log) or "(nothing)"
            raise Broken(requirement, f"no line of the log holds {wanted}; the log ends:\n{last}") from None

    def counters(self) -> dict[str, int]:
        """The counters of its status document."""
        return dict(document.read(self.status_path).counters)

    def more(self) -> bool:
        """Whether it has started a worker that the case has not met."""
        with selectors.DefaultSelector() as selector:
            selector.register(self._control, selectors.EVENT_READ)
            return bool(selector.select(0))

    def signal(self, number: int) -> None:
        """Send it a signal."""
        self.process.send_signal(number)

    def freeze(self) -> None:
        """Stop it, and wait until it has stopped."""
        self.signal(signal.SIGSTOP)
        until(lambda: kernel.state(self.process.pid) == "T", what="the parent to stop")

    def wait(self, requirement: str, seconds: float = LIMIT) -> int:
        """Its exit status. That it does not exit breaks ``requirement``."""
        try:
            return self.process.wait(seconds * scale())
        except subprocess.TimeoutExpired:
            raise Broken(requirement, f"the parent had not exited after {seconds * scale():g} s") from None

    def close(self) -> None:
        """End it and all its workers."""
        processes.end(self.process)
        for stub in self.stubs:
            stub.close()
        for client in self._clients:
            client.close()
        self._control.close()
        self._directory.cleanup()

    def _last_words(self) -> str:
        status = self.process.poll()
        how = "it is still running" if status is None else f"its exit status is {status}"
        last = tail(self._log)
        return f"{how}; its output ends:\n{last}" if last else f"{how}, and it wrote nothing"
