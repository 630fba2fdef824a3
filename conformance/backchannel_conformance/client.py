"""Clients of the test service (``spec/adapter``): each connection sends one line."""

from __future__ import annotations

import re
import socket
import struct
import time
from collections import Counter
from dataclasses import dataclass, field

from . import processes
from .errors import ContractError
from .waiting import deadline_in, scale

__all__ = ["Address", "Client", "Held", "NoAnswer", "Who", "refused"]

TIMEOUT = 15.0
LONGEST = 4096
"""Octets of an answer."""
_WHO = re.compile(rb"(-?\d{1,20}) (-|\d{1,10})(?: (\d{1,20}))?")

Address = tuple[str, int] | str
"""Host and port, or the path of an AF_UNIX listener."""


class NoAnswer(Exception):
    """The service said nothing before the time limit, or closed, or was reset."""


@dataclass(frozen=True, slots=True)
class Who:
    """Who answered; ``slot`` is ``None`` where there are no slots, ``switches`` where the connection is not held."""

    pid: int
    slot: int | None
    switches: int | None = field(default=None, compare=False)

    @classmethod
    def parse(cls, line: bytes) -> Who:
        """Read a *who*.

        Raises :class:`ContractError` if it is none, or names a process that is not the suite's to touch.
        """
        found = _WHO.fullmatch(line)
        if found is None:
            raise ContractError(
                f"the service answered {line[:100]!r}, and an answer is a process id and a slot, as '4711 3'"
            )
        pid, slot, switches = found.groups()
        claim = processes.claimed(int(pid), f"the service in slot {slot.decode()} says that it")
        return cls(claim, None if slot == b"-" else int(slot), None if switches is None else int(switches))


class Held:
    """One connection whose request has been sent and which may not have been answered yet."""

    def __init__(self, address: Address, command: str) -> None:
        if isinstance(address, str):
            self.socket = socket.socket(socket.AF_UNIX)
            self.socket.settimeout(TIMEOUT * scale())
            self.socket.connect(address)
        else:
            self.socket = socket.create_connection(address, timeout=TIMEOUT * scale())
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.sendall(command.encode() + b"\n")
        self._buffer = b""

    @property
    def port(self) -> int:
        """This end's port: the kernel's tables name the connection by it."""
        port: int = self.socket.getsockname()[1]
        return port

    def answer(self, timeout: float = TIMEOUT) -> Who:
        """Wait for the next *who*. Raises :class:`NoAnswer`; :class:`ContractError` for an answer of another kind."""
        self.socket.settimeout(timeout * scale())
        while b"\n" not in self._buffer:
            try:
                data = self.socket.recv(4096)
            except TimeoutError:
                raise NoAnswer(f"no answer within {timeout * scale():g} s") from None
            except OSError as error:
                raise NoAnswer(f"no answer: {error.strerror}") from None
            if not data:
                raise NoAnswer("no answer: the connection was closed")
            self._buffer += data
            if len(self._buffer) > LONGEST:
                raise ContractError(f"the service answered with more than {LONGEST} octets: {self._buffer[:100]!r} ...")
        line, _, self._buffer = self._buffer.partition(b"\n")
        return Who.parse(line)

    def again(self) -> Who:
        """Ask once more on a connection that is held."""
        self.socket.sendall(b"\n")
        return self.answer()

    def ended(self, timeout: float = TIMEOUT) -> bool:
        """Wait for the end of the connection; ``False`` when something else came, or nothing in time."""
        self.socket.settimeout(timeout * scale())
        try:
            return not self._buffer and not self.socket.recv(4096)
        except ConnectionError:
            return True
        except TimeoutError:
            return False

    def close(self) -> None:
        """Close this end."""
        self.socket.close()

    def reset(self) -> None:
        """Close this end with a reset."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()


class Client:
    """Makes connections to one address, and closes what a case leaves open."""

    def __init__(self, address: Address) -> None:
        self.address = address
        self._open: list[Held] = []

    def send(self, command: str) -> Held:
        """Connect and send ``command``, without waiting for its answer."""
        held = Held(self.address, command)
        self._open.append(held)
        return held

    def ask(self, command: str = "who") -> Who:
        """One connection: send ``command``, wait for its answer and for the end."""
        held = Held(self.address, command)
        try:
            who = held.answer()
            if not held.ended():
                raise NoAnswer(f"the connection was not closed after {command!r}")
            return who
        finally:
            held.close()

    def hold(self) -> tuple[Held, Who]:
        """A connection that is kept open, and who serves it."""
        held = self.send("hold")
        return held, held.answer()

    def serve(self, count: int, seconds: float = 60.0) -> Counter[int]:
        """``count`` connections one after another; how many each process served.

        Fewer, if ``seconds`` (scaled) are over before: what a pool that is too slow does meanwhile can still be judged.
        """
        deadline = deadline_in(seconds)
        served: Counter[int] = Counter()
        while served.total() < count and time.monotonic() < deadline:
            served[self.ask().pid] += 1
        return served

    def close(self) -> None:
        """Close everything."""
        for held in self._open:
            held.close()
        self._open.clear()


def refused(address: tuple[str, int]) -> bool:
    """Whether nobody listens there."""
    try:
        socket.create_connection(address, timeout=0.5 * scale()).close()
    except ConnectionError:
        return True
    except TimeoutError:  # its backlog is full, because nothing accepts
        pass
    return False
