"""The command line: ``python -m backchannel_sync --listen HOST:PORT MODULE:HANDLER``.

Exit status: 0 after a stop that was asked for by SIGTERM; 2 for an option that makes no sense; 71 when the system
refuses (an occupied port); 76 and 78 when no worker can ever start; 77 when ``--user`` needs rights that are not
there; 130 after SIGINT.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from backchannel import SettingError
from backchannel_server.errors import StartError
from backchannel_server.logs import configure
from backchannel_server.options import add_options, scaling, serve_arguments, settings
from backchannel_server.signals import held
from backchannel_server.standard import say

from .serving import serve

__all__ = ["main"]


@held()
def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m backchannel_sync",
        description="Serve connections from a pool of forked workers, without a thundering herd.",
        epilog="Times are in seconds. SIGTERM stops after serving what is pending; SIGINT stops at once; SIGHUP "
        "reloads the workers; SIGUSR2 replaces the parent as well; SIGUSR1 logs the state of the pool.",
    )
    add_options(parser, handler="a function of a socket, or a generator function of a connection")
    options = parser.parse_args(arguments)
    configure(options.log_level, options.log_format)
    try:
        return serve(options.handler, settings=settings(options), scaling=scaling(options), **serve_arguments(options))
    except SettingError as error:
        say(f"backchannel_sync: {error}")
        return 2
    except StartError as error:
        say(f"backchannel_sync: {error}")
        return error.status
