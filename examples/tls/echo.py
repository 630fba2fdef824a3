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

TIMEOUT = float(os.environ.get("TIMEOUT", "10"))
"""Seconds for the handshake as a whole, and for each silence after it."""


def context() -> ssl.SSLContext:
    """What connections are encrypted with. Raises ``OSError`` if the certificate or its key cannot be used."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.minimum_version = ssl.TLSVersion.TLSv1_2  # whatever the system's configuration lets pass
    made.options |= ssl.OP_NO_RENEGOTIATION  # which costs the server more than the client
    certificate, key = os.environ.get("CERTIFICATE", "certificate.pem"), os.environ.get("KEY", "key.pem")
    # a key with a passphrase is an error: nobody is there who could be asked for it
    made.load_cert_chain(certificate, key, password=b"")
    if os.stat(key).st_mode & 0o007:
        log.warning("everybody on this machine may read %s: chmod o= %s", key, key)
    return made


CONTEXT = context()

T = TypeVar("T")


def handle(connection: Connection) -> Waiting:
    """Say everything back, encrypted."""
    try:
        # this refuses a client that has gone already, too
        tls = CONTEXT.wrap_socket(connection.socket, server_side=True, do_handshake_on_connect=False)
        connection.socket = tls
        yield from when_possible(tls.do_handshake)
        while data := (yield from when_possible(lambda: tls.recv(16384))):
            while data:
                piece = data
                data = data[(yield from when_possible(lambda: tls.send(piece))) :]  # noqa: B023 - run before the next
        yield from when_possible(tls.unwrap)
    except OSError as error:  # of TLS as well: no handshake with it, or a goodbye that is none
        log.info("a client went: %s", error)


def when_possible(step: Callable[[], T]) -> Generator[Wait, None, T]:
    """Do ``step`` as soon as the network lets it. Raises ``TimeoutError`` after :data:`TIMEOUT`."""
    until = time.monotonic() + TIMEOUT
    while True:
        try:
            return step()
        except ssl.SSLWantReadError:
            yield Wait(selectors.EVENT_READ, until)
        except ssl.SSLWantWriteError:
            yield Wait(selectors.EVENT_WRITE, until)
        if time.monotonic() >= until:
            raise TimeoutError("silent for too long")
