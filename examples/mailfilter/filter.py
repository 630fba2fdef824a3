"""A mail filter after ``spamd``: lines in, a verdict out, heavy workers of capacity 1.

It speaks enough of SpamAssassin's own protocol for its client, ``spamc``, to work: ``PING``, ``CHECK``, ``SYMBOLS`` and
``PROCESS``. The standard library's ``email`` reads headers and messages. The rules are few and only an example; what is
real is the shape: each worker loads what it needs once, blocks while it thinks, and the pool keeps some of them spare.
"""

from __future__ import annotations

import contextlib
import email
import email.policy
import re
import socket
from collections.abc import Callable
from email.message import EmailMessage
from http.client import HTTPException, parse_headers
from io import BufferedReader

THRESHOLD = 5.0
MOST = 8 << 20
"""Octets of a message, at most."""
GTUBE = "XJS*C4JDBQADN1.NSBN3*2IDNEN*GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X"
"""The string that every spam filter must take for spam."""

RULES: dict[str, tuple[float, Callable[[EmailMessage, str], bool]]] = {
    "GTUBE": (1000.0, lambda _message, text: GTUBE in text),
    "MISSING_DATE": (1.4, lambda message, _text: "date" not in message),
    "SUBJ_ALL_CAPS": (1.6, lambda message, _text: (message["subject"] or "").isupper()),
    "URI_NUMERIC": (2.0, lambda _message, text: re.search(r"https?://\d+\.\d+\.\d+\.\d+", text) is not None),
}


def handle(connection: socket.socket) -> None:
    """Serve one client."""
    connection.settimeout(30)
    with contextlib.suppress(OSError, EOFError):  # the client went, or fell silent
        with connection.makefile("rb") as file:
            connection.sendall(answer(file))


def answer(file: BufferedReader) -> bytes:
    """Read a request, and make up the response."""
    command, _, version = file.readline(1000).decode("ascii", "replace").strip().partition(" ")
    if not version.startswith("SPAMC/"):
        return b"SPAMD/1.0 76 EX_PROTOCOL Say COMMAND SPAMC/VERSION\r\n"
    if command == "PING":
        return b"SPAMD/1.5 0 PONG\r\n"
    if command not in ("CHECK", "SYMBOLS", "PROCESS"):
        return f"SPAMD/1.0 69 EX_UNAVAILABLE No {command[:20]} here\r\n".encode()
    try:
        length = int(parse_headers(file).get("content-length", 0))
    except (HTTPException, ValueError):
        return b"SPAMD/1.0 76 EX_PROTOCOL Headers that nobody understands\r\n"
    if not 0 <= length <= MOST:
        return b"SPAMD/1.0 74 EX_IOERR Too large\r\n"
    data = file.read(length) if length else file.read(MOST)
    if len(data) < length:
        raise EOFError
    score, hits = judge(data)
    spam = "True" if score >= THRESHOLD else "False"
    verdict = f"Spam: {spam} ; {score:.1f} / {THRESHOLD:.1f}\r\n"
    body = b""
    if command == "SYMBOLS":
        body = f"{','.join(hits)}\r\n".encode()
    elif command == "PROCESS":
        flag = {"True": "YES", "False": "NO"}[spam]
        body = f"X-Spam-Flag: {flag}\r\nX-Spam-Score: {score:.1f} ({' '.join(hits)})\r\n".encode() + data
    return f"SPAMD/1.1 0 EX_OK\r\nContent-length: {len(body)}\r\n{verdict}\r\n".encode() + body


def judge(data: bytes) -> tuple[float, list[str]]:
    """The score of a message, and the rules that it meets."""
    message = email.message_from_bytes(data, policy=email.policy.default)
    assert isinstance(message, EmailMessage)
    parts = [part.get_payload(decode=True) for part in message.walk() if part.get_content_maintype() == "text"]
    text = b"\n".join(part for part in parts if isinstance(part, bytes)).decode("latin-1")
    hits = [name for name, (_, rule) in RULES.items() if rule(message, text)]
    return sum(RULES[name][0] for name in hits), hits
