"""A parent on asyncio: the driver under a loop that knows nothing of it.

    python asyncio_parent.py --listen HOST:PORT --worker "PROGRAM ARGUMENTS"

What is here would be the same under any other loop: three calls that the driver asks for, a turn after each piece of
news, and a sleep until the next one is due. The options are those of the other servers.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import socket
import sys
from collections.abc import Callable

from backchannel import Scaling, SettingError, Settings
from backchannel_server.driver import SIGNALS, Driver
from backchannel_server.errors import StartError
from backchannel_server.exec_binding import Launcher, starter
from backchannel_server.logs import configure
from backchannel_server.opening import Opened, open_all
from backchannel_server.options import add_options, scaling, serve_arguments, settings
from backchannel_server.place import Place
from backchannel_server.signals import INTERRUPTED, heard, held


class Loop:
    """What the driver needs of asyncio. After whatever has happened ``due`` is set: a turn is to be made."""

    def __init__(self) -> None:
        self.asyncio = asyncio.get_running_loop()
        self.due = asyncio.Event()

    def watch(self, what: socket.socket | int, ready: Callable[[], object], *, writing: bool = False) -> None:
        """Call ``ready`` when it can be read, or written, and make a turn."""

        def news() -> None:
            ready()
            self.due.set()

        (self.asyncio.add_writer if writing else self.asyncio.add_reader)(what, news)

    def unwatch(self, what: socket.socket | int) -> None:
        """Watch it no more."""
        self.asyncio.remove_reader(what)
        self.asyncio.remove_writer(what)

    def time(self) -> float:
        """Seconds."""
        return self.asyncio.time()

    async def sleep(self, until: float | None) -> None:
        """Until a turn is due, or until then."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(until):
                await self.due.wait()
        self.due.clear()


async def serve(
    launcher: Launcher, opened: Opened, settings: Settings, scaling: Scaling, place: Place, reload_at_once: bool
) -> int:
    """Run a pool until a signal ends it; return the exit status. Raises :class:`StartError`."""
    loop = Loop()
    start = starter(launcher, settings, opened.listeners.sockets)
    driver = Driver(loop, start, opened, settings, scaling, place=place, reload_at_once=reload_at_once)

    def obey(number: int) -> None:
        driver.obey(number)
        loop.due.set()

    for number in SIGNALS:
        loop.asyncio.add_signal_handler(number, obey, number)
    try:
        with heard(SIGNALS):
            driver.begin()
            while not driver.over:
                await loop.sleep(driver.next_turn())
                driver.wakeups += 1
                driver.turn()
    finally:
        driver.close()
    if driver.failure is not None:
        raise driver.failure
    return INTERRUPTED if driver.interrupted else 0


@held()  # a signal that comes while it starts waits for the loop
def main() -> int:
    """Run the command line; return the exit status."""
    parser = argparse.ArgumentParser(prog="python asyncio_parent.py", description="Serve from a pool of programs.")
    add_options(parser, handler="not here: give --worker", forked=False)
    options = parser.parse_args()
    configure(options.log_level, options.log_format)
    try:
        given = serve_arguments(options)
        place = Place.find(given["directory"])
        launcher = Launcher(given["worker"] or [], place)
        names = ("listen", "status", "status_mode", "socket_mode", "user", "group", "ready_fd")
        opened = open_all(**{name: given[name] for name in names})
        try:
            parent = serve(launcher, opened, settings(options), scaling(options), place, given["reload_at_once"])
            return asyncio.run(parent)
        finally:
            opened.close()
    except (SettingError, StartError) as error:
        print(f"asyncio_parent: {error}", file=sys.stderr)
        return error.status if isinstance(error, StartError) else 2


if __name__ == "__main__":
    raise SystemExit(main())
