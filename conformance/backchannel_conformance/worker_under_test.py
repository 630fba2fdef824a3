"""Role *worker*: the suite plays the parent.

It starts the worker by the exec binding, and sends it whatever a case wants. Every frame that comes back is judged:
its octets, the order that it answers, and whether its figures follow from those before. So each case checks more than
it is about. A case that waits for a frame says which requirement is violated if none comes.
"""

from __future__ import annotations

import contextlib
import os
import select
import selectors
import signal
import socket
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from . import exec_binding, frames, processes, transcript
from .client import Client, Held, NoAnswer, refused
from .errors import ContractError, RequirementViolated, check
from .kernel import handles
from .manifest import Manifest, unless_set
from .port_output import tail
from .waiting import TimedOut, deadline_in, scale, until

__all__ = ["HELLO_LIMIT", "WorkerUnderTest"]

LIMIT = 10.0
HELLO_LIMIT = 60.0
"""Seconds until a worker says hello: its start, on a busy machine."""
PROPER = (0, 76, 78)
"""The exit statuses by which a worker says why it ends."""

# what a receiver would call a violation, as the clause that its sender broke
_SENDERS = {
    "BC-HELLO-03": "BC-HELLO-01",
    "BC-FRAME-03": "BC-FRAME-02",
    "BC-STATUS-06": "BC-STATUS-08",
}


class NothingCame(RequirementViolated):
    """Nothing came where something was due."""


class WorkerUnderTest:
    """One worker under test.

    ``listeners`` belong to the caller. ``small`` makes the channel as small as the system lets it be.
    """

    def __init__(
        self,
        manifest: Manifest,
        log: Path,
        listeners: Sequence[socket.socket],
        *,
        capacity: int = 1,
        drain_deadline: float = 30,
        quota: int = 0,
        small: bool = False,
        environment: Mapping[str, str] | None = None,
        channel: bool = True,
        blocks: bool = True,
    ) -> None:
        self.manifest = manifest
        self.log = log
        self.listeners = list(listeners)
        self.open, self.capacity = 0, 0
        self.orders: deque[tuple[int, int]] = deque()
        self.statuses: list[frames.Frame] = []
        """Statuses that came before an answer that was waited for."""
        self.at_end = False
        """Whether :meth:`arrived` has met the end of the channel."""
        self.greeted = False
        self.welcomed = False
        self._last_order = 0
        self._buffer = b""
        self._status: int | None = None
        self._reaped = False
        self.channel, theirs = socket.socketpair()
        theirs.setblocking(blocks)
        if small:
            for end in (self.channel, theirs):
                end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)
                end.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
        role = manifest.roles["worker"]
        values = {**unless_set(), "quota": str(quota)}
        given = {key: manifest.fill(value, values) for key, value in role.environment.items()}
        told = (
            exec_binding.variables(0, capacity, len(self.listeners), drain_deadline)
            if environment is None
            else environment
        )
        template = role.command("command" if capacity == 1 else "command_event")
        sockets = [theirs, *self.listeners] if channel else []
        try:
            self.pid = exec_binding.start(
                [manifest.fill(word, values) for word in template], sockets, {**given, **told}, log
            )
        finally:
            theirs.close()
        processes.note(self.pid)
        self.channel.setblocking(False)
        self.client = Client(self.listeners[0].getsockname())

    def address(self, listener: int = 0) -> tuple[str, int]:
        """Where a client reaches one of its listeners."""
        host, port = self.listeners[listener].getsockname()
        return host, port

    # ------------------------------------------------------------------------------------ sending

    def send(self, *octets: bytes | frames.Frame) -> None:
        """Write to the channel, each piece with a write of its own."""
        for piece in octets:
            rest = piece.octets if isinstance(piece, frames.Frame) else piece
            transcript.note("P", rest)
            deadline = deadline_in(LIMIT)
            while rest:
                try:
                    rest = rest[self.channel.send(rest) :]
                except BlockingIOError:
                    if time.monotonic() > deadline:
                        raise ContractError("the worker does not read its channel") from None
                    time.sleep(0.001)

    def accept(self, max: int, listener: int = 0) -> frames.Frame:
        """The next order, which is taken as sent."""
        self._last_order += 1
        self.orders.append((self._last_order, max))
        return frames.accept(self._last_order, max, listener)

    def order(self, max: int, listener: int = 0) -> None:
        """Send an order."""
        self.send(self.accept(max, listener))

    # ----------------------------------------------------------------------------------- receiving

    def frame(self, requirement: str, seconds: float = LIMIT) -> frames.Frame | None:
        """The next frame, judged; ``None`` at the end of the channel.

        If nothing comes in time, ``requirement`` is violated.
        """
        deadline = deadline_in(seconds)
        with selectors.DefaultSelector() as selector:
            selector.register(self.channel, selectors.EVENT_READ)
            while len(self._buffer) < frames.SIZE:
                if not selector.select(max(0.0, deadline - time.monotonic())):
                    raise NothingCame(requirement, f"nothing came from the worker within {seconds * scale():g} s")
                try:
                    part = self.channel.recv(4096)
                except ConnectionResetError:
                    part = b""
                if not part:
                    check(not self._buffer, "BC-FRAME-01", f"the channel ended within a frame: {self._buffer.hex()}")
                    return None
                self._buffer += part
        octets, self._buffer = self._buffer[: frames.SIZE], self._buffer[frames.SIZE :]
        return self._judge(octets)

    def arrived(self) -> Iterator[frames.Frame]:
        """The frames that have come by now, without waiting; each is judged when it is taken."""
        while not self.at_end:
            try:
                part = self.channel.recv(4096)
            except BlockingIOError:
                break
            except ConnectionResetError:
                part = b""
            self.at_end = not part
            self._buffer += part
        found, self._buffer = frames.cut(self._buffer)
        cut = self.at_end and self._buffer
        check(not cut, "BC-FRAME-01", f"the channel ended within a frame: {self._buffer.hex()}")
        for octets in found:
            yield self._judge(octets)

    def must(self, requirement: str, seconds: float = LIMIT) -> frames.Frame:
        """The next frame. A channel that ends instead is an error, unless the exit status says why the worker ended."""
        frame = self.frame(requirement, seconds)
        if frame is None:
            with contextlib.suppress(TimedOut):
                until(self.gone, 2, what="the worker to exit")
            if self._status in PROPER:
                raise RequirementViolated(requirement, f"the worker ended instead; {self._last_words()}")
            raise ContractError(f"the worker ended its channel; {self._last_words()}")
        return frame

    def answer(self, requirement: str = "BC-BUSY-01") -> frames.Frame:
        """The answer to the oldest unanswered order. Statuses that come before it are kept in :attr:`statuses`."""
        while (frame := self.must(requirement)).type != frames.BUSY:
            self.statuses.append(frame)
        return frame

    def status(self, requirement: str = "BC-STATUS-01", seconds: float = LIMIT) -> frames.Frame:
        """The next frame, which must be a status."""
        frame = self.must(requirement, seconds)
        check(frame.type in (frames.GONE, frames.IDLE), requirement, f"a status was due, and {frame} came")
        return frame

    def reported(self, busy: frames.Frame) -> None:
        """The status that tells of the end of what ``busy`` has taken, unless that was folded in (BC-BUSY-05)."""
        if busy.open:
            self.status()

    def ended(self, requirement: str, why: str = "", seconds: float = LIMIT) -> None:
        """The channel must end, without another frame; ``why`` says what the worker met."""
        frame = self.frame(requirement, seconds)
        check(frame is None, requirement, f"{why}{frame} came instead of the end")

    def barrier(self) -> list[frames.Frame]:
        """An order that attempts nothing, and its answer; the statuses that came before it."""
        self.statuses.clear()
        self.order(0)
        self.answer()
        return list(self.statuses)

    def greet(self) -> frames.Frame:
        """Hello and welcome; returns the hello. A worker that says nothing at all is an error: it cannot be tested."""
        try:
            hello = self.must("BC-HELLO-01", HELLO_LIMIT)
        except NothingCame:
            raise ContractError(
                f"the worker did not say hello within {HELLO_LIMIT * scale():g} s; {self._last_words()}"
            ) from None
        self.order(0)
        self.answer("BC-BUSY-01")
        return hello

    def _judge(self, octets: bytes) -> frames.Frame:
        transcript.note("W", octets)
        first = not self.greeted
        try:
            frames.decode(octets, "worker", first=first)
        except frames.Violation as violation:
            second = violation.requirement == "BC-HELLO-03" and not first
            clause = "BC-HELLO-02" if second else _SENDERS.get(violation.requirement, violation.requirement)
            raise RequirementViolated(clause, f"{octets.hex()}: {violation}") from None
        frame = frames.Frame.parse(octets)
        if first:
            self.greeted = True
            self.capacity = frame.capacity
            return frame
        if frame.type == frames.BUSY:
            self._judge_answer(frame)
        else:
            check(self.welcomed, "BC-HELLO-05", f"{frame} came before the answer to the welcome")
            check(frame.open <= self.open, "BC-STATUS-01", f"{frame} came while {self.open} were open")
            same = (frame.open, frame.capacity) == (self.open, self.capacity)
            check(not same, "BC-STATUS-02", f"{frame} changes nothing")
        check(self.capacity > 0 or not frame.capacity, "BC-CAP-05", f"{frame} came after capacity 0, which is final")
        self.open, self.capacity = frame.open, frame.capacity
        return frame

    def _judge_answer(self, frame: frames.Frame) -> None:
        check(bool(self.orders), "BC-BUSY-01", f"{frame} answers no order")
        order, most = self.orders.popleft()
        check(frame.order == order, "BC-BUSY-07", f"{frame} came where the answer to order {order} was due")
        check(frame.accepted <= most, "BC-BUSY-03", f"{frame} answers an order for {most}")
        filled = frame.accepted == most
        fits = filled is (frame.reason == frames.FILLED)
        check(fits, "BC-BUSY-04" if filled else "BC-BUSY-09", f"{frame} answers an order for {most}")
        limit = self.open + frame.accepted
        check(frame.open <= limit, "BC-STATUS-01", f"{frame} came where at most {limit} can be open")
        self.welcomed = True

    def serves(self, held: Held, requirement: str) -> None:
        """It must go on with a connection that it holds."""
        try:
            who = held.again()
        except (NoAnswer, OSError) as error:
            raise RequirementViolated(requirement, f"a connection that it holds did not go on: {error}") from None
        check(who.pid == self.pid, requirement, f"process {who.pid} serves what worker {self.pid} holds")

    # ------------------------------------------------------------------------------------- the end

    def half_close(self) -> None:
        """Drain it."""
        self.channel.shutdown(socket.SHUT_WR)

    def rest(self) -> int:
        """How many connections are pending on its first listener: the suite takes them.

        It never waits, even if the worker has made the listener block: that is one flag for all who hold it.
        """
        found = 0
        while select.select([self.listeners[0]], [], [], 0)[0]:
            with contextlib.suppress(BlockingIOError):
                self.listeners[0].accept()[0].close()
                found += 1
        return found

    def lets_go(self, requirement: str) -> None:
        """It must close its first listener; the suite closes its own as well. So the worker has read what was sent."""
        address = self.address()
        self.listeners[0].close()
        deadline = deadline_in(LIMIT)
        while not refused(address):
            check(time.monotonic() < deadline, requirement, "the worker keeps its listener")
            time.sleep(0.002)

    def gone(self) -> bool:
        """Whether it has exited."""
        if self._status is None:
            # not waited for until it is closed, if that can be: its group may be signalled until then
            self._status, self._reaped = handles.peek(self.pid)
        return self._status is not None

    def wait(self, requirement: str, seconds: float = LIMIT) -> int:
        """Its exit status. If it does not exit, ``requirement`` is violated."""
        deadline = deadline_in(seconds)
        while not self.gone():
            if time.monotonic() > deadline:
                raise RequirementViolated(requirement, f"the worker had not exited after {seconds * scale():g} s")
            time.sleep(0.002)
        assert self._status is not None
        return self._status

    def exits(self, status: int, requirement: str, seconds: float = LIMIT, *, why: str = "") -> None:
        """It must exit with ``status``; ``why`` says what the worker met."""
        found = self.wait(requirement, seconds)
        check(found == status, requirement, f"{why}the worker exited with status {found}, not {status}")

    def close(self) -> None:
        """End it, whatever it does."""
        self.client.close()
        self.channel.close()
        if not self._reaped:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, signal.SIGKILL)
            until(self.gone, 10, what="the killed worker to go")
        if not self._reaped:
            os.waitpid(self.pid, 0)
            self._reaped = True
        processes.forget(self.pid)

    def _last_words(self) -> str:
        last = tail(self.log)
        how = f"it exited with status {self._status}" if self.gone() else "it is still running"
        return f"{how}; its output ends:\n{last}" if last else f"{how}, and wrote nothing to its output"
