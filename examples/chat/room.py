"""Who chats in this worker, and the way to those in the others.

The way is a *bus*: an AF_UNIX datagram socket for each worker, in a directory of the service. The back-channel itself
carries orders and reports and nothing else.

A worker that is killed leaves its socket behind, and somebody has to remove it. That a name refuses what is sent to it
does not say that a worker has died: a file that is not a socket refuses as well, and so does a socket that is not bound
yet. So only what bears a name of ours, is a socket, and belongs to us is removed; a name is never used twice, and is
given to a socket that hears already.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import re
import secrets
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

import trio
from backchannel_trio import current_worker
from wsproto.events import Event, TextMessage

log = logging.getLogger("chat")

Outbox = trio.MemorySendChannel[Event]
NAME = re.compile(r"[0-9a-f]+-[0-9a-f]{12}")
LONGEST_PATH = 100
"""Octets of a socket's path, about: what every system takes."""


def private(bus: Path) -> Path:
    """The directory, made if it is not there. ``OSError`` if others may put sockets into it, or a path would be too
    long.
    """
    bus.mkdir(mode=0o700, exist_ok=True)
    found = bus.stat()
    if found.st_uid != os.geteuid() or found.st_mode & 0o022:
        raise PermissionError(f"BUS={bus}: others may write there; give a directory of the service's own")
    if len(os.fsencode(bus)) > LONGEST_PATH - len("/.65535-0123456789ab"):
        raise OSError(f"BUS={bus}: the path is too long for sockets; give a shorter one")
    return bus


BUS = private(Path(os.environ.get("BUS", "bus")))


class Room:
    """Those who came to one address. Services on other addresses may share the directory, and hear nothing of it."""

    _rooms: dict[str, Room] = {}  # noqa: RUF012 - one for each address, for the whole process

    def __init__(self, key: str) -> None:
        self.key = key
        self.members: set[Outbox] = set()
        name = f"{key}-{secrets.token_hex(6)}"
        self.path, hidden = BUS / name, BUS / f".{name}"
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.setblocking(False)
        self.socket.bind(str(hidden))
        hidden.chmod(0o600)
        hidden.rename(self.path)  # only now do others see it
        for path in self.others():
            self.send("", path)  # removes what the dead have left

    @classmethod
    def of(cls, stream: trio.SocketStream) -> Room:
        """The room of this process for whoever came to the address of ``stream``; the first one opens it."""
        address = stream.socket.getsockname()
        if isinstance(address, tuple):
            key = str(address[1])
        else:
            key = hashlib.blake2s(os.fsencode(address), digest_size=4).hexdigest()
        if key not in cls._rooms:
            cls._rooms[key] = cls(key)
            trio.lowlevel.spawn_system_task(cls._rooms[key].hear)
        return cls._rooms[key]

    @contextlib.contextmanager
    def member(self, outbox: Outbox) -> Iterator[None]:
        self.members.add(outbox)
        try:
            yield
        finally:
            self.members.discard(outbox)

    def welcome(self) -> Event:
        """What a client learns of where it is."""
        where = {"slot": current_worker().slot, "pid": os.getpid(), "here": len(self.members)}
        return TextMessage(data=json.dumps(where))

    def say(self, text: str) -> None:
        """To everybody, in this worker and the others."""
        data = json.dumps({"slot": current_worker().slot, "text": text})
        self.tell(data)
        for path in self.others():
            self.send(data, path)

    def tell(self, text: str) -> None:
        """To everybody in this worker; who has a hundred things waiting misses this."""
        for member in self.members:
            with contextlib.suppress(trio.WouldBlock, trio.BrokenResourceError):
                member.send_nowait(TextMessage(data=text))

    def others(self) -> list[Path]:
        """Where other workers hear, or have heard."""
        try:
            paths = list(BUS.iterdir())
        except OSError as error:
            log.warning("the other workers miss this: %s", error)
            return []
        return [path for path in paths if path != self.path and self.is_worker(path)]

    def is_worker(self, path: Path) -> bool:
        """Whether ``path`` is the socket of a worker of this service, alive or not."""
        if not NAME.fullmatch(path.name) or path.name.partition("-")[0] != self.key:
            return False
        try:
            found = path.lstat()
        except FileNotFoundError:  # its worker has just ended
            return False
        return stat.S_ISSOCK(found.st_mode) and found.st_uid == os.geteuid()

    def send(self, data: str, path: Path) -> None:
        """To the worker at ``path``. Nobody here waits for it: if its queue is full, it misses this."""
        try:
            self.socket.sendto(data.encode(), str(path))
        except ConnectionRefusedError:
            path.unlink(missing_ok=True)  # see above why this is known: its worker was killed
        except (BlockingIOError, FileNotFoundError):
            pass  # full; or ended since
        except OSError as error:
            log.warning("%s misses this: %s", path, error)

    async def hear(self) -> None:
        """What is said in other workers, until this one ends."""
        try:
            while True:
                await trio.lowlevel.wait_readable(self.socket)
                with contextlib.suppress(BlockingIOError):
                    if data := self.socket.recv(65536):
                        self.tell(data.decode(errors="replace"))
        finally:
            self.path.unlink(missing_ok=True)
            self.socket.close()
