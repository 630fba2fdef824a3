"""A mail filter after ``spamd``: lines in, a verdict out, heavy workers of capacity 1.

It speaks enough of SpamAssassin's own protocol for its client, ``spamc``, to work: ``PING``, ``CHECK``, ``SYMBOLS`` and
``PROCESS``. The rules are few and only an example; what is real is the shape: each worker loads what it needs once,
blocks while it thinks, and the pool keeps some of them spare. As each client has a worker for itself, none may keep it:
a request has so many seconds to come, so many to be judged, and its answer so many to be taken.
"""

from __future__ import annotations

import contextlib
import faulthandler
import io
import logging
import os
import re
import signal
import socket
import time
from collections.abc import Callable

import mail

log = logging.getLogger("filter")

THRESHOLD = 5.0
MOST = 8 << 20
"""Octets of a message, at most."""
TIMEOUT = float(os.environ.get("TIMEOUT", "30"))
"""Seconds for a whole request to come, and for its answer to be taken."""
LIMIT = float(os.environ.get("LIMIT", "120"))
"""Seconds for it all. A worker that needs longer is ended by SIGALRM, says where it was, and is replaced."""
faulthandler.register(signal.SIGALRM, all_threads=False, chain=True)
LINGER = 2.0
"""Seconds in which a client may read its answer, though it still sends."""
GTUBE = "XJS*C4JDBQADN1.NSBN3*2IDNEN*GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X"
"""The string that every spam filter must take for spam."""

RULES: dict[str, tuple[float, Callable[[mail.Mail], bool]]] = {
    "GTUBE": (1000.0, lambda message: GTUBE in message.text),
    "MISSING_DATE": (1.4, lambda message: "date" not in message.headers),
    "SUBJ_ALL_CAPS": (1.6, lambda message: mail.subject(message).isupper()),
    "URI_NUMERIC": (2.0, lambda message: re.search(r"https?://\d{1,3}(?:\.\d{1,3}){3}", message.text) is not None),
    "MALFORMED": (1.0, lambda message: message.odd),
}


class Refused(Exception):
    """A request that gets no verdict, but one of the statuses of ``sysexits.h``. ``spamc -x`` makes 74 of each."""


UNAVAILABLE, IOERR, PROTOCOL = "69 EX_UNAVAILABLE", "74 EX_IOERR", "76 EX_PROTOCOL"


class Gone(Exception):
    """The client has gone, or is too slow."""


class Request(io.RawIOBase):
    """What a client sends, within :data:`TIMEOUT`: however often it sends an octet, it gets no longer."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self.until = time.monotonic() + TIMEOUT

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray) -> int:  # type: ignore[override]
        try:
            if (left := self.until - time.monotonic()) <= 0:
                raise TimeoutError("the request took too long")
            self.connection.settimeout(left)
            return self.connection.recv_into(buffer)
        except OSError as error:
            raise Gone(error) from None


def handle(connection: socket.socket) -> None:
    """Serve one client."""
    signal.setitimer(signal.ITIMER_REAL, LIMIT)
    try:
        try:
            response = answer(io.BufferedReader(Request(connection)))
        except Refused as refused:
            response = f"SPAMD/1.0 {refused}\r\n".encode()  # no headers: spamc would take them for a verdict
        send(connection, response)
    except Gone as gone:
        log.info("a client went: %s", gone)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def send(connection: socket.socket, response: bytes) -> None:
    """Send it, and let the client read it: closed over what it still sends, the connection would be reset."""
    try:
        connection.settimeout(TIMEOUT)
        connection.sendall(response)
        connection.shutdown(socket.SHUT_WR)
    except OSError as error:
        raise Gone(error) from None
    until = time.monotonic() + LINGER
    with contextlib.suppress(OSError):
        while (left := until - time.monotonic()) > 0:
            connection.settimeout(left)
            if not connection.recv(65536):
                return


def answer(file: io.BufferedReader) -> bytes:
    """Read a request, and make up the response. :class:`Refused` if it gets none; nothing of it is repeated there."""
    command, _, version = file.readline(1000).decode("ascii", "replace").strip().partition(" ")
    if not version.startswith("SPAMC/"):
        raise Refused(f"{PROTOCOL} Say COMMAND SPAMC/VERSION")
    if command == "PING":
        return b"SPAMD/1.5 0 PONG\r\n"
    if command not in ("CHECK", "SYMBOLS", "PROCESS"):
        raise Refused(f"{UNAVAILABLE} No such command here")
    data = read_message(file, read_length(file))
    score, hits = judge(data)
    spam = score >= THRESHOLD
    body = b""
    if command == "SYMBOLS":
        body = f"{','.join(hits)}\r\n".encode()
    elif command == "PROCESS":
        body = marked(data, f"X-Spam-Flag: {'YES' if spam else 'NO'}", f"X-Spam-Score: {score:.1f} ({' '.join(hits)})")
    verdict = f"Spam: {spam} ; {score:.1f} / {THRESHOLD:.1f}\r\n"
    return f"SPAMD/1.1 0 EX_OK\r\nContent-length: {len(body)}\r\n{verdict}\r\n".encode() + body


def read_length(file: io.BufferedReader) -> int | None:
    """Read the headers of a request; return the length of its message if they tell."""
    lengths = set()
    for _ in range(100):
        line = file.readline(1000)
        if line in (b"\r\n", b"\n"):
            if len(lengths) > 1:
                raise Refused(f"{PROTOCOL} Content-length differs from Content-length")
            return lengths.pop() if lengths else None
        name, colon, value = line.partition(b":")
        if not (colon and line.endswith(b"\n")):
            break
        if name.strip().lower() == b"content-length":
            if not value.strip().isdigit():
                break
            lengths.add(int(value))
    raise Refused(f"{PROTOCOL} Headers that nobody understands")


def read_message(file: io.BufferedReader, length: int | None) -> bytes:
    """Read the message, which is ``length`` long or ends where the client stops sending."""
    if length is not None and length > MOST:
        raise Refused(f"{IOERR} Too large: {MOST} octets at most")
    data = file.read(MOST + 1 if length is None else length)
    if len(data) > MOST:  # and never a part of it: it would be the rest that is lost
        raise Refused(f"{IOERR} Too large: {MOST} octets at most")
    if length is not None and len(data) < length:
        raise Refused(f"{PROTOCOL} Content-length is {length}, but there were {len(data)} octets")
    return data


def judge(data: bytes) -> tuple[float, list[str]]:
    """The score of a message, and the rules that it meets."""
    message = mail.read(data)
    hits = [name for name, (_, rule) in RULES.items() if rule(message)]
    return sum(RULES[name][0] for name in hits), hits


def marked(data: bytes, *lines: str) -> bytes:
    """A message with ``lines`` as its first headers, and without any such headers that its sender has written."""
    data = mail.without(data, b"x-spam-")
    first = mail.envelope(data)
    newline = b"\r\n" if data[: data.find(b"\n") + 1].endswith(b"\r\n") else b"\n"
    return first + b"".join(line.encode() + newline for line in lines) + data[len(first) :]
