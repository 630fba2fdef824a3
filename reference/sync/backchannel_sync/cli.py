"""The command line: ``python -m backchannel_sync --listen HOST:PORT MODULE:HANDLER``.

Exit status: 0 after a stop that was asked for by SIGTERM; 2 for an option that makes no sense; 71 when the system
refuses (an occupied port); 76 and 78 when no worker can ever start; 130 after SIGINT.
"""

from __future__ import annotations

import argparse
import logging
import os
import shlex
import sys
from collections.abc import Sequence
from dataclasses import MISSING, fields

from backchannel import POLICIES, Scaling, SettingError, Settings

from .errors import StartError
from .pool import Pool
from .serving import serve
from .system import POLLERS, usable_cpus

__all__ = ["main"]

_DEADLINES = {
    "order_deadline": "an order unanswered so long is void, and its worker suspect",
    "silence_deadline": "a suspect worker silent so long is killed",
    "start_deadline": "a new worker not ready by then is killed",
    "drain_deadline": "a draining worker not gone by then is killed",
    "exit_deadline": "a worker that closed its channel and is not gone by then is killed",
    "stop_deadline": "a stop goes on serving what is pending for so long",
}

_SIZES = {
    "start": "workers at the start",
    "min": "workers at least",
    "max": "workers at most",
    "min_spare": "spare connections at least",
    "max_spare": "spare connections at most",
}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m backchannel_sync",
        description="Serve connections from a pool of forked workers, without a thundering herd.",
        epilog="Times are in seconds. SIGTERM stops after serving what is pending; SIGINT stops at once.",
    )
    parser.add_argument(
        "handler",
        nargs="?",
        metavar="MODULE:HANDLER",
        help="a function of a socket, or a generator function of a connection",
    )
    parser.add_argument(
        "--worker", metavar="COMMAND", help="instead of a handler: a program to start as each worker (exec binding)"
    )
    parser.add_argument(
        "--listen", action="append", metavar="HOST:PORT", help="may be repeated (default 127.0.0.1:8000)"
    )
    parser.add_argument("--status", metavar="PATH", help="socket that answers with the pool's state as JSON")
    parser.add_argument("--ready-fd", type=int, metavar="N", help="descriptor to write READY and the addresses to")
    parser.add_argument(
        "--quota", type=int, default=0, metavar="N", help="a worker retires after N connections (default 0: never)"
    )
    parser.add_argument(
        "--poller", choices=("auto", *POLLERS), default="auto", help=f"what to wait with (auto: {POLLERS[0]})"
    )
    parser.add_argument("--log-level", default="info", choices=("debug", "info", "warning", "error"))

    how = parser.add_argument_group("orders")
    default = {field.name: field.default for field in fields(Settings)}
    how.add_argument("--capacity", type=int, default=1, metavar="N", help="connections for each worker (default 1)")
    how.add_argument("--policy", choices=POLICIES, default="", help="default: lowest at capacity 1, least-loaded above")
    how.add_argument("--max-per-order", type=int, default=1, metavar="N", help="connections for each order (default 1)")
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
    return parser


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def _scaling(options: argparse.Namespace) -> Scaling:
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
        raise SettingError(f"--workers {workers}: give a number from 1 up, or 'auto'")
    return Scaling.fixed(usable_cpus() if workers == "auto" else int(workers))


def _words(command: str) -> list[str]:
    try:
        return shlex.split(command)
    except ValueError as error:
        raise SettingError(f"--worker {command}: {error}; quote it as for a shell") from None


def _announce(fd: int | None, pool: Pool) -> None:
    logging.getLogger("backchannel").info("ready on %s", ", ".join(pool.addresses))
    if fd is not None:
        try:
            os.write(fd, f"READY {' '.join(pool.addresses)}\n".encode())
        except OSError as error:
            raise StartError(
                2, f"--ready-fd {fd}: {error.strerror}; give a descriptor that is open for writing"
            ) from None


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    parser = _parser()
    options = parser.parse_args(arguments)
    logging.basicConfig(
        level=options.log_level.upper(), format="%(asctime)s %(process)d %(levelname)s %(message)s", stream=sys.stderr
    )
    try:
        settings = Settings(
            capacity=options.capacity,
            policy=options.policy,
            max_per_order=options.max_per_order,
            **{name: getattr(options, name) for name in _DEADLINES},
        )
        if (options.handler is None) is (options.worker is None):
            raise SettingError("give a handler, MODULE:HANDLER, or --worker COMMAND: one of them")
        if options.worker is not None and options.quota:
            raise SettingError("--quota is for handlers: a program of --worker counts for itself")
        if options.quota < 0:
            raise SettingError(f"--quota {options.quota}: give a number from 0 up")
        return serve(
            options.handler,
            options.listen or ["127.0.0.1:8000"],
            settings=settings,
            scaling=_scaling(options),
            quota=options.quota,
            status=options.status,
            poller=options.poller,
            on_ready=lambda pool: _announce(options.ready_fd, pool),
            worker=None if options.worker is None else _words(options.worker),
        )
    except SettingError as error:
        print(f"backchannel_sync: {error}", file=sys.stderr)
        return 2
    except StartError as error:
        print(f"backchannel_sync: {error}", file=sys.stderr)
        return error.status
