"""The stage: a parent under test, whose workers are puppets, and the clients before its listeners.

:meth:`Stage.play` does one step of a scenario, and returns what the parent has to read of it. :meth:`Stage.settle`
waits until the parent has read all of it and sleeps. :meth:`Stage.look` says what the parent has done since it was
asked last. Inputs and actions have the form of the traces in ``spec/1.0/vectors/parent.json``.
"""

from __future__ import annotations

import contextlib
import itertools
import signal
import socket
import struct
import time
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ... import frames, kernel
from ...manifest import Manifest
from ...parent_under_test import ParentUnderTest
from ...waiting import TimedOut, deadline_in, scale, until
from .puppet import Puppet, introduce

__all__ = ["Line", "Stage"]

Line = dict[str, Any]
"""One line of a trace or one step of a scenario."""

PUPPET_PROGRAM = Path(__file__).parent / "puppet_program.py"
SETTLED = 10.0
BEGUN = 20.0
GRACE, LONG_GRACE = 0.1, 3.0
QUIET = 0.05
"""Seconds without news after which the parent is taken to have settled, where the system does not show it."""
PAUSE = 0.002
"""Seconds between two looks; longer than a parent may sleep with something to do (Python's own signals, batching)."""
RESET = struct.pack("ii", 1, 0)
CAN_SEE = ("activity", "children", "unread")


class Stage:
    """A parent that has been started with ``values`` (placeholders of the contract), and its puppets by slot."""

    def __init__(self, manifest: Manifest, values: Mapping[str, str], log: Path) -> None:
        self.parent = ParentUnderTest(manifest, values, log, PUPPET_PROGRAM)
        self.parent.control.setblocking(False)
        self.pid = self.parent.process.pid
        self.workers: dict[int, Puppet] = {}
        self.listeners: list[socket.socket] = []
        count = len(values.get("listen", "one").split(","))
        self._clients: list[deque[socket.socket]] = [deque() for _ in range(count)]
        self._news: list[Line] = []
        self._replaced: dict[int, Puppet] = {}
        """Those whose slots have got others in this step: what was done in it was done to them."""
        self._over = False
        self._strangers: set[int] = set()
        self._odd: set[int] = set()
        """Children of the parent that are no puppets, and puppets that are no children."""
        self._since = time.monotonic()
        """Since when they are the same."""
        self._sees = all(map(kernel.can, CAN_SEE))
        self.grace = (GRACE if self._sees else LONG_GRACE) * scale()
        """Seconds that one waits for what a parent should do that seems to have settled."""

    @property
    def pending(self) -> dict[int, int]:
        """Connections that wait, by listener."""
        return {at: len(clients) for at, clients in enumerate(self._clients)}

    def close(self) -> None:
        """End it all."""
        self.parent.close()
        for puppet in self.workers.values():
            puppet.release()
        for clients in self._clients:
            for client in clients:
                client.close()
        for listener in self.listeners:
            listener.close()

    def expect(self, count: int) -> None:
        """Wait until so many workers have been started, or the parent has ended: it may take long to begin."""

        def begun() -> bool:
            self._welcome()
            return len(self.workers) >= count or self.parent.process.poll() is not None

        with contextlib.suppress(TimedOut):
            until(begun, BEGUN, what="the first workers")

    # --------------------------------------------------------------------------------------------- steps

    def play(self, step: Line) -> list[Line] | None:
        """Do it; return what the parent has to read of it, ``None`` for what cannot be done now."""
        arguments = {name: value for name, value in step.items() if name != "do"}
        lines: list[Line] | None = getattr(self, f"_do_{step['do']}")(**arguments)
        return lines

    def _do_connect(self, listener: int = 0, count: int = 1) -> list[Line] | None:
        if listener >= len(self._clients) or not self.listeners:
            return None
        address = self.listeners[listener].getsockname()
        for _ in range(count):
            try:
                client = socket.create_connection(address, timeout=15 * scale())
            except ConnectionRefusedError:
                return None  # the parent that ends has shut it down
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)  # thousands would stay behind otherwise
            self._clients[listener].append(client)
        return [{"in": "readable", "listener": listener}]

    def _do_take(self, listener: int = 0, count: int = 1) -> list[Line] | None:
        """Somebody accepts connections and tells nobody."""
        return [] if listener < len(self._clients) and self._accept(listener, count) else None

    def _accept(self, listener: int, count: int) -> int:
        taken = min(count, len(self._clients[listener]))
        for _ in range(taken):
            # a parent that ends may have shut the listener down
            with contextlib.suppress(OSError):
                self.listeners[listener].accept()[0].close()
            self._clients[listener].popleft().close()
        return taken

    def _do_write(self, slot: int, frames: Sequence[Line], cuts: Sequence[int] = ()) -> list[Line] | None:
        """Write ``frames`` (:meth:`Puppet.frame`) at once, or in several writes, cut after so many octets."""
        puppet = self._speaking(slot)
        if puppet is None:
            return None
        parts = [self._frame(puppet, **frame) for frame in frames]
        if None in parts:
            return None
        data = b"".join(part for part in parts if part)
        at = [0, *sorted(cut for cut in set(cuts) if 0 < cut < len(data)), len(data)]
        lines = []
        for begin, end in itertools.pairwise(at):
            puppet.write(data[begin:end])
            lines.append({"in": "received", "slot": slot, "data": data[begin:end].hex()})
        return lines

    def _frame(self, puppet: Puppet, **said: Any) -> bytes | None:
        order = puppet.order
        if order is not None and said["type"] == "BUSY" and order.listener < len(self._clients):
            self._accept(order.listener, said.get("accepted", 0))
        return puppet.frame(**said)

    def _do_end(self, slot: int, how: str = "close") -> list[Line] | None:
        """Close the channel, or end (``half``) what is written to it."""
        puppet = self._speaking(slot)
        if puppet is None:
            return None
        if how == "close":
            puppet.look()
            puppet.close()
        else:
            puppet.end()
        return [{"in": "eof", "slot": slot}]

    def _do_exit(self, slot: int, status: int = 0, channel: str = "close") -> list[Line] | None:
        """The process exits. The channel ends with it (``close``), before it (``before``), or is held (``keep``)."""
        puppet = self.workers.get(slot)
        if puppet is None or puppet.told or puppet.gone:
            return None
        # whoever closes it, and when: the parent may find the end of the channel before it finds the exit
        lines: list[Line] = [] if puppet.ended or channel == "keep" else [{"in": "eof", "slot": slot}]
        if not puppet.ended and channel == "before":
            puppet.look()
            puppet.close()
        puppet.exit(status)
        if channel == "close" and not puppet.closed:
            until(puppet.has_gone, what=f"the puppet in slot {slot} to exit")
            puppet.look()
            puppet.close()
        lines.append({"in": "exited", "slot": slot, "status": status})
        return lines

    def _do_signal(self, name: str) -> list[Line] | None:
        if self.parent.process.poll() is not None:
            return None
        self.parent.signal(getattr(signal, f"SIG{name}"))
        if name == "HUP":
            return [{"in": "reload", "at_once": self.parent.options["reload"] == "at-once"}]
        return [{"in": "stop"}]

    def _speaking(self, slot: int) -> Puppet | None:
        puppet = self.workers.get(slot)
        return None if puppet is None or puppet.ended or puppet.told or puppet.gone else puppet

    def freeze(self) -> None:
        """Stop the parent: what is done until :meth:`thaw`, it finds all at once."""
        self.parent.freeze()

    def thaw(self) -> None:
        """Let it go on."""
        self.parent.signal(signal.SIGCONT)

    # --------------------------------------------------------------------------------------------- what it does

    def settle(self, seconds: float = SETTLED) -> float:
        """Wait until the parent has read everything and sleeps, but no longer than ``seconds``. Returns a time at which
        it was seen asleep; minus infinity: it was not.
        """
        deadline = deadline_in(seconds)
        before: object = None
        while True:
            self._welcome()
            looked = time.monotonic()
            if self.parent.process.poll() is not None:
                return looked
            if not self._sees:
                time.sleep(QUIET * scale())
                self._welcome()
                return looked - self.grace
            now = self._asleep()
            if now is not None and now == before:
                return looked
            if looked > deadline:
                return float("-inf")
            before = now
            time.sleep(PAUSE)

    def stuck(self) -> str:
        """What a parent that sleeps has left to do: why it will never settle. Empty: nothing, or it does not sleep."""
        if not self._sees or kernel.activity(self.pid) is None:
            return ""
        unread = [slot for slot, puppet in self.workers.items() if puppet.unread_by_parent()]
        if unread:
            return f"it sleeps, and has not read the channels of the workers in slots {unread}"
        dead = [pid for pid in self._odd if kernel.state(pid) == "Z"]
        if dead:
            return f"it sleeps, and has not waited for {len(dead)} of its workers, which have exited"
        half = [slot for slot, puppet in self.workers.items() if puppet.is_dying()]
        if half:
            return f"it has closed the channels of the workers in slots {half}, and has not killed them"
        return ""

    def _asleep(self) -> tuple[int, ...] | None:
        puppets = self.workers.values()
        if any(puppet.unread_by_parent() for puppet in puppets):
            return None
        if any(puppet.is_dying() for puppet in puppets):
            return None
        slept = kernel.activity(self.pid)
        if slept is None:
            return None
        # one that has not connected yet, or that is dead and has not been waited for
        known = {puppet.pid for puppet in puppets if not puppet.told and not puppet.gone}
        odd = (kernel.children(self.pid) ^ known) - self._strangers
        if odd != self._odd:
            self._odd, self._since = odd, time.monotonic()
        if odd and time.monotonic() - self._since > SETTLED / 2 * scale():
            self._strangers |= odd  # processes of the port's own
        return None if odd else slept

    def _welcome(self) -> None:
        """Meet the puppets that have been started, and note who has gone."""
        while True:
            try:
                control = self.parent.control.accept()[0]
            except BlockingIOError:
                break
            try:
                puppet, listeners = introduce(control)
            except BaseException:
                control.close()
                raise
            if not self.listeners:
                self.listeners, listeners = listeners, []
            for one in listeners:
                one.close()
            old = self.workers.pop(puppet.slot, None)
            if old is not None:
                self._report(old)
                old.release()
                self._replaced.setdefault(puppet.slot, old)
            self.workers[puppet.slot] = puppet
            self._news.append({"out": "Spawn", "slot": puppet.slot})
        for puppet in self.workers.values():
            puppet.look()

    def _report(self, puppet: Puppet) -> None:
        """What has come to ``puppet``, as actions of the parent."""
        puppet.look()
        slot = puppet.slot
        for octets in puppet.unread:
            frame = frames.Frame.parse(octets)
            if frame.type == frames.ACCEPT:
                puppet.order = frame
            self._news.append({"out": "Send", "slot": slot, "data": octets.hex()})
        puppet.unread.clear()
        if puppet.gone and not puppet.told and not puppet.buried:
            puppet.buried = True
            self._news.append({"out": "Kill", "slot": slot})
        elif puppet.drained and not (puppet.ended or puppet.told or puppet.gone or puppet.seen or puppet.dropped()):
            puppet.seen = True
            self._news.append({"out": "HalfClose", "slot": slot})

    def look(self) -> list[Line]:
        """What the parent has done since this was asked last, in the order of each channel."""
        for puppet in self.workers.values():
            self._report(puppet)
        status = self.parent.process.poll()
        if status is not None and not self._over:
            self._over = True
            self._news.append({"out": "Exit", "status": status})
        news, self._news = self._news, []
        return news

    def hides(self, do: str, slot: int) -> bool:
        """Whether it cannot be seen that the parent does this to the worker in ``slot``."""
        puppet = self._replaced.get(slot) or self.workers.get(slot)
        if puppet is None:
            return True
        match do:
            case "Send":
                return puppet.closed
            case "HalfClose":
                return puppet.ended  # the other half is closed, too, when its end has been read
            case _:
                return puppet.told

    def next_step(self) -> None:
        """What has been done so far is explained."""
        self._replaced.clear()
