"""What every server needs besides its loop: POSIX, and the standard library alone.

It stands on the protocol (:mod:`backchannel`), and the loops stand on it: :mod:`backchannel_sync` on selectors,
:mod:`backchannel_trio` on trio, and one of your own.
"""

# isort: off
from . import _safepath as _safepath  # before all others, for what it does to the path
from . import early as early  # before all that takes time to load
# isort: on

from .context import WorkerInfo, brief, current_worker
from .errors import StartError

__all__ = ["StartError", "WorkerInfo", "brief", "current_worker"]
