"""Any WSGI application, one request to a connection, at capacity 1.

h11 speaks HTTP, the standard library's wsgiref speaks WSGI, and the pool decides who serves: nothing here parses, and
nothing here accepts. The variable ``APP`` names the application (``wsgi_app:application`` if it is not set).

A connection is closed after its response. At capacity 1 a client that keeps it open keeps a worker; whoever wants
persistent connections puts a proxy in front, which a worker that blocks should have anyway.
"""

from __future__ import annotations

import io
import logging
import os
import signal
import socket
import time
from collections.abc import Iterable
from typing import Any
from urllib.parse import unquote_to_bytes
from wsgiref.handlers import SimpleHandler, format_date_time

import h11
from backchannel_sync.handlers import load

log = logging.getLogger("wsgi")

APPLICATION = load(os.environ.get("APP", "wsgi_app:application"))
PATIENCE = float(os.environ.get("PATIENCE", "10"))
"""Seconds that a silent client gets."""
LIMIT = int(os.environ.get("LIMIT", "60"))
"""Seconds for one request. At capacity 1 a handler that hangs is not noticed by the protocol, so the service has a
limit of its own: SIGALRM ends the worker, and the parent starts another."""


def handle(connection: socket.socket) -> None:
    """Serve one request."""
    signal.alarm(LIMIT)
    connection.settimeout(PATIENCE)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1) if connection.family != socket.AF_UNIX else None
    exchange = Exchange(connection)
    try:
        exchange.serve()
        exchange.linger()
    except (OSError, h11.RemoteProtocolError) as error:
        log.info("a client went: %s", error)
    finally:
        signal.alarm(0)


class Exchange:
    """One request and its response on ``connection``."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self.http = h11.Connection(h11.SERVER)

    def serve(self) -> None:
        """Read the request, run the application. What is no HTTP is told so."""
        try:
            request = self.next_event()
            if isinstance(request, h11.Request):
                Run(self, request).run(APPLICATION)
        except h11.RemoteProtocolError as error:
            if self.http.our_state in (h11.IDLE, h11.SEND_RESPONSE):
                self.refuse(error.error_status_hint, str(error))

    def next_event(self) -> h11.Event | type[h11.PAUSED]:
        """What the client says next."""
        while True:
            event = self.http.next_event()
            if event is not h11.NEED_DATA:
                return event
            if self.http.they_are_waiting_for_100_continue:
                self.send(h11.InformationalResponse(status_code=100, reason=b"Continue", headers=[]))
            self.http.receive_data(self.connection.recv(65536))

    def send(self, *events: h11.Event) -> None:
        """Say ``events``, in one piece."""
        self.connection.sendall(b"".join(self.http.send(event) or b"" for event in events))

    def refuse(self, status: int, why: str) -> None:
        body = f"{why}\n".encode()
        headers = [("content-type", "text/plain"), ("content-length", str(len(body))), ("connection", "close")]
        self.send(h11.Response(status_code=status, headers=headers), h11.Data(data=body), h11.EndOfMessage())

    def linger(self) -> None:
        """Let the client read the response before what it still sends makes the kernel reset the connection."""
        while self.http.their_state is h11.SEND_BODY and isinstance(self.http.next_event(), h11.Data):
            pass  # what is here already, and the end of a request without a body above all
        if self.http.their_state is h11.SEND_BODY:
            self.connection.shutdown(socket.SHUT_WR)
            end = time.monotonic() + 2
            while time.monotonic() < end and self.connection.recv(65536):
                pass


class Body(io.RawIOBase):
    """The request's body, as a file."""

    def __init__(self, exchange: Exchange) -> None:
        self.exchange = exchange
        self.rest = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self.rest:
            if self.exchange.http.their_state is not h11.SEND_BODY:
                return 0
            event = self.exchange.next_event()
            if isinstance(event, h11.Data):
                self.rest = bytes(event.data)
        count = min(len(buffer), len(self.rest))
        buffer[:count], self.rest = self.rest[:count], self.rest[count:]
        return count


class Run(SimpleHandler):
    """One run of the application: wsgiref's, with h11 in place of its own writing."""

    server_software = f"h11/{h11.__version__}"
    os_environ: dict[str, str] = {}  # noqa: RUF012 - wsgiref's own name: what every environ starts from

    def __init__(self, exchange: Exchange, request: h11.Request) -> None:
        super().__init__(
            io.BufferedReader(Body(exchange)), None, None, environ(exchange.connection, request), False, True
        )
        self.exchange = exchange
        self.bodiless = request.method == b"HEAD"
        self.waiting: list[h11.Event] = []

    def get_stderr(self) -> io.TextIOBase:
        return Log()

    def send_headers(self) -> None:
        """wsgiref has all headers; the first piece of the body goes out with them."""
        self.cleanup_headers()
        self.headers_sent = True
        status, _, reason = self.status.partition(" ")
        headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in self.headers.items()]
        if "Date" not in self.headers:
            headers.append((b"date", format_date_time(time.time()).encode()))
        headers.append((b"connection", b"close"))
        self.bodiless = self.bodiless or status in ("204", "304")
        self.waiting.append(h11.Response(status_code=int(status), reason=reason.encode("latin-1"), headers=headers))

    def _write(self, data: bytes) -> None:
        if data and not self.bodiless:
            self.waiting.append(h11.Data(data=data))

    def _flush(self) -> None:
        self.exchange.send(*self.waiting)
        self.waiting.clear()

    def finish_content(self) -> None:
        super().finish_content()
        self.waiting.append(h11.EndOfMessage())
        self._flush()

    def log_exception(self, exc_info: Any) -> None:
        log.error("the application failed", exc_info=exc_info)


class Log(io.TextIOBase):
    """``wsgi.errors``."""

    def write(self, text: str) -> int:
        if text.strip():
            log.error("%s", text.rstrip())
        return len(text)


def environ(connection: socket.socket, request: h11.Request) -> dict[str, Any]:
    """PEP 3333's variables of ``request``."""
    path, _, query = request.target.partition(b"?")
    server, client = connection.getsockname(), connection.getpeername()
    host, port = server[:2] if isinstance(server, tuple) else ("localhost", 0)
    found = {
        "REQUEST_METHOD": request.method.decode("ascii"),
        "SCRIPT_NAME": "",
        "PATH_INFO": unquote_to_bytes(path).decode("latin-1"),
        "QUERY_STRING": query.decode("latin-1"),
        "SERVER_NAME": host,
        "SERVER_PORT": str(port),
        "SERVER_PROTOCOL": f"HTTP/{request.http_version.decode('ascii')}",
        "REMOTE_ADDR": client[0] if isinstance(client, tuple) and client else "",
        "wsgi.input_terminated": True,
    }
    found |= joined(request.headers)
    return found


def joined(headers: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """Headers as variables. A name with an underscore could pass for another one, and is dropped."""
    found: dict[str, str] = {}
    for name, value in headers:
        if b"_" in name:
            continue
        key = name.decode("ascii").upper().replace("-", "_")
        if key not in ("CONTENT_TYPE", "CONTENT_LENGTH"):
            key = f"HTTP_{key}"
        text = value.decode("latin-1")
        found[key] = f"{found[key]}{'; ' if key == 'HTTP_COOKIE' else ', '}{text}" if key in found else text
    return found
