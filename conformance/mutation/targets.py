"""What is made wrong: the modules of the sync reference and the sources of the port in C, each with the cases that run
against it.

A changed module is loaded in its place by ``conformance/mutants/mutate.py``, so no file of the reference is touched. A
changed source in C is built in a folder of its own.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import c_sites
import python_sites
from backchannel_conformance import manifest
from backchannel_conformance.manifest import Manifest
from sites import Site

__all__ = ["CORE", "PARTS", "PORT", "SHELLS", "TARGETS", "DoesNotCompile", "Target", "all_sites", "changed", "prepare"]

ROOT: Final = Path(__file__).parents[2]
MUTATE: Final = str(ROOT / "conformance" / "mutants" / "mutate.py")
PORT_FOLDER: Final = ROOT / "examples" / "c"
CORE, SHELLS, PORT = PARTS = ("core", "shells", "C")
"""The parts that have a score of their own: decisions, system calls, and another language."""

LEFT_OUT: Final = {
    **dict.fromkeys(
        ("Settings.__post_init__", "Scaling.__post_init__", "_at_least", "_check_types"),
        "only checks what an operator has written: no rule is in it",
    ),
    "WorkerSide._sent_in_part": "Linux gives no cause: its socketpairs take a write this short whole, or not at all",
    "WorkerSide.set_capacity": "for authors whose workers change their capacity: those of the references do not",
    **dict.fromkeys(("act", "who"), "does what the suite's clients ask the port in C for"),
}
"""Functions in which nothing is made wrong, and why."""


class DoesNotCompile(Exception):
    """It is no mutant."""


@dataclass(frozen=True)
class Target:
    """One source that is made wrong."""

    part: str
    path: Path
    cases: tuple[str, ...]
    """Folders or files of cases. Those that are likeliest to notice come first."""
    manifest: str = ""
    """Of the port in C: the one that claims most."""

    @property
    def roles(self) -> list[str]:
        """The roles of its cases."""
        return sorted({case.partition("/")[0] for case in self.cases})


def _python(part: str, folder: str, cases: tuple[str, ...], *names: str) -> dict[str, Target]:
    return {name: Target(part, ROOT / "reference" / folder / f"{name.replace('.', '/')}.py", cases) for name in names}


def _c(name: str, *cases: str, manifest: str = "c.toml") -> dict[str, Target]:
    return {f"c.{name}": Target(PORT, PORT_FOLDER / name, cases, manifest)}


_PARTS_OF_THE_PARENT: Final = (
    "backlog", "candidates", "deadlines", "dispatch", "failures", "lifecycle",
    "parent", "reload", "reports", "settings", "sizing", "slots",
)  # fmt: skip
TARGETS: Final[dict[str, Target]] = {
    **_python(CORE, "core", ("codec", "worker", "parent"), "backchannel.frames"),
    **_python(CORE, "core", ("worker", "parent"), "backchannel.exec_binding"),
    **_python(CORE, "core", ("worker",), "backchannel.worker"),
    **_python(CORE, "core", ("worker", "parent"), "backchannel.states"),
    **_python(CORE, "core", ("parent",), *(f"backchannel.{name}" for name in _PARTS_OF_THE_PARENT)),
    **_python(
        SHELLS, "server", ("worker", "pool/test_load.py"),
        "backchannel_server.accepting", "backchannel_server.worker_channel", "backchannel_server.exec_worker",
    ),
    **_python(
        SHELLS, "sync", ("worker", "pool/test_load.py"),
        "backchannel_sync.blocking", "backchannel_sync.events", "backchannel_sync.worker",
    ),
    **_python(
        SHELLS, "server", ("parent", "pool"),
        "backchannel_server.arrivals", "backchannel_server.channels", "backchannel_server.driver",
        "backchannel_server.exec_binding",
    ),
    **_python(SHELLS, "server", ("pool/test_replace.py", "pool/test_stop.py"), "backchannel_server.handover"),
    **_python(
        SHELLS, "server", ("pool/test_listeners.py", "pool/test_replace.py", "pool/test_death.py"),
        "backchannel_server.listeners",
    ),
    **_python(SHELLS, "sync", ("parent", "pool"), "backchannel_sync.parent"),
    **_c("frame.h", "codec", "worker", "parent"),
    **_c("worker.c", "worker", manifest="c-worker.toml"),
    **_c("parent.c", "parent", "pool"),
}  # fmt: skip
"""By the name that ``--module`` takes. What is no part of the protocol is missing: command lines, logs, the status
document, the service that the suite asks for, and the codecs' JSON.
"""


def all_sites(names: Sequence[str]) -> list[Site]:
    """Every site of these targets."""
    found: list[Site] = []
    for name in names:
        target = TARGETS[name]
        find = c_sites.sites_of if target.part == PORT else python_sites.sites_of
        found += [site for site in find(name, target.path.read_text()) if _may_matter(site)]
    return found


def _may_matter(site: Site) -> bool:
    return site.function not in LEFT_OUT and not site.statement.startswith("raise SettingError")


def prepare(name: str, source: str, folder: Path) -> Path:
    """Put ``source`` into the new ``folder`` as what target ``name`` is to be, ready to be run; what :func:`changed`
    takes. Raises :class:`DoesNotCompile`.
    """
    target = TARGETS[name]
    if target.part != PORT:
        folder.mkdir()
        file = folder / target.path.name
        file.write_text(source)
        return file
    shutil.copytree(PORT_FOLDER, folder, ignore=shutil.ignore_patterns("build"))
    (folder / target.path.name).write_text(source)
    # what is wrong may be what a warning is about: only an error counts
    done = subprocess.run(["make", "-s", "-C", folder], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    if done.returncode:
        raise DoesNotCompile(done.stdout.decode(errors="replace")[-500:])
    return folder


def changed(name: str, place: Path) -> Manifest:
    """The implementation with target ``name`` as :func:`prepare` has left it in ``place``."""
    target = TARGETS[name]
    if target.part == PORT:
        whole = manifest.load(place / target.manifest, built=True)
        return replace(whole, roles={role: whole.roles[role] for role in target.roles})
    whole = manifest.find("sync")
    wrong = {}
    for name_of_role in target.roles:
        role = whole.roles[name_of_role]
        commands = {key: (line[0], MUTATE, f"{name}={place}", *line[1:]) for key, line in role.commands.items()}
        wrong[name_of_role] = replace(role, commands=commands)
    return replace(whole, roles=wrong)
