"""The test service and the start of a pool, for controls: small, blocking, without any protocol.

A control is a server that is wrong on purpose, or merely different, so that the suite can show that it tells them
apart.
"""

from __future__ import annotations

import os
import resource
import signal
import socket
import sys
import time
from collections.abc import Callable, Sequence

__all__ = ["listen", "run_pool", "serve"]


def listen(address: str, *, reuseport: bool = False) -> socket.socket:
    """A listening socket that does not block."""
    host, _, port = address.rpartition(":")
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if reuseport:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    listener.bind((host, int(port)))
    listener.listen(1024)
    listener.setblocking(False)
    return listener


def serve(connection: socket.socket) -> None:
    """One connection of the test service, and its end."""
    who = f"{os.getpid()} -".encode()
    with connection:
        connection.setblocking(True)
        line = connection.recv(4096).split(b"\n")[0].split()
        match line:
            case [b"who"]:
                connection.sendall(who + b"\n")
            case [b"burn", milliseconds]:
                until = time.process_time() + int(milliseconds) / 1000
                while time.process_time() < until:
                    pass
                connection.sendall(who + b"\n")
            case [b"exit", status]:
                os._exit(int(status))
            case [b"hold"]:
                connection.sendall(_holding(who))
                while data := connection.recv(4096):
                    connection.sendall(_holding(who) * data.count(b"\n"))


def _holding(who: bytes) -> bytes:
    return b"%s %d\n" % (who, resource.getrusage(resource.RUSAGE_SELF).ru_nvcsw)


def run_pool(listeners: Sequence[socket.socket], workers: Sequence[Callable[[], None]]) -> None:
    """Fork a process for each of ``workers``, say READY, and wait for SIGTERM or SIGINT; then end them all."""
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGTERM, signal.SIGINT))
    pids = []
    for worker in workers:
        pid = os.fork()
        if not pid:
            signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
            try:
                worker()
            finally:
                os._exit(1)
        pids.append(pid)
    host, port = listeners[0].getsockname()
    sys.stdout.write(f"READY {host}:{port}\n")
    sys.stdout.flush()
    signal.sigwait((signal.SIGTERM, signal.SIGINT))
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    for pid in pids:
        os.waitpid(pid, 0)
