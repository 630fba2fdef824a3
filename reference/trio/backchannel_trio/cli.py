"""The command line: ``python -m backchannel_trio --listen HOST:PORT MODULE:HANDLER``.

The options and the exit statuses are those of ``python -m backchannel_sync``. There is no ``--traditional``: trio
cannot wait for a shared listener without the herd.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from functools import partial

import trio
from backchannel import SettingError
from backchannel_server.errors import StartError
from backchannel_server.logs import configure
from backchannel_server.options import add_options, scaling, serve_arguments, settings
from backchannel_server.platform import POLLERS
from backchannel_server.signals import held
from backchannel_server.standard import say

from .serving import serve, worker_command

__all__ = ["main"]


@held()
def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m backchannel_trio",
        description="Serve connections from a pool of trio workers, without a thundering herd.",
        epilog="Times are in seconds. SIGTERM stops after serving what is pending; SIGINT stops at once; SIGHUP "
        "reloads the workers; SIGUSR2 replaces the parent as well; SIGUSR1 logs the state of the pool.",
    )
    add_options(parser, handler="an async function of a stream", forked=False)
    options = parser.parse_args(arguments)
    configure(options.log_level, options.log_format)
    try:
        more = serve_arguments(options)
        poller = more.pop("poller")
        if poller not in ("auto", POLLERS[0]):
            raise SettingError(f"--poller {poller}: trio waits with {POLLERS[0]} here; leave the option out")
        if more.pop("preload"):
            raise SettingError("--preload is for forked workers: these are programs of their own; leave the option out")
        if more.pop("traditional"):
            raise SettingError("--traditional: trio cannot wait for a shared listener without the herd; leave it out")
        if options.handler is not None:
            log = ("--log-level", options.log_level, "--log-format", options.log_format)
            more["worker"] = worker_command(options.handler, "--quota", str(more.pop("quota")), *log)
        more |= {"settings": settings(options), "scaling": scaling(options), "signals": True}
        return trio.run(partial(serve, None, **more))
    except SettingError as error:
        say(f"backchannel_trio: {error}")
        return 2
    except StartError as error:
        say(f"backchannel_trio: {error}")
        return error.status
