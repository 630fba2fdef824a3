"""Faults by injection: ``strace`` ends a process, or fails its call, as it enters the n-th call of a kind.

Where a worker dies is then chosen and not hoped for. A sandbox may forbid tracing; then there is no injection here.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from functools import cache
from typing import Final

from ..waiting import line_of

NEEDS: Final = "no strace that may trace"

CALLS: Final = {
    "accept": "accept4,accept",
    "count": "getsockopt",
    "fork": "clone,clone3,fork,vfork",
    "send": "sendto,write,sendmsg,writev",
}
"""Our names for what a program asks of the system, and the system's."""


@cache
def _works() -> bool:
    program = shutil.which("strace")
    if program is None:
        return False
    done = subprocess.run([program, "-qq", "-e", "trace=none", "true"], capture_output=True, check=False)
    return done.returncode == 0


def can(_question: str) -> bool:
    return _works()


@contextlib.contextmanager
def faulty(pid: int, call: str, what: str, when: str) -> Iterator[None]:
    system = CALLS[call]
    # instead of the call: the struct that it fills is all zeros (28 octets of TCP_INFO hold the count)
    what = what.replace("zeros", f"retval=0:poke_exit=@arg4={'00' * 28}")
    # each thread, whichever of them makes the calls; not with -f, by which what they start would have the fault as well
    threads = os.listdir(f"/proc/{pid}/task")
    chosen = [word for thread in threads for word in ("-p", thread)]
    command = ["strace", *chosen, "-e", f"trace={system}", "-e", f"inject={system}:{what}:when={when}"]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE) as tracer:
        assert tracer.stderr
        try:
            for _ in threads:
                said = line_of(tracer.stderr, 20)
                if b"attached" not in said:
                    raise RuntimeError(f"strace does not trace process {pid}: {said.decode(errors='replace').strip()}")
            yield
        finally:
            tracer.terminate()
            tracer.communicate()
