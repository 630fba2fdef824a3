"""``serve``: the whole server as one call."""

from __future__ import annotations

import gc
import logging
import signal
import socket
import sys
from collections.abc import Callable, Iterable, Sequence
from functools import partial

from backchannel import CONFIGURATION, Scaling, Settings
from backchannel_server.early import take_standard_descriptors
from backchannel_server.errors import StartError, starting
from backchannel_server.exec_binding import Launcher
from backchannel_server.handlers import Handler, check, explain, load, split
from backchannel_server.opening import STATUS_MODE, open_all
from backchannel_server.place import Place
from backchannel_server.signals import INTERRUPTED, Interrupted, held, interruptible

from .parent import Pool

__all__ = ["serve"]

log = logging.getLogger("backchannel")


@held()
def serve(
    handler: Handler | str | None,
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
    poller: str = "auto",
    ready_fd: int | None = None,
    on_ready: Callable[[Pool], None] | None = None,
    worker: Sequence[str] | None = None,
    preload: bool = False,
    reload_at_once: bool = False,
    traditional: bool = False,
    directory: str | None = None,
) -> int:
    """Run a pool until SIGTERM (drain) or SIGINT (at once); return the exit status.

    ``handler``: a plain function of a socket (capacity 1), a generator function of a
    :class:`~backchannel_sync.events.Connection`, or the name of either as ``MODULE:ATTRIBUTE``; a name is imported in
    each worker. ``listen``: addresses (``HOST:PORT``, ``unix:PATH``) or listening sockets, which belong to the pool
    from then on; besides, listeners are taken that a supervisor passes by the LISTEN_FDS convention. With neither it is
    127.0.0.1:8000. ``socket_mode``: permissions of AF_UNIX listeners. ``user``, ``group``: what to become when the
    listeners are bound; without ``group``, the user's own. ``quota``: a worker retires after so many connections, or up
    to twice as many, each slot having a number of its own; 0: never. ``status``, ``status_mode``: the path of the
    status socket, and its permissions. ``poller``: one of :data:`~backchannel_server.platform.POLLERS`, or ``auto``.
    ``ready_fd``: a descriptor to write READY and the addresses to; ``on_ready`` is called once, when the first workers
    are ready. ``worker``: instead of a handler, a program and its arguments, started for each worker by the exec
    binding. ``preload``: import the handler once, in the parent, when privileges have been dropped: workers share its
    memory, and a reload runs the same code again. ``reload_at_once``: a reload changes all workers when all new ones
    are ready, instead of one by one. ``traditional``: every worker blocks in ``accept``, without the protocol; for one
    listener, capacity 1 and forked workers. ``directory``: go there first, and once more before each new worker loads
    its code, so that it may be a symbolic link to the current release; by default it is where this process is, by the
    name in ``PWD`` if that names it.

    SIGHUP reloads the workers, SIGUSR2 replaces the parent as well, by running again the command that this process was
    started with; SIGUSR1 logs the state of the pool.

    Must be called in the main thread, with no other thread running and outside any event loop (BC-FORK-06). Raises
    :class:`~backchannel_server.errors.StartError` when it cannot start.
    """
    take_standard_descriptors()
    settings = settings or Settings()
    place = Place.find(directory)
    launcher = None if worker is None else Launcher(worker, place)
    find: Callable[[], Handler] | None = None
    if traditional and (settings.capacity > 1 or launcher is not None):
        raise StartError(2, "--traditional is for capacity 1 and for a handler: leave out --capacity, or --worker")
    if (handler is None) is (launcher is None):
        raise StartError(2, "give a handler, or a worker to start: one of them")
    if isinstance(handler, str):
        split(handler)
        find = partial(_loaded, handler, settings.capacity, place)
    elif handler is not None:
        check(handler, settings.capacity)
        function = handler
        find = lambda: function  # noqa: E731
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
        if traditional and len(opened.listeners.sockets) > 1:
            raise StartError(
                2, "--traditional: a worker can block in accept on one listener only; leave out the others"
            )
        if preload and isinstance(handler, str):
            with interruptible():
                function = _preloaded(handler, settings.capacity)
            find = lambda: function  # noqa: E731
        with starting():
            pool = Pool(
                find,
                opened,
                settings,
                scaling or Scaling(),
                quota=quota,
                poller=poller,
                on_ready=on_ready,
                launcher=launcher,
                reload_at_once=reload_at_once,
                kept=_kept(handler),
                traditional=traditional,
                place=place,
            )
        return pool.run()
    except Interrupted as signalled:
        log.info("%s while the handler was being loaded: nothing has been served", signalled)
        return 0 if signalled.number == signal.SIGTERM else INTERRUPTED
    finally:
        opened.close()


def _kept(handler: Handler | str | None) -> str:
    """What of the handler's code this process has loaded, so that its workers run that again after a reload."""
    if handler is None:
        return ""
    if not isinstance(handler, str):
        return getattr(handler, "__module__", "its handler")
    module = split(handler)[0]
    package = module.partition(".")[0]
    return next((name for name in (module, package) if name in sys.modules), "")


def _loaded(name: str, capacity: int, place: Place | None = None) -> Handler:
    """The handler, imported in the worker that asks for it."""
    if place is not None:
        place.load_from_here()
    handler = load(name)
    check(handler, capacity)
    return handler


def _preloaded(name: str, capacity: int) -> Handler:
    """The handler, imported here and now. Raises :class:`StartError`."""
    try:
        handler = _loaded(name, capacity)
    except StartError:
        raise
    except Exception as error:
        raise StartError(CONFIGURATION, explain(error)) from None
    log.disabled = False  # a module that configures logging disables, as a rule, all that it does not name
    # what is here now is here for good: no worker's collector shall touch, and so copy, its pages
    gc.collect()
    gc.freeze()
    return handler
