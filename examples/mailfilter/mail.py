"""What a message holds, as far as a filter wants to know, from octets that anybody may have written.

Spam is full of what is no mail by any standard, and some of it is made to keep a filter busy. So nothing here raises
for what a message holds, and nothing takes longer than in proportion to its length: there is no recursion, each
pattern decides by the next octet, and what is parsed further (the value of a header) is cut first. The standard
library's ``email`` promises neither. What lies beyond the limits is not looked at, and the message is *odd*.
"""

from __future__ import annotations

import binascii
import re
from dataclasses import dataclass, field
from email.header import decode_header, make_header
from email.message import Message

MOST_HEADERS = 1000
MOST_PARTS = 200
DEEPEST = 20
"""Multiparts in multiparts, and messages in messages."""
LONGEST = 1000
"""Octets of a header's value: more is cut off."""

_HEADER = re.compile(rb"([!-9;-~]+)[ \t]*:([^\n]*(?:\n|\Z)(?:[ \t][^\n]*(?:\n|\Z))*)")


@dataclass
class Mail:
    """A message."""

    headers: dict[str, str] = field(default_factory=dict)
    """Its own, by lower-case name; the first of each name."""
    text: str = ""
    """Its parts of text, each octet a character."""
    odd: bool = False
    """Whether it is not what a mail program writes."""


def read(data: bytes) -> Mail:
    """Read a message."""
    mail = Mail()
    texts: list[bytes] = []
    waiting = [(data, 0)]
    for number in range(MOST_PARTS):
        if not waiting:
            break
        section, depth = waiting.pop()
        headers, start = read_headers(section)
        if start is None:
            mail.odd, start = True, 0
        if not number:
            mail.headers = headers
        kind, boundary = content_type(headers.get("content-type", "text/plain"))
        if kind is None or (kind.startswith("multipart/") and not boundary) or depth == DEEPEST:
            mail.odd, kind = True, "text/plain"
        parts = split(section[start:], boundary) if kind.startswith("multipart/") else []
        if kind.startswith("multipart/") and not parts:  # who shows it shows it as text
            mail.odd, kind = True, "text/plain"
        if parts:
            waiting += [(part, depth + 1) for part in reversed(parts)]
        elif kind == "message/rfc822":
            waiting.append((section[start:], depth + 1))
        elif kind.startswith("text/"):
            texts.append(decoded(section[start:], headers.get("content-transfer-encoding", "")))
    mail.odd = mail.odd or bool(waiting)
    mail.text = b"\n".join(texts).decode("latin-1")
    return mail


def read_headers(section: bytes) -> tuple[dict[str, str], int | None]:
    """The headers of a message or part, and where its body starts: ``None`` if they do not end as they should."""
    headers: dict[str, str] = {}
    at = len(envelope(section))
    for _ in range(MOST_HEADERS):
        if (line := _HEADER.match(section, at)) is None:
            break
        value = b" ".join(line[2][:LONGEST].split())
        headers.setdefault(line[1][:LONGEST].decode("ascii").lower(), value.decode("utf-8", "replace"))
        at = line.end()
    end = re.compile(rb"\r?\n|\Z").match(section, at)
    return headers, None if end is None else end.end()


def envelope(data: bytes) -> bytes:
    """The line that mailboxes put before a message."""
    return data[: data.find(b"\n") + 1] if data.startswith(b"From ") else b""


def without(data: bytes, prefix: bytes) -> bytes:
    """A message without its headers whose names start with ``prefix``, in lower case."""
    start = at = len(envelope(data))
    kept = []
    while (line := _HEADER.match(data, at)) is not None:
        if not line[1].lower().startswith(prefix):
            kept.append(line[0])
        at = line.end()
    return data[:start] + b"".join(kept) + data[at:]


def content_type(value: str) -> tuple[str | None, bytes]:
    """The type and the boundary that a Content-Type header names; ``None`` for a type if it cannot be read."""
    message = Message()
    message["content-type"] = value
    try:
        return message.get_content_type(), (message.get_boundary() or "").encode()
    except Exception:  # whatever it is: the library knows no error for its mistakes with what is no header
        return None, b""


def subject(mail: Mail) -> str:
    """The subject, as people read it; as it is if nobody can."""
    value = mail.headers.get("subject", "")
    try:
        return str(make_header(decode_header(value)))
    except Exception:  # as above: an unknown charset is only one of the reasons
        return value


def split(body: bytes, boundary: bytes) -> list[bytes]:
    """The parts of a multipart, at most as many as anybody looks at and one more."""
    delimiter = re.compile(rb"^--" + re.escape(boundary) + rb"(--)?[ \t]*\r?$\n?", re.M)
    parts: list[bytes] = []
    start: int | None = None
    for found in delimiter.finditer(body):
        if start is not None:
            parts.append(body[start : found.start()])
        start = found.end()
        if found[1] or len(parts) > MOST_PARTS:
            return parts
    if start is not None:
        parts.append(body[start:])  # it has been cut short
    return parts


def decoded(body: bytes, encoding: str) -> bytes:
    """A body without its transfer encoding; as it is if that cannot be undone."""
    try:
        if encoding.lower() == "base64":
            return binascii.a2b_base64(body + b"==")  # what is missing at its end is forgiven
        if encoding.lower() == "quoted-printable":
            return binascii.a2b_qp(body)
    except binascii.Error:
        pass
    return body
