"""The options of the command line, and what they come to.

They are here, and not in :mod:`.cli`, because every server on the core has them: what a pool listens on, as whom it
runs, how it orders, how it is sized. Each function raises :class:`backchannel.SettingError` or
:class:`~backchannel_server.errors.StartError` for what makes no sense.
"""

from __future__ import annotations

import argparse
import shlex
from dataclasses import MISSING, fields
from typing import Any, Final

from backchannel import POLICIES, Scaling, SettingError, Settings

from .logs import FORMATS
from .opening import STATUS_MODE
from .platform import POLLERS, usable_cpus

__all__ = ["add_options", "scaling", "serve_arguments", "settings"]

RELOADS: Final = ("rolling", "at-once")

_DEADLINES = {
    "order_deadline": "an order unanswered for so long expires, and its worker is suspect",
    "silence_deadline": "a suspect worker silent for so long is killed",
    "start_deadline": "a new worker not ready by then is killed",
    "drain_deadline": "a draining worker not gone by then is killed",
    "exit_deadline": "a worker that closed its channel and is not gone by then is killed",
    "stop_deadline": "a stop goes on serving pending connections for so long",
}

_SIZES = {
    "start": "workers at the start",
    "min": "workers at least",
    "max": "workers at most",
    "min_spare": "spare connections at least",
    "max_spare": "spare connections at most",
}


def add_options(parser: argparse.ArgumentParser, *, handler: str, forked: bool = True) -> None:
    """Add them all to ``parser``; ``handler`` says what a handler is. What only workers that are ``forked`` can do is
    not shown where they are not, and understood all the same, to be refused in words.
    """

    def only_forked(text: str) -> str:
        return text if forked else argparse.SUPPRESS

    parser.add_argument(
        "handler",
        nargs="?",
        metavar="MODULE:HANDLER",
        help=handler,
    )
    parser.add_argument(
        "--worker", metavar="COMMAND", help="instead of a handler: a program to start as each worker (exec binding)"
    )
    parser.add_argument("--log-level", default="info", choices=("debug", "info", "warning", "error"))
    parser.add_argument("--log-format", default="text", choices=FORMATS, help="json: one object a line")
    parser.add_argument(
        "--quota",
        type=int,
        default=0,
        metavar="N",
        help="a worker retires after N to 2N connections: each slot has a number of its own, lest all retire at the "
        "same moment (default 0: never)",
    )
    parser.add_argument(
        "--poller", choices=("auto", *POLLERS), default="auto", help=f"what to wait with (auto: {POLLERS[0]})"
    )

    parser.add_argument(
        "--traditional",
        action="store_true",
        help=only_forked(
            "every worker blocks in accept and the kernel chooses, without the protocol: for comparison, and for "
            "handlers of capacity 1 on one listener that need no more"
        ),
    )
    parser.add_argument(
        "--preload",
        action="store_true",
        help=only_forked(
            "import the handler once, in the parent: workers share its memory, and a reload (SIGHUP) runs the old "
            "code again; SIGUSR2 replaces it"
        ),
    )
    parser.add_argument(
        "--reload",
        choices=RELOADS,
        default=RELOADS[0],
        help="how SIGHUP replaces workers: one by one, or all when the new ones are ready (default rolling)",
    )

    where = parser.add_argument_group("where, and as whom")
    where.add_argument(
        "--listen",
        action="append",
        default=[],
        metavar="ADDRESS",
        help="HOST:PORT, [HOST]:PORT or unix:PATH; several, separated by commas, or the option again "
        "(default: what a supervisor passes by LISTEN_FDS, else 127.0.0.1:8000)",
    )
    where.add_argument(
        "--socket-mode", default="", metavar="OCTAL", help="permissions of AF_UNIX listeners (default: by umask)"
    )
    where.add_argument("--user", default="", help="the user to run as once the listeners are bound")
    where.add_argument("--group", default="", help="the group to go with it (default: the user's own)")
    where.add_argument(
        "--chdir",
        metavar="DIRECTORY",
        help="where to load code from: entered at the start, and again by each new worker and parent, so it may be a "
        "symbolic link to the current release (default: the current directory, by the name in PWD)",
    )
    where.add_argument("--status", metavar="PATH", help="socket that answers with the pool's state as JSON")
    where.add_argument(
        "--status-mode", default="", metavar="OCTAL", help=f"permissions of that socket (default {STATUS_MODE:o})"
    )
    where.add_argument("--ready-fd", type=int, metavar="N", help="descriptor to write READY and the addresses to")

    how = parser.add_argument_group("orders")
    default = {field.name: field.default for field in fields(Settings)}
    how.add_argument("--capacity", type=int, default=1, metavar="N", help="connections for each worker (default 1)")
    how.add_argument("--policy", choices=POLICIES, default="", help="default: lowest at capacity 1, least-loaded above")
    most = default["max_per_order"]
    how.add_argument(
        "--max-per-order",
        type=int,
        default=most,
        metavar="N",
        help=f"connections for each order at most (default {most})",
    )
    for name, text in _DEADLINES.items():
        how.add_argument(
            _flag(name), type=float, default=default[name], metavar="S", help=f"{text} (default {default[name]})"
        )

    size = parser.add_argument_group("size of the pool")
    size.add_argument("--workers", metavar="N", help="exactly N workers, or 'auto': one for each usable processor")
    sizes = {field.name: field.default for field in fields(Scaling) if field.default is not MISSING}
    for name, text in _SIZES.items():
        size.add_argument(_flag(name), type=int, metavar="N", help=f"{text} (default {sizes[name]})")
    size.add_argument(
        "--scaling-pass",
        type=float,
        default=sizes["period"],
        metavar="S",
        help=f"between two passes (default {sizes['period']})",
    )


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def settings(options: argparse.Namespace) -> Settings:
    """Orders and deadlines."""
    return Settings(
        capacity=options.capacity,
        policy=options.policy,
        max_per_order=options.max_per_order,
        **{name: getattr(options, name) for name in _DEADLINES},
    )


def scaling(options: argparse.Namespace) -> Scaling:
    """The size of the pool. Above capacity 1 the default is one worker for each usable processor."""
    given = {name: value for name in _SIZES if (value := getattr(options, name)) is not None}
    workers = options.workers
    if workers is None and not given and options.capacity > 1:
        workers = "auto"
    if workers is None:
        if "start" not in given:
            least = given.get("min", Scaling.__dataclass_fields__["min"].default)
            most = given.get("max", Scaling.__dataclass_fields__["max"].default)
            given["start"] = min(max(least, Scaling.__dataclass_fields__["start"].default), most)
        return Scaling(period=options.scaling_pass, **given)
    if given:
        names = ", ".join(map(_flag, given))
        raise SettingError(f"--workers fixes the size of the pool: leave out {names}, or --workers")
    if workers != "auto" and not (workers.isdecimal() and int(workers)):
        raise SettingError(f"--workers {workers}: give a number of at least 1, or 'auto'")
    return Scaling.fixed(usable_cpus() if workers == "auto" else int(workers))


def serve_arguments(options: argparse.Namespace) -> dict[str, Any]:
    """The rest, as keyword arguments of :func:`~backchannel_sync.serving.serve`."""
    if (options.handler is None) is (options.worker is None):
        raise SettingError("give a handler, MODULE:HANDLER, or --worker COMMAND: one of them")
    if options.worker is not None and options.quota:
        raise SettingError("--quota is for handlers: a program of --worker counts for itself")
    if options.worker is not None and options.preload:
        raise SettingError("--preload is for handlers: a program of --worker is loaded when it starts")
    if options.quota < 0:
        raise SettingError(f"--quota {options.quota}: give a number of at least 0")
    if options.group and not options.user:
        raise SettingError(f"--group {options.group}: a group goes with a user; give --user as well")
    return {
        "listen": [address for text in options.listen for address in text.split(",") if address],
        "socket_mode": _mode("--socket-mode", options.socket_mode),
        "user": options.user or None,
        "group": options.group or None,
        "status": options.status,
        "directory": options.chdir,
        "status_mode": STATUS_MODE if (mode := _mode("--status-mode", options.status_mode)) is None else mode,
        "ready_fd": options.ready_fd,
        "quota": options.quota,
        "poller": options.poller,
        "preload": options.preload,
        "traditional": options.traditional,
        "reload_at_once": options.reload == "at-once",
        "worker": None if options.worker is None else _words(options.worker),
    }


def _words(command: str) -> list[str]:
    try:
        return shlex.split(command)
    except ValueError as error:
        raise SettingError(f"--worker {command}: {error}; quote it as for a shell") from None


def _mode(option: str, text: str) -> int | None:
    if not text:
        return None
    try:
        mode = int(text, 8)
    except ValueError:
        mode = -1
    if not 0 <= mode <= 0o777:
        raise SettingError(f"{option} {text}: write it in octal, as in 660")
    return mode
