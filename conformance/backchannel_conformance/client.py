"""Clients of the test service: one connection, a load of them one after another, and a crowd of them at once.

Every client sends its line right after it has connected, so that it is there when the connection is accepted. There are
no threads: a crowd is watched with one selector.
"""

from __future__ import annotations

import selectors
import socket
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from types import TracebackType

from backchannel_conformance.clock import scaled
from backchannel_conformance.errors import HarnessError

PATIENCE = 20.0
"""Seconds that a client waits for an answer which is due at once."""


@dataclass(frozen=True)
class Who:
    pid: int
    slot: int | None
    switches: int | None = None


def parse_who(line: bytes) -> Who:
    """A *who*: process id, slot or "-", and for ``usage`` the voluntary context switches."""
    fields = line.decode("ascii", "replace").split()
    try:
        slot = None if fields[1] == "-" else int(fields[1])
        return Who(int(fields[0]), slot, int(fields[2]) if len(fields) > 2 else None)
    except (ValueError, IndexError):
        raise HarnessError(f"the test service answered {line[:80]!r}, which is no who") from None


class Ended(Exception):
    """The connection ended, by end-of-file or a reset, before there was an answer."""


class NoAnswer(Exception):
    """The connection is there and nothing came in time."""


class Connection:
    """One client of the test service."""

    def __init__(self, address: tuple[str, int], line: str, seconds: float = PATIENCE) -> None:
        self._patience = scaled(seconds)
        self.socket = socket.create_connection(address, timeout=self._patience)
        self._rest = b""
        self.send(line)

    def send(self, line: str) -> None:
        self.socket.sendall(line.encode("ascii") + b"\n")

    def answer(self, seconds: float | None = None) -> Who:
        """The next *who*; ``Ended`` or ``NoAnswer`` when there is none."""
        deadline = time.monotonic() + (self._patience if seconds is None else scaled(seconds))
        while b"\n" not in self._rest:
            self.socket.settimeout(max(deadline - time.monotonic(), 0.001))
            try:
                octets = self.socket.recv(4096)
            except TimeoutError:
                raise NoAnswer("no answer in time") from None
            except ConnectionError as error:
                raise Ended(str(error)) from None
            if not octets:
                raise Ended("end-of-file")
            self._rest += octets
        line, _, self._rest = self._rest.partition(b"\n")
        return parse_who(line)

    def again(self, seconds: float | None = None) -> Who:
        """One more exchange on a connection that is held."""
        try:
            self.send("again")
        except ConnectionError as error:
            raise Ended(str(error)) from None
        return self.answer(seconds)

    def ended(self, seconds: float | None = None) -> bool:
        """Wait for the end of the connection; False when it is still there, or an answer came instead."""
        try:
            self.answer(seconds)
        except Ended:
            return True
        except NoAnswer:
            return False
        return False

    def close(self) -> None:
        self.socket.close()

    def __enter__(self) -> Connection:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def one_after_another(address: tuple[str, int], count: int) -> Counter[int]:
    """Serve ``count`` connections, each begun when the one before has ended; how many each process served."""
    served: Counter[int] = Counter()
    patience = scaled(PATIENCE)
    for number in range(count):
        with socket.create_connection(address, timeout=patience) as client:
            client.sendall(b"who\n")
            answer = client.recv(4096)
            # To end-of-file: the worker has closed, so this connection is over when the next one begins.
            while octets := client.recv(4096):
                answer += octets
        if not answer:
            raise HarnessError(f"connection {number + 1} of {count} was closed without an answer")
        served[parse_who(answer).pid] += 1
    return served


def answered(crowd: Iterable[Connection], wanted: int, seconds: float = PATIENCE) -> list[Connection]:
    """Those of the crowd that have something to read, as soon as they are ``wanted``, or at the deadline."""
    deadline = time.monotonic() + scaled(seconds)
    ready: list[Connection] = []
    with selectors.DefaultSelector() as selector:
        for connection in crowd:
            selector.register(connection.socket, selectors.EVENT_READ, connection)
        while True:
            left = deadline - time.monotonic()
            # One more look without waiting after all have come: more than were wanted is news, too.
            enough = len(ready) >= wanted or left <= 0
            events = selector.select(0 if enough else left)
            for key, _ in events:
                ready.append(key.data)
                selector.unregister(key.fileobj)
            if enough and not events:
                return ready
