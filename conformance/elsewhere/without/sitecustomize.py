"""Makes a Python process believe that its system has neither epoll nor kqueue: poll is the best there is.

Python imports a module of this name by itself, so a directory on PYTHONPATH is all it takes, and every process that
the suite starts is the same.
"""

from __future__ import annotations

import select

for name in ("epoll", "kqueue"):
    if hasattr(select, name):
        delattr(select, name)
