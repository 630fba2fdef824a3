"""A WebSocket chat: long-lived connections, each on the worker that held the fewest when it came.

h11 reads the request; wsproto speaks WebSocket; the page and the chat share one port. What clients do wrong ends their
own connection, with an answer where there can be one, and is no error here.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import os
from pathlib import Path

import h11
import trio
from backchannel_trio import current_worker
from room import Outbox, Room
from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, CloseConnection, Event, Message, Ping, RejectConnection, TextMessage
from wsproto.frame_protocol import CloseReason
from wsproto.utilities import LocalProtocolError, RemoteProtocolError

LONGEST = 2000
"""Characters of what somebody says."""
TIMEOUT = float(os.environ.get("TIMEOUT", "10"))
"""Seconds for a request, for a client to take what it is sent, and to answer a ping."""
SILENCE = float(os.environ.get("SILENCE", "30"))
"""Seconds after which a client that says nothing is sent a ping: it may have gone without a word."""
LINGER = 2.0
"""Seconds in which a client may read the last that it was sent."""
ORIGINS = os.environ.get("ORIGINS", "").encode().split()
"""Sites whose pages may connect, as in ``https://chat.example``; none: the one that the client itself asked for."""
PAGE = (Path(__file__).parent / "page.html").read_bytes()
PATHS = (b"/", b"/page.html")


class Refused(Exception):
    """What the client wants it does not get."""

    def __init__(self, status: int, text: str, *headers: tuple[bytes, bytes]) -> None:
        super().__init__(text)
        self.status = status
        self.headers = headers


async def handle(stream: trio.SocketStream) -> None:
    """Serve the page, or chat until the client goes."""
    with contextlib.suppress(trio.BrokenResourceError, trio.TooSlowError):  # the client has gone, or is too slow
        http = h11.Connection(h11.SERVER)
        with trio.fail_after(TIMEOUT):
            ws = await greet(stream, http)
        if ws is not None:
            await chat(stream, ws, http.trailing_data[0])
        await linger(stream)


async def greet(stream: trio.SocketStream, http: h11.Connection) -> WSConnection | None:
    """Read a request: one for a WebSocket becomes one, any other is answered."""
    head = False
    try:
        request = await read_request(stream, http)
        if request is None:
            return None
        head = request.method == b"HEAD"
        if request.target.partition(b"?")[0] not in PATHS:
            raise Refused(404, "not here")
        if (b"upgrade", b"websocket") in [(name, value.lower()) for name, value in request.headers]:
            ws = open_websocket(request)
            await stream.send_all(ws.send(AcceptConnection()))
            return ws
        if request.method not in (b"GET", b"HEAD"):
            raise Refused(405, "GET it", (b"allow", b"GET, HEAD"))
    except Refused as refused:
        text = f"{refused}\n".encode(errors="replace")
        await respond(stream, http, refused.status, text, *refused.headers, head=head)
    else:
        headers = [
            (b"content-type", b"text/html; charset=utf-8"),
            # what is said here is said by whoever has the page open, not by a page that shows it in a frame
            (b"content-security-policy", b"frame-ancestors 'none'"),
        ]
        await respond(stream, http, 200, PAGE, *headers, head=head)
    return None


async def read_request(stream: trio.SocketStream, http: h11.Connection) -> h11.Request | None:
    """The request; ``None`` if the client went before it was whole. :class:`Refused` if it is none."""
    while True:
        try:
            event = http.next_event()
        except h11.RemoteProtocolError as error:
            raise Refused(error.error_status_hint, str(error)) from None
        if isinstance(event, h11.Request):
            return event
        if event is not h11.NEED_DATA:
            return None
        http.receive_data(await stream.receive_some())


async def respond(
    stream: trio.SocketStream,
    http: h11.Connection,
    status: int,
    body: bytes,
    *headers: tuple[bytes, bytes],
    head: bool,
) -> None:
    """Answer; after that the connection is closed."""
    if not any(name == b"content-type" for name, _ in headers):
        headers += ((b"content-type", b"text/plain; charset=utf-8"),)
    length, close = (b"content-length", b"%d" % len(body)), (b"connection", b"close")
    guard = (b"x-content-type-options", b"nosniff")
    response = h11.Response(status_code=status, headers=[*headers, guard, length, close])
    events = [response, *([] if head else [h11.Data(data=body)]), h11.EndOfMessage()]
    await stream.send_all(b"".join(http.send(event) or b"" for event in events))


def open_websocket(request: h11.Request) -> WSConnection:
    """The WebSocket that ``request`` asks for, to be accepted. :class:`Refused` if it may not be."""
    names = [name for name, _ in request.headers]
    fields = dict(request.headers)
    if request.method != b"GET" or request.http_version != b"1.1":
        raise Refused(400, "a WebSocket begins with GET and HTTP/1.1")
    if b"transfer-encoding" in names or fields.get(b"content-length", b"0") != b"0":
        raise Refused(400, "a WebSocket begins with a request without a body")
    # The browser of somebody who is logged in here obeys any page that it shows; it says which one that is.
    allowed = ORIGINS or [b"http://" + fields[b"host"], b"https://" + fields[b"host"]]
    if names.count(b"origin") > 1 or (
        b"origin" in names and fields[b"origin"].lower() not in [origin.lower() for origin in allowed]
    ):
        raise Refused(403, "this is not for pages of other sites")
    ws = WSConnection(ConnectionType.SERVER)
    try:
        ws.initiate_upgrade_connection(list(request.headers), request.target)
        if (
            names.count(b"sec-websocket-key") > 1
            or len(base64.b64decode(fields[b"sec-websocket-key"], None, True)) != 16
        ):
            raise Refused(400, "Sec-WebSocket-Key is not a nonce of 16 octets")
    except RemoteProtocolError as error:
        hint = error.event_hint
        assert isinstance(hint, RejectConnection)
        raise Refused(hint.status_code, str(error), *hint.headers) from None
    except (binascii.Error, UnicodeError):
        raise Refused(400, "Host or Sec-WebSocket-Key cannot be read") from None
    for _ in ws.events():
        pass  # the request, which is known
    return ws


async def chat(stream: trio.SocketStream, ws: WSConnection, early: bytes) -> None:
    """From the upgrade to the end. ``early`` is what the client sent behind its request."""
    room = Room.of(stream)
    outbox, inbox = trio.open_memory_channel[Event](100)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(deliver, stream, ws, inbox, nursery.cancel_scope)
        nursery.start_soon(send_away, outbox, nursery.cancel_scope)
        with contextlib.suppress(trio.BrokenResourceError), room.member(outbox):
            outbox.send_nowait(room.welcome())
            ws.receive_data(early)
            farewell = await listen(stream, ws, room, outbox)
            nursery.cancel_scope.deadline = trio.current_time() + TIMEOUT
            if farewell is not None:
                await outbox.send(farewell)
        outbox.close()


async def send_away(outbox: Outbox, chatting: trio.CancelScope) -> None:
    """In a drain: a client that is told so comes back, and is placed anew. Its chat would go on with the old code, and
    then be cut.
    """
    await current_worker().wait_draining()
    chatting.deadline = trio.current_time() + TIMEOUT
    with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError):  # it was leaving anyhow
        await outbox.send(CloseConnection(code=CloseReason.GOING_AWAY))


async def listen(stream: trio.SocketStream, ws: WSConnection, room: Room, outbox: Outbox) -> CloseConnection | None:
    """Pass on what the client says, until it goes; return the farewell it is due."""
    said = ""
    pinged = False
    while True:
        for event in ws.events():
            if isinstance(event, CloseConnection):  # it says goodbye, or has broken the protocol
                return event.response()
            if isinstance(event, Ping):
                await outbox.send(event.response())
            elif isinstance(event, TextMessage):
                said += event.data
                if len(said) > LONGEST:
                    return CloseConnection(code=CloseReason.MESSAGE_TOO_BIG)
                if event.message_finished:
                    room.say(said)
                    said = ""
            elif isinstance(event, Message):
                return CloseConnection(code=CloseReason.UNSUPPORTED_DATA, reason="text only")
        with trio.move_on_after(TIMEOUT if pinged else SILENCE) as silence:
            data = await stream.receive_some()
        if not silence.cancelled_caught:
            if not data:
                return None
            pinged = False
            ws.receive_data(data)
        elif pinged:
            return CloseConnection(code=CloseReason.GOING_AWAY, reason="silent for too long")
        else:
            pinged = True
            await outbox.send(Ping())


async def deliver(
    stream: trio.SocketStream, ws: WSConnection, inbox: trio.MemoryReceiveChannel[Event], chatting: trio.CancelScope
) -> None:
    """Send what is for this client, one thing after the other; nobody listens to it when this ends."""
    try:
        async for event in inbox:
            with contextlib.suppress(LocalProtocolError):  # it has said goodbye meanwhile, and gets nothing else
                data = ws.send(event)
                with trio.fail_after(TIMEOUT):
                    await stream.send_all(data)
    except (trio.BrokenResourceError, trio.TooSlowError):
        pass  # it has gone, or takes nothing
    finally:
        chatting.cancel()


async def linger(stream: trio.SocketStream) -> None:
    """Let the client read the last that it was sent: closed over what it still sends, the connection would be reset."""
    with trio.move_on_after(LINGER):
        await stream.send_eof()
        while await stream.receive_some():
            pass
