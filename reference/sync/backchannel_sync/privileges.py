"""Dropping privileges: after the listeners are bound, before the first fork, for good (BC-FORK-10).

The order is the one that works everywhere: supplementary groups, then the group, then the user, because each step
needs the rights that the next one gives up. As root, ``setgid`` and ``setuid`` set the real, the effective and the
saved id alike; that there is no way back is then tried rather than believed.
"""

from __future__ import annotations

import grp
import os
import pwd
from dataclasses import dataclass

from .errors import StartError

__all__ = ["Identity"]


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
                raise StartError(2, f"--user {user}: this number has no entry, so give a --group as well") from None
        if not uid or not gid:
            raise StartError(2, f"--user {user}: that keeps the rights of root; give a user and a group without them")
        return cls(uid, gid)

    @property
    def current(self) -> bool:
        """Whether this process runs as it already."""
        return {os.getuid(), os.geteuid()} == {self.uid} and {os.getgid(), os.getegid()} == {self.gid}

    def check(self) -> None:
        """Raise :class:`StartError` if this process cannot become it: better said before anything is bound."""
        if os.geteuid() and not self.current:
            text = "only root may become somebody else; start as root, or leave the option out"
            raise StartError(os.EX_NOPERM, f"--user: {text}")

    def assume(self) -> None:
        """Become it, with no supplementary group but its own and no way back. Raises :class:`StartError`."""
        if self.current and os.geteuid():
            return
        try:
            os.setgroups([self.gid])
            os.setgid(self.gid)
            os.setuid(self.uid)
        except OSError as error:
            raise StartError(os.EX_OSERR, f"--user: the system refuses to change users: {error.strerror}") from None
        if not self.current or set(os.getgroups()) - {self.gid} or _way_back():
            raise StartError(os.EX_OSERR, "--user: privileges could not be dropped for good; nothing is served")


def _way_back() -> bool:
    for attempt in (os.setuid, os.seteuid, os.setgid, os.setegid):
        try:
            attempt(0)
        except OSError:
            continue
        return True
    return False
