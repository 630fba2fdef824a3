"""A TLS echo: many connections in each worker, the standard library's ``ssl`` on sockets that do not block.

The connection's socket is replaced by its TLS one; after that, each step is tried, and where TLS must wait for the
network (it may want to read in order to write) the handler waits for just that.
"""

from __future__ import annotations

import logging
import os
import selectors
import ssl
import time
from collections.abc import Callable, Generator
from typing import TypeVar

from backchannel_sync import Connection, Wait, Waiting

log = logging.getLogger("echo")

PATIENCE = 10.0
"""Seconds for the handshake, and for each silence after it."""

CONTEXT = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
CONTEXT.load_cert_chain(os.environ.get("CERTIFICATE", "certificate.pem"), os.environ.get("KEY", "key.pem"))

T = TypeVar("T")


def handle(connection: Connection) -> Waiting:
    """Say everything back, encrypted."""
    connection.socket = tls = CONTEXT.wrap_socket(connection.socket, server_side=True, do_handshake_on_connect=False)
    try:
        yield from when_possible(tls.do_handshake)
        while data := (yield from when_possible(lambda: tls.recv(16384))):
            while data:
                piece = data
                data = data[(yield from when_possible(lambda: tls.send(piece))) :]  # noqa: B023 - run before the next
        yield from when_possible(tls.unwrap)
    except (OSError, ssl.SSLError) as error:
        log.info("a client went: %s", error)


def when_possible(step: Callable[[], T]) -> Generator[Wait, None, T]:
    """Do ``step`` as soon as the network lets it. Raises ``TimeoutError`` after :data:`PATIENCE`."""
    until = time.monotonic() + PATIENCE
    while True:
        try:
            return step()
        except ssl.SSLWantReadError:
            yield Wait(selectors.EVENT_READ, until)
        except ssl.SSLWantWriteError:
            yield Wait(selectors.EVENT_WRITE, until)
        if time.monotonic() >= until:
            raise TimeoutError("silent for too long")
