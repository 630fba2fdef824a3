"""Control: every worker watches the listener. This is the thundering herd."""

from __future__ import annotations

import selectors
import socket
import sys

from service import listen, run_pool, serve


def worker(listener: socket.socket) -> None:
    """Wait for the listener, as all other workers do; mostly in vain."""
    selector = selectors.DefaultSelector()
    selector.register(listener, selectors.EVENT_READ)
    while True:
        selector.select()
        try:
            connection, _ = listener.accept()
        except BlockingIOError:
            continue
        serve(connection)


if __name__ == "__main__":
    shared = listen(sys.argv[1])
    run_pool([shared], [lambda: worker(shared)] * int(sys.argv[2]))
