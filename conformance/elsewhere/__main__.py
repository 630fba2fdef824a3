"""Run the suite as on another system: ``python conformance/elsewhere [ARGUMENTS OF run]``.

What is taken away, as far as it is there:

- ``/proc``, from the suite: BACKCHANNEL_PROC names a directory that does not exist, so that the
  portable ways to count wake-ups and to look up processes are used;
- epoll and kqueue, from every Python process but workers on trio (``without/sitecustomize.py``);
- privileges: when started as root, the suite runs as ``nobody``, with at most 160 processes and 1,024 descriptors;
- this checkout as an installed package: the suite is found by PYTHONPATH alone, in a copy that the user can read,
  beside a copy of what this Python has installed.

An interpreter in root's home is out of reach for others; then the first ``python3`` of the system's directories that is
recent enough takes its place.

Exit status: that of the suite.
"""

from __future__ import annotations

import os
import pwd
import resource
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
COPIED = ("conformance", "reference", "spec")
PROCESSES, DESCRIPTORS = 160, 1024


def limit() -> None:
    """In the new process: what a user has by default on the system that has least."""
    for what, most in ((resource.RLIMIT_NPROC, PROCESSES), (resource.RLIMIT_NOFILE, DESCRIPTORS)):
        hard = resource.getrlimit(what)[1]
        value = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(what, (value, value))


def interpreter(user: pwd.struct_passwd | None) -> str:
    """A Python that ``user`` may run."""
    for python in (sys.executable, "/usr/bin/python3", "/usr/local/bin/python3", "/usr/pkg/bin/python3"):
        recent = "import sys; sys.exit(sys.version_info < (3, 11))"
        try:
            if not subprocess.run([python, "-c", recent], check=False, cwd="/", **identity(user)).returncode:
                return python
        except OSError:
            continue
    sys.exit("no Python 3.11 or later here that 'nobody' may run: install one outside of root's home, or don't be root")


def identity(user: pwd.struct_passwd | None) -> dict[str, Any]:
    """Arguments that make a process run as ``user``."""
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []} if user else {}


def main() -> int:
    """Copy, reduce, run."""
    with tempfile.TemporaryDirectory(prefix="backchannel-elsewhere-") as name:
        home = Path(name)
        for folder in COPIED:
            shutil.copytree(ROOT / folder, home / folder, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copytree(sysconfig.get_path("purelib"), home / "installed")
        without = home / "conformance" / "elsewhere" / "without"
        for manifest in home.glob("conformance/*/*.toml"):
            # what a manifest says takes the place of what we say below
            text = manifest.read_text()
            manifest.write_text(text.replace('PYTHONPATH = "', f'PYTHONPATH = "{without}:{home / "installed"}:'))
        user = pwd.getpwnam("nobody") if os.geteuid() == 0 else None
        if user is not None:
            for path in (home, *home.rglob("*")):
                os.chown(path, user.pw_uid, user.pw_gid)
        environment = {
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": name,
            "TMPDIR": name,
            "PYTHONPATH": f"{without}:{home / 'conformance'}:{home / 'installed'}",
            "BACKCHANNEL_PROC": str(home / "no-proc"),
        }
        arguments = sys.argv[1:] or ["--impl", "sync"]
        done = subprocess.run(
            [interpreter(user), "-m", "backchannel_conformance", "run", "--report", str(home / "report"), *arguments],
            cwd=home,
            env=environment,
            preexec_fn=limit,
            check=False,
            **identity(user),
        )
        return done.returncode


if __name__ == "__main__":
    raise SystemExit(main())
