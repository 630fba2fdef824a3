"""What root imports before it has become somebody else: nothing from where that somebody may write.

``python -m`` searches the current directory first, and PYTHONPATH before the standard library. A pool that root starts
with ``--user`` stands in its application's directory as a rule, which belongs to that user: a file ``argparse.py``
there would run as root. So whatever of the path the user may write is set aside, first of all, until privileges have
been dropped (:func:`restore`).

This module is imported before any other, so it imports only what every interpreter has in it already, and says no
``from __future__``, which would be an import too. What the interpreter itself has imported on its way here comes too
early for it: then the server does not start. ``python -P`` is what keeps the interpreter from it.
"""

import os
import pwd
import sys

__all__ = ["code_of", "groups_of", "replaceable", "restore", "set_aside"]

EX_NOPERM = 77

LINKS = 40
"""Symbolic links that are followed in one path, as systems do."""

_whole_path: "list[str] | None" = None


def groups_of(uid: int, gid: int) -> "frozenset[int]":
    """``gid`` and the groups that the user database gives to the user."""
    try:
        return frozenset(os.getgrouplist(pwd.getpwuid(uid).pw_name, gid))
    except KeyError:
        return frozenset((gid,))


def replaceable(path: str, uid: int, groups: "frozenset[int]") -> bool:
    """Whether the user could write what is at ``path``, put something else there, or make it lead elsewhere.

    Permissions are looked at, access control lists are not. What does not exist is replaceable if it could be made.
    """
    parts = os.path.abspath(path).split("/")[::-1]
    at, links = "/", 0
    while True:
        try:
            found = os.lstat(at)
        except OSError:
            return False  # nobody can make what its directory, which was looked at, does not allow
        while parts and parts[-1] in ("", "."):
            parts.pop()
        if found.st_mode & 0o170000 == 0o120000:  # a link says itself nothing: its directory was looked at
            links += 1
            if links > LINKS:
                return True
            target = os.readlink(at)
            parts += target.split("/")[::-1]
            at = "/" if target.startswith("/") else os.path.dirname(at)
            continue
        if _may_write(found, uid, groups, sticky_helps=bool(parts) and os.path.lexists(_under(at, parts[-1]))):
            return True
        if not parts:
            return False
        at = _under(at, parts.pop())


def _under(at: str, part: str) -> str:
    return os.path.dirname(at) if part == ".." else os.path.join(at, part)


def _may_write(found: os.stat_result, uid: int, groups: "frozenset[int]", *, sticky_helps: bool) -> bool:
    if found.st_uid == uid:
        return True
    if sticky_helps and found.st_mode & 0o1000:
        return False  # what is there already, and is looked at next, can be replaced by its owner alone
    return bool(found.st_mode & 0o002 or (found.st_mode & 0o020 and found.st_gid in groups))


def code_of(uid: int, groups: "frozenset[int]") -> "str | None":
    """Something that has been run or imported by now and that the user could have written; ``None`` if there is
    nothing.
    """
    found = [getattr(module, "__file__", None) for module in list(sys.modules.values())]
    files = sorted({file for file in found if isinstance(file, str)})
    for path in (sys.executable, sys.prefix, *files):
        if path and replaceable(path, uid, groups):
            return path
    return None


def set_aside() -> None:
    """As root on the way to a ``--user``: take out of the path what that user may write. Ends the process if something
    from there has been imported already.
    """
    global _whole_path
    user = _user(sys.argv[1:])
    if os.geteuid() or sys.argv[:1] != ["-m"] or user is None:
        return
    try:
        entry = pwd.getpwuid(int(user)) if user.isdecimal() else pwd.getpwnam(user)
        uid, groups = entry.pw_uid, groups_of(entry.pw_uid, entry.pw_gid)
    except KeyError:
        if not user.isdecimal():
            return  # which is refused in a moment
        uid, groups = int(user), frozenset()
    if found := code_of(uid, groups):
        text = "start with python -P, and let only root write what root runs, the virtual environment too"
        sys.stderr.write(f"--user {user}: that user may write {found!a}, from where root has run code; {text}\n")
        raise SystemExit(EX_NOPERM)
    _whole_path = list(sys.path)
    sys.path[:] = [entry for entry in sys.path if not replaceable(entry, uid, groups)]


def set_aside_by_now() -> "list[str]":
    """The entries of the path that are set aside."""
    return [] if _whole_path is None else [entry for entry in _whole_path if entry not in sys.path]


def restore() -> None:
    """Privileges have been dropped: what was set aside is where it was."""
    global _whole_path
    if _whole_path is not None:
        sys.path[:] = _whole_path
        _whole_path = None


def _user(arguments: "list[str]") -> "str | None":
    """The value of ``--user``, in each way of writing it that is understood."""
    found = None
    for at, argument in enumerate(arguments):
        name, equals, value = argument.partition("=")
        if len(name) > 2 and "--user".startswith(name):
            found = value if equals else arguments[at + 1] if at + 1 < len(arguments) else None
    return found


set_aside()
