"""The program of a stub worker: a parent under test starts it by the exec binding, and it does as the suite says.

It connects to the suite's control socket, says what it found, and then obeys one JSON line after another, each with one
JSON line in return. It knows nothing of the protocol: which octets to write, and when, is decided in
:mod:`~backchannel_conformance.stub_worker`. It imports the standard library alone, so that it starts fast.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import select
import signal
import socket
import stat
import sys
import time
from collections.abc import Callable
from typing import Any


def found() -> dict[str, Any]:
    """What this process found at its start: descriptors above the standard ones, variables, signals."""
    sockets = []
    for fd in range(3, 256):
        try:
            kind = "socket" if stat.S_ISSOCK(os.fstat(fd).st_mode) else "other"
        except OSError:
            continue
        sockets.append((fd, kind))
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    return {
        "pid": os.getpid(),
        "started": time.monotonic(),
        "descriptors": sockets,
        "variables": {key: value for key, value in os.environ.items() if key.startswith("BACKCHANNEL_")},
        "blocked": sorted(int(number) for number in blocked),
        # Python itself ignores SIGPIPE and SIGXFSZ from its start on, whatever it found
        "ignored": sorted(
            int(number)
            for number in signal.valid_signals()
            if signal.getsignal(number) == signal.SIG_IGN and number not in (signal.SIGPIPE, signal.SIGXFSZ)
        ),
    }


class Commands:
    """What the suite may have this process do: each method is a command. It holds the channel, the listeners, and what
    was accepted.
    """

    def __init__(self, variables: dict[str, str]) -> None:
        self.channel = socket.socket(fileno=3)
        self.channel.setblocking(False)
        count = int(variables.get("BACKCHANNEL_LISTENERS", "0"))
        self.listeners = [socket.socket(fileno=4 + at) for at in range(count)]
        self.connections: list[socket.socket] = []

    def write(self, octets: str, seconds: float = 5.0) -> dict[str, Any]:
        """Write all of it, or as much as the parent takes in time."""
        rest = bytes.fromhex(octets)
        until = time.monotonic() + seconds
        while rest:
            try:
                rest = rest[self.channel.send(rest) :]
            except BlockingIOError:
                if not select.select((), (self.channel,), (), max(0.0, until - time.monotonic()))[1]:
                    return {"left": len(rest)}
            except OSError as error:
                return {"left": len(rest), "errno": errno.errorcode[error.errno or 0]}
        return {"left": 0}

    def read(self, count: int, seconds: float) -> dict[str, Any]:
        """Exactly so many octets, or what there was of them at the time limit or at the end."""
        data, ended = b"", ""
        until = time.monotonic() + seconds
        while len(data) < count and not ended:
            select.select((self.channel,), (), (), max(0.0, until - time.monotonic()))
            try:
                part = self.channel.recv(count - len(data))
                data += part
                ended = "" if part else "end"
            except BlockingIOError:
                ended = "time"
            except OSError as error:
                ended = errno.errorcode[error.errno or 0]
        return {"octets": data.hex(), "ended": ended}

    def peek(self) -> dict[str, Any]:
        """Whether a read would return at once."""
        return {"ready": bool(select.select((self.channel,), (), (), 0)[0])}

    def accept(self, listener: int = 0) -> dict[str, Any]:
        """One attempt, which does not wait even on a listener that the parent has made block."""
        if not select.select((self.listeners[listener],), (), (), 0)[0]:
            return {"accepted": 0, "errno": errno.errorcode[errno.EAGAIN]}
        try:
            self.connections.append(self.listeners[listener].accept()[0])
        except OSError as error:
            return {"accepted": 0, "errno": errno.errorcode[error.errno or 0]}
        return {"accepted": 1}

    def finish(self) -> dict[str, Any]:
        """Close the oldest connection."""
        self.connections.pop(0).close()
        return {}

    def close(self) -> dict[str, Any]:
        """Close the channel, and live on."""
        self.channel.close()
        return {}

    def close_listeners(self) -> dict[str, Any]:
        """Close this process's descriptors of the listeners."""
        for listener in self.listeners:
            listener.close()
        return {}

    def half_close(self) -> dict[str, Any]:
        """Shut down the sending half of the channel."""
        self.channel.shutdown(socket.SHUT_WR)
        return {}

    def flood(self, octets: str) -> dict[str, Any]:
        """Write the same again and again, as fast as the parent takes it, until the suite says something."""
        data = bytes.fromhex(octets)
        rest, wrote = data, 0
        while not select.select((self.control,), (), (), 0)[0]:
            try:
                sent = self.channel.send(rest)
                wrote += sent
                rest = rest[sent:] or data
            except BlockingIOError:
                select.select((self.control,), (self.channel,), ())
            except OSError:
                break
        return {"wrote": wrote}

    def leave(self, status: int = 0, octets: str = "") -> dict[str, Any]:
        """Write, and exit at once."""
        self.write(octets)
        os._exit(status)

    def grandchild(self, octets: str = "") -> dict[str, Any]:
        """Leave a process behind that holds the channel for a while, or writes to it without end, and die."""
        if not os.fork():
            self.control.close()
            if octets:
                signal.signal(signal.SIGALRM, signal.SIG_DFL)
                signal.alarm(60)
                self.channel.setblocking(True)
                data = bytes.fromhex(octets)
                with contextlib.suppress(OSError):
                    while True:
                        self.channel.sendall(data)
            else:
                time.sleep(20)
            os._exit(0)
        os._exit(0)

    control: socket.socket


LIMIT = 10.0
"""Seconds that a command may take, beyond what it is given."""
UNENDING = ("flood",)
"""Commands that go on until the suite says something, or longer."""


class Late(Exception):
    """A call has blocked: the parent has cleared O_NONBLOCK of what it shares with this process."""


def in_time(command: Callable[..., dict[str, Any]], arguments: dict[str, Any]) -> dict[str, Any]:
    """What a command answers; ``errno`` is ``BLOCKS`` if it does not return."""
    seconds = LIMIT + arguments.get("seconds", 0.0)
    signal.setitimer(signal.ITIMER_REAL, 0 if command.__name__ in UNENDING else seconds)
    try:
        return command(**arguments)
    except Late:
        return {
            "accepted": 0,
            "octets": "",
            "ended": "BLOCKS",
            "left": 1,
            "errno": "BLOCKS",
            "blocks": command.__name__,
        }
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def late(*_: object) -> None:
    """The time of a command is over."""
    raise Late


def main() -> None:
    """Say what was found, and obey until the control socket ends."""
    said = found()
    signal.signal(signal.SIGALRM, late)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGALRM])
    control = socket.socket(socket.AF_UNIX)
    control.connect(sys.argv[1])
    commands = Commands(said["variables"])
    commands.control = control
    said["addresses"] = [listener.getsockname() for listener in commands.listeners]
    with control.makefile("rw", encoding="utf-8") as lines:
        answer: dict[str, Any] = said
        while True:
            lines.write(json.dumps(answer) + "\n")
            lines.flush()
            line = lines.readline()
            if not line:
                break
            command = json.loads(line)
            answer = in_time(getattr(commands, command.pop("do")), command)
    os._exit(0)


if __name__ == "__main__":
    main()
