"""One worker of a parent under test, played by the suite: each step is a command to the process that the parent has
started, :mod:`~backchannel_conformance.stub_program`.

Each order that it reads is judged: its octets, its number, and that it fits the room that the stub has reported.
"""

from __future__ import annotations

import contextlib
import json
import signal
import socket
import subprocess
from collections.abc import Iterable, Iterator
from typing import Any

from . import frames, processes, transcript
from .errors import ContractError, RequirementViolated, check
from .waiting import scale

__all__ = ["StubWorker", "instead"]

LIMIT = 10.0
STARVED = 60.0
"""Seconds after which a stub that says nothing is given up."""
LAST = 6
"""Frames that are shown where one was due and did not come."""
LONGEST = 1 << 20
"""Characters of a line that the program says: a thousand frames have less."""

# what a worker would call a violation, as the clause that its parent broke
_SENDERS = {"BC-FRAME-03": "BC-FRAME-02", "BC-VER-06": "BC-VER-04"}


class StubWorker:
    """One worker of the pool, as the suite plays it."""

    def __init__(self, control: socket.socket, parent: subprocess.Popen[bytes], others: Iterable[StubWorker]) -> None:
        self._control = control
        self._parent = parent
        self._others = others
        self._lines = control.makefile("rw", encoding="utf-8")
        self._unread = 0
        """Answers to what :meth:`begin` had it do, which nobody has read."""
        control.settimeout(STARVED * scale())
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
        self.unanswered: frames.Frame | None = None
        self._last_order = 0

    def __str__(self) -> str:
        return f"the worker in slot {self.slot} (pid {self.pid})"

    def call(self, do: str, **arguments: Any) -> dict[str, Any]:
        """Have it do something, and return its answer. Raises :class:`ContractError` when it is not there any more."""
        try:
            self._lines.write(json.dumps({"do": do, **arguments}) + "\n")
            self._lines.flush()
            while self._unread:
                self._unread -= 1
                self._line()
            line = self._line()
        except TimeoutError:
            raise ContractError(f"{self} was told to {do}, and does not say that it has: is it stopped?") from None
        except OSError:
            line = ""
        if not line:
            raise ContractError(f"{self} has gone, and could not {do}")
        answer: dict[str, Any] = json.loads(line)
        if "blocks" in answer:
            check(do != "accept", "BC-FORK-14", f"{self} was told to accept, and the call blocked")
            raise ContractError(f"{self} was told to {do}, and a call that should not have blocked did")
        return answer

    def _line(self) -> str:
        """What it says next. The parent could connect in its place, and say anything."""
        line = self._lines.readline(LONGEST)
        if len(line) == LONGEST:
            raise ContractError(f"a stub said more than {LONGEST} characters in a line: it is not the suite's")
        return line

    def begin(self, do: str, **arguments: Any) -> None:
        """Have it do something, and do not wait for its answer: it may go on until it is told something else."""
        self._lines.write(json.dumps({"do": do, **arguments}) + "\n")
        self._lines.flush()
        self._unread += 1

    # ------------------------------------------------------------------------------------ sending

    def write(self, *pieces: bytes | frames.Frame) -> None:
        """Write to the channel, each piece with a write of its own."""
        for piece in pieces:
            octets = piece.octets if isinstance(piece, frames.Frame) else piece
            transcript.note(f"W{self.slot}", octets)
            with self._unless_killed("BC-VIOL-01"):
                self.call("write", octets=octets.hex())

    @contextlib.contextmanager
    def _unless_killed(self, requirement: str) -> Iterator[None]:
        """A parent that kills a worker out of turn violates ``requirement``. One that has crashed is an error."""
        try:
            yield
        except ContractError:
            if self._parent.poll() in (None, 0):
                raise RequirementViolated(
                    requirement, f"the worker in slot {self.slot} was killed, having broken nothing"
                ) from None
            raise

    def err(self, *pieces: bytes | frames.Frame) -> None:
        """Write what it is to be killed for: it may be gone before it can say that it has written."""
        for piece in pieces:
            octets = piece.octets if isinstance(piece, frames.Frame) else piece
            transcript.note(f"W{self.slot}", octets)
            with contextlib.suppress(OSError):
                self.begin("write", octets=octets.hex())

    def hello(self, capacity: int = 1, features: int = 0) -> None:
        """Ready to serve."""
        self.capacity = capacity
        self.write(frames.hello(capacity, features=features))

    def greet(self, capacity: int = 1, features: int = 0) -> None:
        """Hello, welcome, and its answer."""
        self.hello(capacity, features)
        welcome = self.order("BC-HELLO-04")
        check(not welcome.max, "BC-HELLO-04", f"the welcome is {welcome}, not max=0")
        self.answer(0)

    def answer(
        self, accepted: int, reason: int | None = None, *, ended: int = 0, capacity: int | None = None
    ) -> frames.Frame:
        """Answer the unanswered order; ``ended`` connections are folded in. ``reason``: by default one that fits."""
        frame = self.busy(accepted, reason, ended=ended, capacity=capacity)
        self.write(frame)
        return frame

    def busy(
        self, accepted: int, reason: int | None = None, *, ended: int = 0, capacity: int | None = None
    ) -> frames.Frame:
        """The answer to the unanswered order, which is taken as sent."""
        order = self.unanswered
        assert order is not None, "the case answers an order that it did not read"
        if reason is None:
            reason = frames.FILLED if accepted == order.max else frames.EMPTY
        self.unanswered = None
        self.open += accepted - ended
        self.capacity = self.capacity if capacity is None else capacity
        return frames.busy(order.order, accepted, reason, self.open, self.capacity)

    def status(self, open: int, capacity: int | None = None) -> None:
        """``GONE`` or ``IDLE``, as it must be."""
        self.open = open
        self.capacity = self.capacity if capacity is None else capacity
        self.write(frames.gone(open, self.capacity) if open else frames.idle(self.capacity))

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

    def frame(self, requirement: str, seconds: float = LIMIT) -> frames.Frame | None:
        """The next frame, judged; ``None`` at the end of the channel.

        If nothing comes in time, ``requirement`` is violated.
        """
        with self._unless_killed(requirement):
            said = self.call("read", count=frames.SIZE, seconds=seconds * scale())
        octets = bytes.fromhex(said["octets"])
        if len(octets) < frames.SIZE:
            slot = str(self)
            if said["ended"] == "time":
                nothing = f"nothing came to {slot} within {seconds * scale():g} s"
                raise RequirementViolated(
                    requirement, "; ".join((nothing, *instead(other for other in self._others if other is not self)))
                )
            check(not octets, "BC-FRAME-01", f"the channel of {slot} ended within a frame: {octets.hex()}")
            return None
        return self._judge(octets)

    def _doing(self) -> str:
        """What it has been sent, read by the case or not, and has not answered."""
        if self.unanswered is not None:
            return f"has not answered {self.unanswered}"
        with contextlib.suppress(ContractError):
            if self.waiting():
                said = self.call("read", count=frames.SIZE, seconds=0)
                octets = bytes.fromhex(said["octets"])
                return f"was sent {frames.Frame.parse(octets) if len(octets) == frames.SIZE else 'end-of-file'}"
        return ""

    def order(self, requirement: str, seconds: float = LIMIT) -> frames.Frame:
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
            raise RequirementViolated(requirement, f"slot {self.slot} was sent {what}, although {why}")

    def _judge(self, octets: bytes) -> frames.Frame:
        transcript.note(f"P{self.slot}", octets)
        try:
            frames.decode(octets, "parent", first=not self._last_order)
        except frames.Violation as violation:
            clause = _SENDERS.get(violation.requirement, violation.requirement)
            raise RequirementViolated(clause, f"{octets.hex()}: {violation}") from None
        frame = frames.Frame.parse(octets)
        slot = f"to slot {self.slot}"
        due = self._last_order + 1
        check(
            frame.order == due,
            "BC-ACCEPT-01" if due == 1 else "BC-ACCEPT-06",
            f"{frame} {slot}, where order {due} was due",
        )
        count = len(self.addresses)
        check(frame.listener < count, "BC-ACCEPT-02", f"{frame} {slot}, of {count} listeners")
        check(not frame.listener or frame.max > 0, "BC-ACCEPT-08", f"{frame} {slot}")
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

    def leave(self, status: int, *last: frames.Frame) -> None:
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
        except ContractError:
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
            self._control.settimeout(STARVED * scale())

    def close(self) -> None:
        """Let go of it."""
        with contextlib.suppress(OSError):
            self._lines.close()
        self._control.close()


def instead(workers: Iterable[StubWorker]) -> Iterator[str]:
    """What the parent has done instead of what was due: who was sent what, and what went over the channels last."""
    for worker in workers:
        if doing := worker._doing():
            yield f"{worker} {doing}"
    if last := transcript.lines()[-LAST:]:
        yield "the last frames:\n  " + "\n  ".join(last)
