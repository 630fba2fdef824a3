"""``serve``: the whole server as one call, in any trio program."""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterable, Sequence

import trio
from backchannel import Scaling, Settings
from backchannel_server.errors import StartError, starting
from backchannel_server.exec_binding import Launcher
from backchannel_server.handlers import split
from backchannel_server.opening import STATUS_MODE, open_all
from backchannel_server.place import Place
from backchannel_server.signals import INTERRUPTED, PARENTS

from .parent import Pool

__all__ = ["serve", "worker_command"]


async def serve(
    handler: str | None,
    listen: Iterable[str | socket.socket] | str = (),
    *,
    settings: Settings | None = None,
    scaling: Scaling | None = None,
    quota: int = 0,
    socket_mode: int | None = None,
    user: str | None = None,
    group: str | None = None,
    status: str | None = None,
    status_mode: int = STATUS_MODE,
    ready_fd: int | None = None,
    worker: Sequence[str] | None = None,
    reload_at_once: bool = False,
    directory: str | None = None,
    signals: bool = False,
    task_status: trio.TaskStatus[Pool] = trio.TASK_STATUS_IGNORED,
) -> int:
    """Run a pool until it is stopped; return the exit status.

    ``await nursery.start(serve, "module:handler", "127.0.0.1:8000")`` returns the :class:`~.parent.Pool`
    when its first workers are ready; its ``stop`` drains and ends it. Cancelling this call kills all workers and ends
    it at once.

    ``handler`` is the name, ``MODULE:ATTRIBUTE``, of an async function of a stream, or of a service that yields one,
    which each worker imports for itself; ``worker``, instead of it, a program and its arguments, started for each
    worker by the exec binding. ``quota``: a worker retires after so many connections, or up to twice as many, each slot
    having a number of its own; 0: never. ``directory``: go there first, and again before each worker is started, so
    that it may be a symbolic link to the current release; by default workers start where the program is. ``signals``:
    obey SIGTERM, SIGINT, SIGHUP, SIGUSR1 and SIGUSR2, as the command line does; they are left to the program otherwise,
    which has :meth:`Pool.stop`, :meth:`Pool.reload` and :meth:`Pool.replace`. The other parameters are those of
    :func:`backchannel_sync.serve`.

    Must be called in the main thread, because it listens for SIGCHLD. Raises
    :class:`~backchannel_server.errors.StartError` when it cannot start, or when no worker can.
    """
    if handler is not None and worker is None:
        command = worker_command(handler, "--quota", str(quota))
    elif handler is None and worker is not None:
        command = list(worker)
    else:
        raise StartError(2, "give a handler, or a worker to start: one of them")
    # a program that serves among other things has its directory to itself
    place = Place.find(directory) if signals or directory is not None else None
    launcher = Launcher(command, place)
    opened = open_all(
        listen,
        status=status,
        status_mode=status_mode,
        socket_mode=socket_mode,
        user=user,
        group=group,
        ready_fd=ready_fd,
    )
    try:
        with starting():
            pool = Pool(
                launcher,
                opened,
                settings or Settings(),
                scaling or Scaling(),
                reload_at_once=reload_at_once,
                place=place,
                signals=PARENTS if signals else (),
            )
        await pool.run(task_status=task_status)
        return INTERRUPTED if pool.driver.interrupted else 0
    finally:
        opened.close()


def worker_command(handler: str, *more: str) -> list[str]:
    """The command that runs the trio worker with ``handler`` and the options ``more``. Raises :class:`StartError`."""
    split(handler)
    warnings = [f"-W{option}" for option in sys.warnoptions]
    return [sys.executable, *warnings, "-m", "backchannel_trio.worker", *more, handler]
