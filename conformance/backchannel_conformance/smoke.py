"""Before anything is tested: is each role's command there, does it start, and does it answer?

One exchange for each role that a manifest offers. What goes wrong is said in words, with the role, the command and the
end of what it wrote. Most first runs of a port fail here, and not on a requirement.
"""

from __future__ import annotations

import shlex
import socket
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

from . import frames, kernel
from .codec_under_test import CodecUnderTest
from .errors import ContractError, RequirementViolated, UsageError
from .manifest import DEFAULTS, OFFERS, Manifest, Role
from .parent_under_test import ParentUnderTest
from .pool_under_test import PoolUnderTest
from .port_output import MOST_WRITTEN, printable
from .worker_under_test import WorkerUnderTest

__all__ = ["smoke", "try_each"]

COMMON = ("listen", "start", "min", "max", "status", "order_deadline")
"""The placeholders that most cases set."""


def _codec(manifest: Manifest, folder: Path) -> str:
    codec = CodecUnderTest(manifest, folder / "codec.log")
    try:
        said = codec.ask({"encode": {"type": "GONE", "open": 1, "capacity": 2}})
        expected = {"octets": frames.gone(1, 2).octets.hex()}
        if said != expected:
            raise ContractError(
                f"asked to encode GONE with open 1 and capacity 2, it said {said} instead of {expected}"
            )
        return "encodes a GONE"
    finally:
        codec.close()


def _worker(manifest: Manifest, folder: Path) -> str:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        listener.setblocking(False)
        worker = WorkerUnderTest(manifest, folder / "worker.log", [listener])
        try:
            worker.greet()
            client = worker.client.send("who")
            worker.order(1)
            worker.answer()
            who = client.answer()
            if who.pid != worker.pid:
                raise ContractError(
                    f"the suite started process {worker.pid}, and process {who.pid} served: the command must become "
                    "the worker itself, as with the shell's exec"
                )
            return f"says hello, answers the welcome, takes a connection and serves it as process {who.pid}"
        finally:
            worker.close()


def _parent(manifest: Manifest, folder: Path) -> str:
    parent = ParentUnderTest(manifest, {"start": "1", "min": "1", "max": "1"}, folder / "parent.log")
    try:
        stub = parent.stub()
        stub.greet()
        parent.connect()
        order = stub.order("BC-PICK-01")
        return f"starts the suite's worker by the exec binding, welcomes it and sends it {order}"
    finally:
        parent.close()


def _pool(manifest: Manifest, folder: Path) -> str:
    pool = PoolUnderTest(manifest, {"start": "1", "min": "1", "max": "1"}, folder / "pool.log")
    try:
        who = pool.client.ask()
        return f"says READY and serves, by process {who.pid}"
    finally:
        pool.close()


_CHECKS: dict[str, Callable[[Manifest, Path], str]] = {
    "codec": _codec,
    "worker": _worker,
    "parent": _parent,
    "pool": _pool,
}


def smoke(manifest: Manifest) -> bool:
    """One exchange for each role; prints what came of it. ``True`` if all went well."""
    well = True
    for role in _CHECKS:
        offered = manifest.roles.get(role)
        if offered is None:
            print(f"{role:<7} not offered: nothing of it will be tested")
            continue
        try:
            said = f"{role:<7} well: it {_try(role, manifest)}{_left_out(offered)}"
        except Exception as error:
            well = False
            said = f"{role:<7} WRONG: {_said(error)}\n        the command is: {_command(manifest, offered)}"
        print(printable(said))
    return well


def _try(role: str, manifest: Manifest) -> str:
    with tempfile.TemporaryDirectory(prefix="bc-") as folder, kernel.limits.files(MOST_WRITTEN):
        return _CHECKS[role](manifest, Path(folder))


def try_each(manifest: Manifest, roles: Iterable[str]) -> None:
    """Try the commands of ``roles`` before a run. Raises :class:`UsageError` for the first that does not start or does
    not answer: hundreds of cases would each wait for it in vain. Whether it answers correctly is for the cases to say.
    """
    for role in roles:
        offered = manifest.roles.get(role)
        if offered is None:
            continue
        try:
            _try(role, manifest)
        except RequirementViolated:
            pass
        except Exception as error:
            what = f"role {role} of {manifest.name}: {_said(error)}\nthe command is: {_command(manifest, offered)}"
            advice = "nothing was tested; smoke tries the other roles, --no-smoke tests all the same"
            raise UsageError(f"{what}\n{advice}") from None


def _left_out(role: Role) -> str:
    """Which placeholders its table does not mention, though most cases of the role set them."""
    wanted = [name for name in COMMON if name in OFFERS[role.name] and name not in role.placeholders]
    if not wanted:
        return ""
    names = ", ".join(f"{{{name}}}" for name in wanted)
    return f"\n        its table does not mention {names}: cases that set them are not applicable to it"


def _said(error: Exception) -> str:
    return str(error) if isinstance(error, ContractError | RequirementViolated) else f"{type(error).__name__}: {error}"


def _command(manifest: Manifest, role: Role) -> str:
    return shlex.join(manifest.fill(word, DEFAULTS) for word in role.command())
