"""``serve``: the whole server as one call."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable, Sequence

from backchannel import Scaling, Settings

from .errors import StartError
from .handlers import Handler, check, load, split
from .launching import Launcher
from .listening import bind
from .pool import Pool

__all__ = ["serve"]


def serve(
    handler: Handler | str | None,
    listen: Iterable[str | socket.socket] | str = "127.0.0.1:8000",
    *,
    settings: Settings | None = None,
    scaling: Scaling | None = None,
    quota: int = 0,
    status: str | None = None,
    poller: str = "auto",
    on_ready: Callable[[Pool], None] | None = None,
    worker: Sequence[str] | None = None,
) -> int:
    """Run a pool until SIGTERM (drain) or SIGINT (at once); return the exit status.

    ``handler``: a plain function of a socket (capacity 1), a generator function of a
    :class:`~backchannel_sync.events.Connection`, or the name of either as ``MODULE:ATTRIBUTE``; a name is imported in
    each worker. ``listen``: addresses (``HOST:PORT``) or listening sockets, which belong to the pool from then on.
    ``quota``: a worker retires after so many connections; 0: never. ``status``: the path of the status socket.
    ``poller``: one of :data:`~backchannel_sync.system.POLLERS`, or ``auto``. ``on_ready`` is called once, when the
    first workers are ready. ``worker``: instead of a handler, a program and its arguments, started for each worker by
    the exec binding.

    Must be called in the main thread, with no other thread running and outside any event loop (BC-FORK-06). Raises
    :class:`~backchannel_sync.errors.StartError` when it cannot start.
    """
    settings = settings or Settings()
    launcher = None if worker is None else Launcher(worker)
    find: Callable[[], Handler] | None = None
    if (handler is None) is (launcher is None):
        raise StartError(2, "give a handler, or a worker to start: one of them")
    if isinstance(handler, str):
        name = handler
        split(name)
        find = lambda: load(name)  # noqa: E731
    elif handler is not None:
        check(handler, settings.capacity)
        function = handler
        find = lambda: function  # noqa: E731
    wanted = [listen] if isinstance(listen, str) else list(listen)
    listeners: list[socket.socket] = []
    try:
        for item in wanted:
            listeners.append(bind(item) if isinstance(item, str) else item)
        pool = Pool(
            find,
            listeners,
            settings,
            scaling or Scaling(),
            status_path=status,
            quota=quota,
            poller=poller,
            on_ready=on_ready,
            launcher=launcher,
        )
    except BaseException:
        for listener in listeners:
            listener.close()
        raise
    return pool.run()
