"""Dropping privileges: after the listeners are bound, before the first fork, for good (BC-FORK-10, BC-FORK-19).

The order is the one that works everywhere: supplementary groups, then the group, then the user, because each step
needs the rights that the next one gives up. As root, ``setgid`` and ``setuid`` set the real, the effective and the
saved id alike; that there is no way back is then tried and not assumed. Who runs as that user already is held to
the same: what could not be given up is refused.

What root's environment says of root's home and session is not for the user either. PATH, the umask, limits and the
current directory stay as they were.
"""

from __future__ import annotations

import contextlib
import grp
import logging
import os
import pwd
from collections.abc import Iterator, MutableMapping
from dataclasses import dataclass

from . import _safepath
from .errors import StartError

__all__ = ["Identity"]

log = logging.getLogger("backchannel")

HIGHEST = 2**32 - 2
"""The number of a user or a group at most; the next one means nobody at all to the system."""

OF_THE_SESSION = ("MAIL", "OLDPWD", "SSH_", "SUDO_", "DOAS_", "XDG_", "XAUTHORITY", "DBUS_SESSION_")
"""Beginnings of variables that tell of whoever has logged in."""


@dataclass(frozen=True)
class Identity:
    """The user and the group that a pool runs as."""

    uid: int
    gid: int

    @classmethod
    def find(cls, user: str, group: str | None = None) -> Identity:
        """By name or number; without ``group``, the user's own. Raises :class:`StartError`."""
        try:
            uid, gid = (int(user), None) if user.isdecimal() else pwd.getpwnam(user)[2:4]
        except KeyError:
            raise StartError(2, f"--user {user}: there is no such user; create it, or give another one") from None
        if group is not None:
            try:
                gid = int(group) if group.isdecimal() else grp.getgrnam(group).gr_gid
            except KeyError:
                raise StartError(
                    2, f"--group {group}: there is no such group; create it, or give another one"
                ) from None
        if gid is None:
            try:
                gid = pwd.getpwuid(uid).pw_gid
            except KeyError:
                raise StartError(2, f"--user {user}: this number has no entry, so give --group as well") from None
        if max(uid, gid) > HIGHEST:
            raise StartError(2, f"--user {user}: the number of a user and of a group is {HIGHEST} at most")
        if not uid or not gid:
            raise StartError(2, f"--user {user}: that keeps the rights of root; give a user and a group without them")
        return cls(uid, gid)

    @property
    def current(self) -> bool:
        """Whether this process is it already, and nothing else: real, effective and saved, with no group besides."""
        users, groups = {os.getuid(), os.geteuid()}, {os.getgid(), os.getegid(), *os.getgroups()}
        for name, found in (("getresuid", users), ("getresgid", groups)):
            if hasattr(os, name):  # elsewhere a saved id shows when it is tried
                found.update(getattr(os, name)())
        return users == {self.uid} and groups == {self.gid}

    def may_replace(self, path: str) -> bool:
        """Whether it could put something else at ``path``, or make ``path`` lead elsewhere."""
        return _safepath.replaceable(path, self.uid, _safepath.groups_of(self.uid, self.gid))

    def check(self) -> None:
        """Raise :class:`StartError` if this process cannot become it: better said before anything is bound."""
        if not os.geteuid():
            self._warn()
        elif os.geteuid() != self.uid or os.getuid() not in (0, self.uid):
            text = "only root may become another user; start as root, or leave the option out"
            raise StartError(os.EX_NOPERM, f"--user: {text}")
        elif not self.current or _way_back():
            text = (
                "this process runs as that user already, but not as nothing else: it has further groups or a saved id, "
                "which only root can give up; start as root, or leave the option out"
            )
            raise StartError(os.EX_NOPERM, f"--user: {text}")

    def assume(self) -> None:
        """Become it, with no supplementary group but its own and no way back; from then on the environment is its own,
        and what it may write is imported. Raises :class:`StartError`.
        """
        if os.geteuid():
            self.check()
            return
        try:
            os.setgroups([self.gid])
            os.setgid(self.gid)
            os.setuid(self.uid)
        except OSError as error:
            raise _refused(error) from None
        if not self.current or _way_back():
            raise StartError(os.EX_OSERR, "--user: privileges could not be dropped for good; nothing is served")
        self.settle(os.environ)
        _safepath.restore()

    @contextlib.contextmanager
    def acting(self) -> Iterator[None]:
        """While this lasts, root has the rights of this user and no others; whoever is not root has those it has."""
        if os.geteuid():
            yield
            return
        group, groups = os.getegid(), os.getgroups()
        try:
            try:
                os.setgroups([self.gid])
                os.setegid(self.gid)
                os.seteuid(self.uid)
            except OSError as error:  # root without the capabilities, as in a container that has dropped them
                raise _refused(error) from None
            yield
        finally:
            os.seteuid(0)
            os.setegid(group)
            if os.getgroups() != groups:
                os.setgroups(groups)

    def settle(self, environment: MutableMapping[str, str]) -> None:
        """Let ``environment`` tell of it, and no more of whoever started this process."""
        for name in [name for name in environment if name.startswith(OF_THE_SESSION)]:
            del environment[name]
        try:
            entry = pwd.getpwuid(self.uid)
        except KeyError:
            environment["HOME"] = "/"
            for name in ("USER", "LOGNAME", "SHELL"):
                environment.pop(name, None)
        else:
            own = {"HOME": entry.pw_dir, "USER": entry.pw_name, "LOGNAME": entry.pw_name, "SHELL": entry.pw_shell}
            environment.update(own)

    def _warn(self) -> None:
        if aside := _safepath.set_aside_by_now():
            text = "root imports nothing from there, but Python itself has searched it: start with python -P"
            log.warning("--user may write %s: %s, and leave it out of PYTHONPATH", ", ".join(aside), text)
        elif found := _safepath.code_of(self.uid, _safepath.groups_of(self.uid, self.gid)):
            text = "let only root write what root runs"
            log.warning("--user may write %s, from where root has run code before the drop: %s", found, text)


def _refused(error: OSError) -> StartError:
    return StartError(os.EX_OSERR, f"--user: the system refuses to change users: {error.strerror}")


def _way_back() -> bool:
    for attempt in (os.setuid, os.seteuid, os.setgid, os.setegid):
        try:
            attempt(0)
        except OSError:
            continue
        return True
    return False
