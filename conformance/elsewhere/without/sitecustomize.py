"""Makes a Python process find that its system has neither epoll nor kqueue: poll is the best there is.

Python imports a module of this name by itself, so a directory on PYTHONPATH is all it takes, and every process that
the suite starts is the same. But for one kind: trio looks for its poller when it is imported, and knows no third, so
a worker on trio keeps what there is.
"""

from __future__ import annotations

import select
import sys

if "backchannel_trio.worker" not in sys.orig_argv:
    for name in ("epoll", "kqueue"):
        if hasattr(select, name):
            delattr(select, name)
