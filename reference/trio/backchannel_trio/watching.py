"""What the trio parent waits with: one task for each thing that can have news.

A task ends when what it waits for is closed: whoever closes something tells trio first
(:func:`trio.lowlevel.notify_closing`), and the task that waits for it gets ``ClosedResourceError``. But a task that has
been woken already gets nothing: what it waited for may be closed by another task in the very turn in which it had
news. So each of them looks, after each wait, whether it is still there.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final

import trio
from backchannel_server.platform import EdgePoller
from backchannel_server.status_socket import PATIENCE, READERS, REST, claim

__all__ = ["Channels", "Sleeps", "StatusSocket", "ended", "hear_arrivals"]


UNWATCHED: Final = 0.1
"""Seconds between two looks at what the system has no room to watch."""


class Channels:
    """The workers' channels, for a :class:`~backchannel_server.channels.Crew`: a task for each.

    ``turn`` is called after each reading. A channel with more to read gets its next reading after all others have
    had one, because trio's turns are fair (BC-PASS-01).
    """

    def __init__(self, nursery: trio.Nursery, turn: Callable[[], None]) -> None:
        self._nursery = nursery
        self._turn = turn

    def register(self, channel: socket.socket, events: int, read: Callable[[int], object]) -> None:
        """From now on call ``read`` when there is something to read."""

        async def hear() -> None:
            with suppress(trio.ClosedResourceError):
                while channel.fileno() != -1:
                    await readable(channel)
                    read(events)
                    self._turn()

        self._nursery.start_soon(hear)

    def unregister(self, channel: socket.socket) -> None:
        """It is about to be closed."""
        trio.lowlevel.notify_closing(channel)


async def hear_arrivals(poller: EdgePoller, listeners: Sequence[socket.socket], arrived: Callable[[int], None]) -> None:
    """Call ``arrived`` with the index of each listener that has news, until ``poller`` is closed.

    An inner, edge-triggered poller watches the listeners, and trio the inner poller: trio's own one-shot watch of a
    listener would fire again and again for a connection that has been ordered already (BC-WATCH-01).
    """
    if poller.closed:
        return  # before this task had its first turn
    index = {listener.fileno(): at for at, listener in enumerate(listeners)}
    for fd in index:
        poller.add(fd)
    number = poller.fileno()
    with suppress(trio.ClosedResourceError):
        while not poller.closed:
            for fd in poller.events():
                arrived(index[fd])
            await readable(number)


async def readable(what: socket.socket | int) -> None:
    """Wait until ``what`` can be read, or, where the system has no room to watch it, for a moment: whoever waits looks
    whether there is anything. Raises ``trio.ClosedResourceError`` when it is closed meanwhile.
    """
    try:
        await trio.lowlevel.wait_readable(what)
    except trio.ClosedResourceError:
        raise
    except OSError:
        await trio.sleep(UNWATCHED)


async def ended(baton: socket.socket, but: bytes = b"") -> bool:
    """Wait until ``baton`` has ended; or, with ``but``, until that was said on it, and then it is ``False``."""
    while baton.fileno() != -1:
        # before each reading, so that whoever never stops writing holds up nobody else
        await readable(baton)
        if baton.fileno() == -1:
            break
        try:
            said = baton.recv(4096)
        except BlockingIOError:
            continue
        except ConnectionResetError:
            said = b""
        if not said:
            return True
        if but and said.startswith(but):
            return False
    return True


class StatusSocket:
    """Sends ``document()`` to whoever connects, within the bounds of :mod:`backchannel_server.status_socket`. A slow
    reader holds up nobody.
    """

    def __init__(self, listener: socket.socket, document: Callable[[], dict[str, object]]) -> None:
        self._listener = trio.socket.from_stdlib_socket(listener)
        self._document = document
        self._scope = trio.CancelScope()
        self._readers: dict[trio.CancelScope, None] = {}
        """Those that are waited for, oldest first."""
        claim(listener)

    async def serve(self) -> None:
        """Serve until :meth:`close`. After whatever the system refuses it rests, and tries again."""
        with self._scope:
            async with trio.open_nursery() as nursery:
                while True:
                    try:
                        reader, _ = await self._listener.accept()
                    except trio.ClosedResourceError:
                        break
                    except ConnectionError:  # it has gone
                        await trio.lowlevel.checkpoint()
                    except OSError:
                        await trio.sleep(REST)
                    else:
                        nursery.start_soon(self._answer, trio.SocketStream(reader))

    def close(self) -> None:
        """Serve nobody any more."""
        self._scope.cancel()
        self._listener.close()

    async def _answer(self, stream: trio.SocketStream) -> None:
        if len(self._readers) == READERS:
            oldest = next(iter(self._readers))
            del self._readers[oldest]
            oldest.cancel()
        async with stream:
            with trio.move_on_after(PATIENCE) as patience, suppress(trio.BrokenResourceError, OSError):
                self._readers[patience] = None
                try:
                    await stream.send_all(json.dumps(self._document()).encode() + b"\n")
                finally:
                    self._readers.pop(patience, None)


class Sleeps(trio.abc.Instrument):
    """Counts how often the program has gone to sleep, and so how often it woke."""

    def __init__(self) -> None:
        self.count = 0

    def before_io_wait(self, timeout: float) -> None:
        """trio is about to wait for news; with nothing to run meanwhile if ``timeout`` is not 0."""
        if timeout:
            self.count += 1
