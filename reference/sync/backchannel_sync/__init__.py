"""The backchannel protocol on ``selectors``: a pre-forking server that needs the standard library alone.

:func:`serve` runs a pool; ``python -m backchannel_sync`` is its command line. A handler for capacity 1 is a function
of a socket; one for more is a generator function of a :class:`Connection`. :func:`current_worker` tells a handler
where it runs; :func:`brief` is what a handler may say of itself.
"""

# isort: off
import backchannel_server  # noqa: F401 - before all others, for what it does to the path and to signals
# isort: on

from typing import TYPE_CHECKING

from backchannel_server.context import WorkerInfo, brief, current_worker
from backchannel_server.errors import StartError

from .events import Connection, Wait, Waiting

if TYPE_CHECKING:
    from .serving import serve
else:

    def __getattr__(name: str) -> object:
        """A worker loads no parent: :func:`serve` is loaded when somebody asks for it."""
        if name == "serve":
            from .serving import serve

            return serve
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = ["Connection", "StartError", "Wait", "Waiting", "WorkerInfo", "brief", "current_worker", "serve"]
