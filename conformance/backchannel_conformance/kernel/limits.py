"""What the system allows the user: ``RLIMIT_NPROC`` counts all processes of a user, those of other sessions too."""

from __future__ import annotations

import os
import resource
import subprocess
from typing import Final

ROOM: Final = 48
"""Processes of the largest pool that a case starts, with what is beside it."""
NEEDS: Final = f"this user may not have {ROOM} processes more"


def can(_question: str) -> bool:
    """Whether there is room for :data:`ROOM` processes more. The superuser is refused none."""
    most = resource.getrlimit(resource.RLIMIT_NPROC)[0]
    return most == resource.RLIM_INFINITY or os.geteuid() == 0 or _processes() + ROOM <= most


def _processes() -> int:
    done = subprocess.run(["ps", "-A", "-o", "uid="], capture_output=True, text=True, check=True)
    return done.stdout.split().count(str(os.getuid()))
