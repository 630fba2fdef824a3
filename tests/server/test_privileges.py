"""Becoming another user, tried in a child: there is no way back."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from backchannel_server.privileges import Identity
from backchannel_sync import StartError

root = pytest.mark.skipif(os.geteuid() != 0, reason="untestable here: needs root")


def in_child(what: str) -> int:
    """Run a function of this module in a process of its own; its exit status: 0 if all it asserts holds."""
    pid = os.fork()
    if not pid:
        try:
            globals()[what]()
        except BaseException:
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def becomes_nobody_for_good() -> None:
    os.setgroups([0, 1, 2])
    nobody = Identity.find("nobody")
    nobody.check()
    nobody.assume()
    entry = pwd.getpwnam("nobody")
    assert (os.getuid(), os.geteuid(), os.getgid(), os.getegid()) == (entry.pw_uid,) * 2 + (entry.pw_gid,) * 2
    assert set(os.getgroups()) <= {entry.pw_gid}
    for attempt in (os.setuid, os.seteuid, os.setgid, os.setegid):
        with pytest.raises(PermissionError):
            attempt(0)
    nobody.check()  # a process that runs as it already may say so again
    nobody.assume()


def cannot_become_somebody_else() -> None:
    os.setuid(pwd.getpwnam("nobody").pw_uid)
    with pytest.raises(StartError, match="only root may become another user"):
        Identity(12345, 12345).check()


@root
@pytest.mark.parametrize("what", ["becomes_nobody_for_good", "cannot_become_somebody_else"])
def test_in_a_child(what: str) -> None:
    assert in_child(what) == 0


def test_numbers_and_names() -> None:
    entry = pwd.getpwnam("nobody")
    assert Identity.find("nobody") == Identity(entry.pw_uid, entry.pw_gid)
    assert Identity.find(str(entry.pw_uid)) == Identity(entry.pw_uid, entry.pw_gid)
    assert Identity.find("12345", "23456") == Identity(12345, 23456)
    with pytest.raises(StartError, match="give --group as well"):
        Identity.find("12345")


@root
@pytest.mark.parametrize("listen", ["127.0.0.1:0", "unix:{}/theirs/socket"])
def test_root_that_may_not_change_users(tmp_path: Path, listen: str) -> None:
    """As in a container without the capabilities: wherever it is noticed, it is one line."""
    if shutil.which("setpriv") is None:
        pytest.skip("there is no setpriv")
    nobody = pwd.getpwnam("nobody")
    (tmp_path / "theirs").mkdir()
    os.chown(tmp_path / "theirs", nobody.pw_uid, nobody.pw_gid)
    without = ("setpriv", "--bounding-set", "-setuid,-setgid", "--inh-caps", "-all")
    command = (sys.executable, "-P", "-m", "backchannel_sync", "--user", "nobody", "--listen", listen.format(tmp_path))
    done = subprocess.run(
        [*without, *command, "module:handler"], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == os.EX_OSERR
    assert "--user: the system refuses to change users: Operation not permitted" in done.stderr
    assert "Traceback" not in done.stderr
