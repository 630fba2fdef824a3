"""A WebSocket chat: long-lived connections, each on the worker that held the fewest when it came.

h11 reads the request; wsproto speaks WebSocket; the page and the chat share one port. What is said in one worker
reaches the others through a *bus*: an AF_UNIX datagram socket for each worker, in a directory of the service. The
back-channel itself carries orders and reports and nothing else.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import h11
import trio
from backchannel_trio import current_worker
from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, CloseConnection, Event, Ping, TextMessage
from wsproto.frame_protocol import CloseReason
from wsproto.utilities import LocalProtocolError, RemoteProtocolError

BUS = Path(os.environ.get("BUS", "bus"))
LONGEST = 2000
"""Characters of what somebody says."""
PATIENCE = float(os.environ.get("PATIENCE", "10"))
"""Seconds for a request, and for a client to take what it is sent."""
Outbox = trio.MemorySendChannel[Event]
PAGE = (Path(__file__).parent / "page.html").read_bytes()


async def handle(stream: trio.SocketStream) -> None:
    """Serve the page, or chat until the client goes."""
    http = h11.Connection(h11.SERVER)
    try:
        with trio.fail_after(PATIENCE):
            request = await read_request(stream, http)
        if request is None:
            return
        if (b"upgrade", b"websocket") in [(name, value.lower()) for name, value in request.headers]:
            await chat(stream, request, http.trailing_data[0])
        else:
            status = 200 if request.target in (b"/", b"/page.html") else 404
            await respond(stream, http, status, PAGE if status == 200 else b"not here\n")
    except (h11.RemoteProtocolError, RemoteProtocolError, trio.BrokenResourceError, trio.TooSlowError):
        pass  # whatever it was, it spoke no protocol of ours, or has gone


async def read_request(stream: trio.SocketStream, http: h11.Connection) -> h11.Request | None:
    """The request; ``None`` if the client went before it was whole."""
    while True:
        event = http.next_event()
        if isinstance(event, h11.Request):
            return event
        if event is not h11.NEED_DATA:
            return None
        http.receive_data(await stream.receive_some())


async def respond(stream: trio.SocketStream, http: h11.Connection, status: int, body: bytes) -> None:
    headers = [
        ("content-type", "text/html; charset=utf-8"),
        ("content-length", str(len(body))),
        ("connection", "close"),
    ]
    events = [h11.Response(status_code=status, headers=headers), h11.Data(data=body), h11.EndOfMessage()]
    await stream.send_all(b"".join(http.send(event) or b"" for event in events))


async def chat(stream: trio.SocketStream, request: h11.Request, early: bytes) -> None:
    """From the upgrade to the end. ``early`` is what the client sent behind its request."""
    room = Room.of_this_worker()
    ws = WSConnection(ConnectionType.SERVER)
    ws.initiate_upgrade_connection(list(request.headers), request.target)
    outbox, inbox = trio.open_memory_channel[Event](100)
    outbox.send_nowait(AcceptConnection())
    with room.member(outbox):
        outbox.send_nowait(room.welcome())
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(deliver, stream, ws, inbox)
                ws.receive_data(early)
                await listen(stream, ws, room, outbox)
        except trio.Cancelled:
            # a client that is told why may come back, and is then placed anew
            with trio.move_on_after(1, shield=True), contextlib.suppress(LocalProtocolError, trio.BrokenResourceError):
                await stream.send_all(ws.send(CloseConnection(code=CloseReason.GOING_AWAY)))
            raise


async def listen(stream: trio.SocketStream, ws: WSConnection, room: Room, outbox: Outbox) -> None:
    """Pass on what the client says, until it goes."""
    said = ""
    while True:
        for event in ws.events():
            if isinstance(event, CloseConnection):
                await outbox.send(event.response())
                return
            if isinstance(event, Ping):
                await outbox.send(event.response())
            elif isinstance(event, TextMessage):
                said += event.data
                if len(said) > LONGEST:
                    await outbox.send(CloseConnection(code=CloseReason.MESSAGE_TOO_BIG))
                    return
                if event.message_finished:
                    room.say(said)
                    said = ""
        ws.receive_data(await stream.receive_some() or None)


async def deliver(stream: trio.SocketStream, ws: WSConnection, inbox: trio.MemoryReceiveChannel[Event]) -> None:
    """Send what is for this client, one thing after the other. One that takes nothing for long is closed."""
    async for event in inbox:
        with trio.fail_after(PATIENCE):
            await stream.send_all(ws.send(event))
        if isinstance(event, CloseConnection):
            return


class Room:
    """Who is in this worker, and the way to the others."""

    _room: Room | None = None

    def __init__(self) -> None:
        self.members: set[Outbox] = set()
        BUS.mkdir(mode=0o700, exist_ok=True)
        self.path = BUS / str(os.getpid())
        self.path.unlink(missing_ok=True)
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.setblocking(False)
        self.socket.bind(str(self.path))

    @classmethod
    def of_this_worker(cls) -> Room:
        """The one room of this process; the first client opens it."""
        if cls._room is None:
            cls._room = cls()
            trio.lowlevel.spawn_system_task(cls._room.hear)
        return cls._room

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
        for path in BUS.iterdir():
            if path != self.path:
                try:
                    self.socket.sendto(data.encode(), str(path))
                except ConnectionRefusedError:
                    path.unlink(missing_ok=True)  # its worker has gone
                except OSError:
                    pass  # its queue is full: it misses this, for nobody here waits for it

    def tell(self, text: str) -> None:
        """To everybody in this worker; who has a hundred things waiting misses this."""
        for member in self.members:
            with contextlib.suppress(trio.WouldBlock, trio.BrokenResourceError):
                member.send_nowait(TextMessage(data=text))

    async def hear(self) -> None:
        """What is said in other workers."""
        while True:
            await trio.lowlevel.wait_readable(self.socket)
            with contextlib.suppress(BlockingIOError):
                self.tell(self.socket.recv(65536).decode())
