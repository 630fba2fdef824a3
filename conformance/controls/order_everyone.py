"""Control: a parent that orders every worker for each connection: the protocol's form without its point."""

from __future__ import annotations

import os
import selectors
import signal
import socket
import struct
import sys

from service import listen, serve

FRAME = struct.Struct("!BBBBIIII")


def worker(channel: socket.socket, listener: socket.socket) -> None:
    """Hello; then one attempt for each ACCEPT."""
    channel.sendall(FRAME.pack(0x10, ord("I"), 0, 0, 0x10100000, 0, 0, 1))
    while data := channel.recv(FRAME.size, socket.MSG_WAITALL):
        order = FRAME.unpack(data)[4]
        most = FRAME.unpack(data)[6]
        try:
            connection = listener.accept()[0] if most else None
        except BlockingIOError:
            connection = None
        taken = connection is not None
        channel.sendall(FRAME.pack(0x10, ord("B"), most - taken, 0, order, taken, taken, 1))
        if connection is not None:
            serve(connection)
            channel.sendall(FRAME.pack(0x10, ord("I"), 0, 0, 0, 0, 0, 1))


def parent(listener: socket.socket, count: int) -> None:
    """Whenever the listener is readable and all have answered, order them all."""
    selector = selectors.DefaultSelector()
    channels: list[socket.socket] = []
    pids = []
    for _ in range(count):
        ours, theirs = socket.socketpair()
        pid = os.fork()
        if not pid:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            for other in (*channels, ours):
                other.close()
            try:
                worker(theirs, listener)
            finally:
                os._exit(0)
        theirs.close()
        pids.append(pid)
        channels.append(ours)
    for channel in channels:
        channel.recv(FRAME.size, socket.MSG_WAITALL)
    stop, wake = socket.socketpair()
    wake.setblocking(False)
    signal.set_wakeup_fd(wake.fileno())
    signal.signal(signal.SIGTERM, lambda *_: None)
    selector.register(stop, selectors.EVENT_READ)
    selector.register(listener, selectors.EVENT_READ)
    for channel in channels:
        selector.register(channel, selectors.EVENT_READ)
    host, port = listener.getsockname()
    sys.stdout.write(f"READY {host}:{port}\n")
    sys.stdout.flush()
    order, waiting, busy = 0, 0, 0
    while True:
        for key, _ in selector.select():
            if key.fileobj is stop:
                for pid in pids:
                    os.kill(pid, signal.SIGKILL)
                for pid in pids:
                    os.waitpid(pid, 0)
                return
            if key.fileobj is listener:
                selector.unregister(listener)
                order += 1
                waiting = count
                for channel in channels:
                    channel.sendall(FRAME.pack(0x10, ord("A"), 0, 0, order, 0, 1, 0))
            else:
                assert isinstance(key.fileobj, socket.socket)
                _, kind, _, _, _, taken, _, _ = FRAME.unpack(key.fileobj.recv(FRAME.size, socket.MSG_WAITALL))
                if kind == ord("B"):
                    waiting -= 1
                    busy += taken
                else:
                    busy -= 1
                if not waiting and not busy and listener not in selector.get_map():
                    selector.register(listener, selectors.EVENT_READ)


if __name__ == "__main__":
    parent(listen(sys.argv[1]), int(sys.argv[2]))
