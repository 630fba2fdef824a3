"""Control, for comparison: a listener for each worker, SO_REUSEPORT; the kernel chooses by a hash."""

from __future__ import annotations

import socket
import sys

from service import listen, run_pool, serve


def worker(own: socket.socket, all_listeners: list[socket.socket]) -> None:
    """Accept from one's own listener."""
    for listener in all_listeners:
        if listener is not own:
            listener.close()
    own.setblocking(True)
    while True:
        serve(own.accept()[0])


if __name__ == "__main__":
    first = listen(sys.argv[1], reuseport=True)
    address = "{}:{}".format(*first.getsockname())
    listeners = [first] + [listen(address, reuseport=True) for _ in range(int(sys.argv[2]) - 1)]
    run_pool(listeners, [lambda own=own: worker(own, listeners) for own in listeners])  # type: ignore[misc]
