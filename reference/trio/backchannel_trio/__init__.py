"""The backchannel protocol on trio: a pre-forking server under structured concurrency.

:func:`serve` runs a pool inside any trio program; ``python -m backchannel_trio`` is its command line. A handler is
``async def handler(stream)``. :func:`current_worker` tells a handler where it runs.
"""

# isort: off
import backchannel_server  # noqa: F401 - before all others, for what it does to the path and to signals
# isort: on

import sys
from typing import TYPE_CHECKING

from backchannel import CONFIGURATION
from backchannel_server.context import WorkerInfo, current_worker
from backchannel_server.errors import StartError

try:
    import trio  # noqa: F401 - whether it is there
except ModuleNotFoundError as error:
    if error.name != "trio":
        raise
    TEXT = "backchannel_trio needs trio: pip install trio"
    if sys.argv[:1] == ["-m"]:  # on the way to ``python -m backchannel_trio``: nobody would catch an exception
        print(TEXT, file=sys.stderr)
        raise SystemExit(CONFIGURATION) from None
    raise ModuleNotFoundError(TEXT, name="trio") from None

if TYPE_CHECKING:
    from .parent import Pool
    from .serving import serve
else:

    def __getattr__(name: str) -> object:
        """A worker loads no parent: :func:`serve` and its pool are loaded when somebody asks for them."""
        if name in ("Pool", "serve"):
            from . import parent, serving

            return parent.Pool if name == "Pool" else serving.serve
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = ["Pool", "StartError", "WorkerInfo", "current_worker", "serve"]
