"""Any WSGI application, one request to a connection, at capacity 1.

httptools reads HTTP, the standard library's wsgiref speaks WSGI, and the pool decides who serves: nothing here parses,
and nothing here accepts. The variable ``APP`` names the application (``wsgi_app:application`` if it is not set).

A connection is closed after its response. At capacity 1 a client that keeps it open keeps a worker; whoever wants
persistent connections puts a proxy in front, which a worker that blocks should have anyway.
"""

from __future__ import annotations

import faulthandler
import functools
import io
import logging
import os
import re
import signal
import socket
import time
from typing import Any
from urllib.parse import unquote_to_bytes
from wsgiref.handlers import SimpleHandler, format_date_time

import httptools
from backchannel_server.handlers import load

log = logging.getLogger("wsgi")

APPLICATION = load(os.environ.get("APP", "wsgi_app:application"))
TIMEOUT = float(os.environ.get("TIMEOUT", "10"))
"""Seconds that a silent client gets."""
LIMIT = int(os.environ.get("LIMIT", "60"))
"""Seconds for one request. At capacity 1 a handler that hangs is not noticed by the protocol, so the service has a
limit of its own: SIGALRM ends the worker, which says where it was, and the parent starts another."""
faulthandler.register(signal.SIGALRM, all_threads=False, chain=True)
HEAD_LIMIT = 65536
"""Bytes that a request may take up to its body."""
FORBIDDEN = re.compile(r"[\x00\r\n]")
"""What would end a header's line, and begin another."""


def handle(connection: socket.socket) -> None:
    """Serve one request."""
    signal.alarm(LIMIT)
    connection.settimeout(TIMEOUT)
    exchange = Exchange(connection)
    try:
        exchange.serve()
        exchange.linger()
    except OSError as error:
        log.info("a client went: %s", error)
    finally:
        signal.alarm(0)


class Refused(Exception):
    """What the client sends is no request that is served here: ``status`` and why."""

    def __init__(self, status: str, why: str) -> None:
        super().__init__(why)
        self.status = status


class Exchange:
    """One request and its response on ``connection``. httptools calls the methods ``on_...`` with what it has read."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self.parser = httptools.HttpRequestParser(self)
        self.url = b""
        self.headers: dict[str, str] = {}
        self.size = 0
        self.has_head = self.has_all = self.must_continue = self.answered = False
        self.body = bytearray()
        """What was read of the body, and not yet by the application."""

    # ------------------------------------------------------------------------------------ reading

    def on_url(self, url: bytes) -> None:
        if not self.has_all:
            self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        if self.has_head:  # a trailer, or the header of another request, which nobody will answer
            return
        key = name.decode("latin-1").upper().replace("-", "_")
        if b"_" in name:
            return  # it could pass for another one
        if key not in ("CONTENT_TYPE", "CONTENT_LENGTH"):
            key = f"HTTP_{key}"
        text = value.decode("latin-1")
        if key in self.headers:
            text = f"{self.headers[key]}{'; ' if key == 'HTTP_COOKIE' else ', '}{text}"
        self.headers[key] = text

    def on_headers_complete(self) -> None:
        self.has_head = True

    def on_body(self, data: bytes) -> None:
        if not self.has_all:
            self.body += data

    def on_message_complete(self) -> None:
        self.has_all = True

    def read(self) -> None:
        """Read on, once. Raise :class:`Refused` for what is not HTTP, and :class:`OSError` when the client is gone."""
        if self.must_continue:
            self.must_continue = False
            self.connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        data = self.connection.recv(65536)
        if not data:
            raise ConnectionResetError("it closed before its request was whole")
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            pass  # served as if it had not asked
        except httptools.HttpParserError as error:
            if not self.has_all:  # what comes after a whole request is not looked at
                raise Refused("400 Bad Request", str(error) or "this is not HTTP") from None
        self.size += len(data)
        if not self.has_head and self.size > HEAD_LIMIT:
            raise Refused("431 Request Header Fields Too Large", f"a head may take {HEAD_LIMIT} bytes")

    def read_head(self) -> None:
        """Read all that comes before the body."""
        while not self.has_head:
            self.read()
        version = self.parser.get_http_version()
        if version not in ("1.0", "1.1"):
            raise Refused("505 HTTP Version Not Supported", "HTTP/1.1 is spoken here")
        if version == "1.1" and "HTTP_HOST" not in self.headers:
            raise Refused("400 Bad Request", "the header Host is missing")
        self.must_continue = not self.has_all and self.headers.get("HTTP_EXPECT", "").lower() == "100-continue"

    # ------------------------------------------------------------------------------------ serving

    def serve(self) -> None:
        """Read the request, run the application. What is not HTTP is told so."""
        try:
            self.read_head()
            Run(self).run(APPLICATION)
        except Refused as refused:
            if not self.answered:
                body = f"{refused}\n"
                self.send(
                    f"HTTP/1.1 {refused.status}\r\nContent-Type: text/plain\r\nContent-Length: {len(body)}\r\n"
                    f"Connection: close\r\n\r\n{body}".encode()
                )

    def send(self, data: bytes) -> None:
        if self.answered and self.connection.family != socket.AF_UNIX:
            # a response in pieces: none shall wait until the client has acknowledged the one before
            self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.answered = True
        self.connection.sendall(data)

    def linger(self) -> None:
        """Let the client read the response before what it still sends makes the kernel reset the connection."""
        if not self.has_all:
            self.connection.shutdown(socket.SHUT_WR)
            end = time.monotonic() + 2
            while time.monotonic() < end and self.connection.recv(65536):
                pass


class Body(io.RawIOBase):
    """The request's body, as a file."""

    def __init__(self, exchange: Exchange) -> None:
        self.exchange = exchange

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        body = self.exchange.body
        while not body and not self.exchange.has_all:
            self.exchange.read()
        count = min(len(buffer), len(body))
        buffer[:count] = body[:count]
        del body[:count]
        return count


class Run(SimpleHandler):
    """One run of the application: wsgiref's, that writes through ``exchange``."""

    http_version = "1.1"
    server_software = "backchannel"
    os_environ: dict[str, str] = {}  # noqa: RUF012 - wsgiref's own name: what every environ starts from

    def __init__(self, exchange: Exchange) -> None:
        super().__init__(io.BufferedReader(Body(exchange)), None, Log(), environ(exchange), False, True)
        self.exchange = exchange
        self.bodiless = self.base_env["REQUEST_METHOD"] == "HEAD"
        self.in_chunks = False
        self.waiting: list[bytes] = []

    def send_headers(self) -> None:
        """wsgiref has all headers; the first piece of the body goes out with them."""
        self.cleanup_headers()
        lines = [f"HTTP/1.1 {self.status}"]
        headers = self.headers.items()
        lines += [f"{name}: {value}" for name, value in headers]
        names = {name.lower() for name, _ in headers}
        if "date" not in names:
            lines.append(f"Date: {date(int(time.time()))}")
        self.bodiless = self.bodiless or self.status[:3] in ("204", "304")
        # a length that is not known is told by chunks: an end that came too early shows
        if "content-length" not in names and not self.bodiless and self.base_env["SERVER_PROTOCOL"] == "HTTP/1.1":
            self.in_chunks = True
            lines.append("Transfer-Encoding: chunked")
        lines.append("Connection: close")
        if FORBIDDEN.search("".join(lines)):
            raise ValueError(f"a header may not hold a line's end: {lines}")
        self.waiting.append("\r\n".join((*lines, "", "")).encode("latin-1"))
        self.headers_sent = True  # nothing can go wrong with them any more; until here an error is told by a response

    def _write(self, data: bytes) -> None:
        if data and not self.bodiless:
            self.waiting.append(b"%x\r\n%b\r\n" % (len(data), data) if self.in_chunks else data)

    def _flush(self) -> None:
        if self.waiting:
            self.exchange.send(b"".join(self.waiting))
            self.waiting.clear()

    def finish_content(self) -> None:
        super().finish_content()
        if self.in_chunks:
            self.waiting.append(b"0\r\n\r\n")
        self._flush()

    def log_exception(self, exc_info: Any) -> None:
        log.error("the application failed", exc_info=exc_info)


@functools.lru_cache(1)
def date(second: int) -> str:
    """The header's form of ``second``."""
    return format_date_time(second)


class Log(io.TextIOBase):
    """``wsgi.errors``."""

    def write(self, text: str) -> int:
        if text.strip():
            log.error("%s", text.rstrip())
        return len(text)


def environ(exchange: Exchange) -> dict[str, Any]:
    """PEP 3333's variables of what ``exchange`` has read."""
    server, client = exchange.connection.getsockname(), exchange.connection.getpeername()
    host, port = server[:2] if isinstance(server, tuple) else ("localhost", 0)
    path, _, query = exchange.url.partition(b"?")
    return exchange.headers | {
        "REQUEST_METHOD": exchange.parser.get_method().decode("ascii"),
        "SCRIPT_NAME": "",
        "PATH_INFO": (unquote_to_bytes(path) if b"%" in path else path).decode("latin-1"),
        "QUERY_STRING": query.decode("latin-1"),
        "SERVER_NAME": host,
        "SERVER_PORT": str(port),
        "SERVER_PROTOCOL": f"HTTP/{exchange.parser.get_http_version()}",
        "REMOTE_ADDR": client[0] if isinstance(client, tuple) and client else "",
        "wsgi.input_terminated": True,
    }
