"""Control, for comparison: every worker blocks in ``accept``; the kernel wakes one of them."""

from __future__ import annotations

import socket
import sys

from service import listen, run_pool, serve


def worker(listener: socket.socket) -> None:
    """Accept, serve, and again."""
    while True:
        serve(listener.accept()[0])


if __name__ == "__main__":
    shared = listen(sys.argv[1])
    shared.setblocking(True)
    run_pool([shared], [lambda: worker(shared)] * int(sys.argv[2]))
