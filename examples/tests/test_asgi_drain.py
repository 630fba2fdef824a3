"""The ASGI example in a drain: no request is lost, and nobody stays with the old code."""

from __future__ import annotations

import http.client
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import h2.connection
import h2.events
from running import Running, running
from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, CloseConnection, Request, TextMessage

POOL = "--listen 127.0.0.1:{port} --status {status} --capacity 100 --workers 1"
ASGI = f"python -m backchannel_trio {POOL} asgi_server:service"
APPLICATION = """
async def application(scope, receive, send):
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        while (message := await receive())["type"] == "websocket.receive":
            await send({"type": "websocket.send", "text": message["text"]})
        return
    if scope["type"] != "http":
        raise RuntimeError("no lifespan here")
    while (await receive()).get("more_body"):
        pass
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"9")]})
    await send({"type": "http.response.body", "body": b"release 1"})
"""


@contextmanager
def serving(folder: Path, **variables: str) -> Iterator[Running]:
    (folder / "released.py").write_text(APPLICATION)
    variables |= {"APP": "released:application", "PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
    with running("asgi", folder, ASGI, **variables) as service:
        yield service


def reload(service: Running, folder: Path) -> None:
    """Bring release 2; return when it serves."""
    (folder / "released.py").write_text(APPLICATION.replace("release 1", "release 2"))
    service.server.process.send_signal(signal.SIGHUP)
    service.until(lambda document: document["generation"] == 2 and not document["reloading"])


def test_a_client_that_keeps_asking_comes_to_the_new_code(tmp_path: Path) -> None:
    with serving(tmp_path, KEEP_ALIVE="60") as service:
        client = http.client.HTTPConnection(*service.address, timeout=20)

        def ask() -> tuple[bytes, str | None]:
            client.request("GET", "/")
            response = client.getresponse()
            return response.read(), response.getheader("connection")

        assert ask() == (b"release 1", None)
        reload(service, tmp_path)
        assert ask() == (b"release 1", "close"), "the one that was on its way when the drain began, say"
        for _ in range(3):
            assert ask() == (b"release 2", None)
        client.close()


def test_a_request_that_has_begun_is_answered(tmp_path: Path) -> None:
    with serving(tmp_path) as service, service.connect() as client:
        client.sendall(b"POST / HTTP/1.1\r\nhost: here\r\ncontent-length: 10\r\n\r\nfirst")
        service.until(lambda document: document["workers"][0]["open"] == 1)
        reload(service, tmp_path)
        client.sendall(b" last")
        answer = client.makefile("rb").read()
        assert answer.endswith(b"release 1")
        assert b"connection: close" in answer.lower()


def test_an_idle_connection_is_closed_soon(tmp_path: Path) -> None:
    with serving(tmp_path, KEEP_ALIVE="600") as service:
        client = http.client.HTTPConnection(*service.address, timeout=20)
        client.request("GET", "/")
        assert client.getresponse().read() == b"release 1"
        began = time.monotonic()
        service.server.process.send_signal(signal.SIGTERM)
        assert client.sock.recv(1) == b""
        assert time.monotonic() - began < 20
        client.close()


# ---------------------------------------------------------------------------------------- HTTP/2


class Http2:
    """A client that speaks HTTP/2 by prior knowledge."""

    def __init__(self, sock: socket.socket) -> None:
        self.socket = sock
        self.connection = h2.connection.H2Connection()
        self.connection.initiate_connection()
        self.events: list[h2.events.Event] = []
        self.ended = False
        self.send()

    def send(self) -> None:
        self.socket.sendall(self.connection.data_to_send())

    def begin(self) -> int:
        """A request whose body does not end yet."""
        stream = self.connection.get_next_available_stream_id()
        path = [(":method", "POST"), (":path", "/"), (":scheme", "http"), (":authority", "here")]
        self.connection.send_headers(stream, path)
        self.send()
        return stream

    def until(self, kind: type[h2.events.Event]) -> h2.events.Event | None:
        """The next event of a kind; ``None`` if the connection ends before."""
        while True:
            for event in self.events:
                if isinstance(event, kind):
                    self.events.remove(event)
                    return event
            data = self.socket.recv(1 << 16)
            if not data:
                self.ended = True
                return None
            self.events += self.connection.receive_data(data)
            self.send()


def test_http2_is_told_and_what_has_begun_is_answered(tmp_path: Path) -> None:
    with serving(tmp_path, KEEP_ALIVE="600") as service, service.connect() as busy, service.connect() as idle:
        clients = Http2(busy), Http2(idle)
        for client in clients:
            client.connection.end_stream(client.begin())
            client.send()
            assert client.until(h2.events.StreamEnded)
        client = clients[0]
        held = client.begin()
        client.connection.ping(b"barrier.")
        client.send()
        assert client.until(h2.events.PingAckReceived), "the request has been read"
        service.server.process.send_signal(signal.SIGHUP)
        # h2 lets its user do nothing more on a connection that has been told to end: so the rest is said by hand
        sent_at_end = b"\x00\x00\x00\x00\x01" + held.to_bytes(4, "big")
        told, data = b"", b""
        while len(told) < 17 or told[3] != 7:
            told += busy.recv(1)
            if len(told) >= 9 and told[3] != 7 and len(told) == 9 + int.from_bytes(told[:3], "big"):
                told = b""
        assert int.from_bytes(told[9:13], "big") == held
        assert int.from_bytes(told[13:17], "big") == 0
        busy.sendall(sent_at_end)
        while part := busy.recv(1 << 16):
            data += part
        assert b"release 1" in data
        goodbye = clients[1].until(h2.events.ConnectionTerminated)
        assert isinstance(goodbye, h2.events.ConnectionTerminated)
        assert goodbye.error_code == 0
        assert idle.recv(1) == b""


# ------------------------------------------------------------------------------------- WebSocket


class Socket:
    """A WebSocket client."""

    def __init__(self, sock: socket.socket) -> None:
        self.socket = sock
        self.connection = WSConnection(ConnectionType.CLIENT)
        self.send(Request(host="here", target="/"))
        assert isinstance(self.next(), AcceptConnection)

    def send(self, event: Request | TextMessage | CloseConnection) -> None:
        self.socket.sendall(self.connection.send(event))

    def next(self) -> object:
        """The next event."""
        while True:
            for event in self.connection.events():
                return event
            self.connection.receive_data(self.socket.recv(1 << 16) or None)


def test_a_websocket_is_told_to_come_back(tmp_path: Path) -> None:
    with serving(tmp_path) as service, service.connect() as first, service.connect() as second:
        answers, silent = Socket(first), Socket(second)
        for client in (answers, silent):
            client.send(TextMessage("hello"))
            event = client.next()
            assert isinstance(event, TextMessage)
            assert event.data == "hello"
        reload(service, tmp_path)
        for client in (answers, silent):
            event = client.next()
            assert isinstance(event, CloseConnection)
            assert event.code == 1012
        answers.send(event.response())
        assert first.recv(1) == b""
        assert second.recv(1) == b"", "one that does not answer is not waited for until the drain deadline"
    assert "Traceback" not in service.server.log
