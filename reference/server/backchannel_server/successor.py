"""Parent replacement: how a successor comes to the listeners and the baton (BC-BATON-01 to BC-BATON-04).

The old parent starts the command that it was started with itself, so that the installed code is what runs, and passes
what is open: the listeners, the status socket, and its end of the baton, which is a socketpair. What is where stands
in one environment variable. The successor says on the baton that its workers are ready; the end-of-file that it then
reads there, or reads because the old parent has died, makes the listeners its own.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import sys
from collections.abc import Iterator, MutableMapping, Sequence
from dataclasses import astuple, dataclass

from .early import PARENTS
from .errors import StartError
from .listeners import Listeners, OwnPath, adopt
from .place import Place
from .systemd import VARIABLE as NOTIFY_VARIABLE
from .systemd import Notifier

__all__ = ["READY", "Inheritance", "Successor"]

VARIABLE = "BACKCHANNEL_SUCCESSION"

READY = b"R"
"""What a successor says when its workers are ready."""


@dataclass
class Successor:
    """A parent that was started to replace this one, and our end of the baton."""

    pid: int
    baton: socket.socket
    ready: bool = False
    """It has said so."""

    @classmethod
    def start(
        cls,
        listeners: Listeners,
        status_socket: socket.socket | None,
        notifier: Notifier,
        workers: int,
        place: Place | None = None,
    ) -> Successor:
        """Start it in ``place``; ``workers`` is how many it should begin with. Raises ``OSError``.

        It begins with the pool's signals held back, as it would have them itself a moment later (:mod:`.early`).
        """
        program = sys.executable
        if place is not None:
            place.enter()
            program = place.renewed(program)
        ours, theirs = socket.socketpair()
        status = [] if status_socket is None else [status_socket]
        ready_fd = notifier.given_fd
        sockets = [theirs, *listeners.sockets, *status]
        passed = [sock.fileno() for sock in sockets]
        will = {
            "baton": theirs.fileno(),
            "listeners": [sock.fileno() for sock in listeners.sockets],
            "status": status[0].fileno() if status else None,
            "paths": [astuple(path) for path in listeners.paths],
            "own": listeners.own,
            "workers": workers,
        }
        environment = {**os.environ, VARIABLE: json.dumps(will)}
        if notifier.path:
            environment[NOTIFY_VARIABLE] = notifier.path
        try:
            with _inheritable([*passed, *([] if ready_fd is None else [ready_fd])]):
                pid = os.posix_spawn(
                    program,
                    [program, *sys.orig_argv[1:]],
                    environment,
                    setsigdef=signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP},
                    setsigmask=PARENTS,
                )
        except OSError:
            ours.close()
            raise
        finally:
            theirs.close()
        ours.setblocking(False)
        return cls(pid, ours)

    def tell(self, number: int) -> None:
        """Send it a signal, if it is there still and may be sent one."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(self.pid, number)


@contextlib.contextmanager
def _inheritable(numbers: Sequence[int]) -> Iterator[None]:
    """While this lasts, these descriptors survive an exec. There is no thread that could start another (BC-FORK-06)."""
    before = [os.get_inheritable(number) for number in numbers]
    try:
        for number in numbers:
            os.set_inheritable(number, True)
        yield
    finally:
        for number, was in zip(numbers, before, strict=True):
            os.set_inheritable(number, was)


@dataclass
class Inheritance:
    """What an old parent left to this process, and how many workers it should begin with."""

    listeners: Listeners
    status: socket.socket | None
    baton: socket.socket
    workers: int

    @classmethod
    def take(cls, environment: MutableMapping[str, str]) -> Inheritance | None:
        """It, if this process was started as a successor. Takes the variable out of ``environment``.

        Raises :class:`StartError` if it makes no sense.
        """
        text = environment.pop(VARIABLE, None)
        if text is None:
            return None
        try:
            will = json.loads(text)
            baton = socket.socket(fileno=will["baton"])
            baton.set_inheritable(False)
            baton.setblocking(False)
            sockets = [adopt(number) for number in will["listeners"]]
            status = None if will["status"] is None else adopt(will["status"])
            listeners = Listeners(sockets, [OwnPath(*path) for path in will["paths"]], will.get("own", False))
            return cls(listeners, status, baton, will["workers"])
        except (ValueError, KeyError, TypeError, OSError) as error:
            raise StartError(2, f"{VARIABLE} is set, and is not what a parent sets ({error}); take it out") from None
