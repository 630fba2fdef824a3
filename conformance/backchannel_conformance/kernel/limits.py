"""What the system allows the user: ``RLIMIT_NPROC`` counts all processes of a user, those of other sessions too."""

from __future__ import annotations

import contextlib
import os
import resource
import subprocess
from collections.abc import Iterator
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


@contextlib.contextmanager
def files(most: int) -> Iterator[None]:
    """While this context lasts, no file that this process or one that it starts writes may grow beyond ``most`` octets:
    a port that prints for ever does not fill the disk with its log.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    known = [limit for limit in (most, soft, hard) if limit != resource.RLIM_INFINITY]
    resource.setrlimit(resource.RLIMIT_FSIZE, (min(known), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
