"""What can be run: ``nox -s conformance`` is the suite against the references, ``nox -s tests`` the project's own
tests.

Each session makes an environment of its own, with uv where it is installed and with plain virtualenv where it is not.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import nox

nox.needs_version = ">=2025.5.1"
nox.options.default_venv_backend = "uv|virtualenv"
nox.options.sessions = ["tests", "conformance", "examples", "lint", "types", "docs"]

PROJECT = nox.project.load_toml("pyproject.toml")
ROOTS = (
    "reference/core/backchannel",
    "reference/server/backchannel_server",
    "reference/sync/backchannel_sync",
    "reference/trio/backchannel_trio",
    "reference/tools/backchannel_tools",
    "conformance/backchannel_conformance",
)
DEFAULT = ("sync", "trio", "examples/loop/loop.toml", "examples/c/c.toml", "examples/c/c-worker.toml")
"""What the suite is run against: each reference, the worker on asyncio, the port in C, parent and worker."""
MIXED = ("sync+trio-workers", "trio+sync-workers", "examples/loop/asyncio.toml")
"""Pairs of a parent with another one's workers, and the parent on asyncio with its own."""

PYTHONS = ["3.11", "3.12", "3.13"]
THIS = f"{sys.version_info.major}.{sys.version_info.minor}"
OTHERS = [python for python in PYTHONS if python != THIS]


def show_pyenv() -> None:
    """Let ``python3.12`` and its like be found where pyenv has them but does not show them."""
    root = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"), "versions")
    found = [max(root.glob(f"{python}.*"), key=_patch, default=None) for python in sorted({*PYTHONS, THIS})]
    os.environ.setdefault("PYENV_VERSION", ":".join(path.name for path in found if path))


def _patch(path: Path) -> int:
    last = path.name.rpartition(".")[2]
    return int(last) if last.isdecimal() else -1


show_pyenv()
# A run starts thousands of processes. Each would compile all that it imports, and take three times as long to start.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)


def group(session: nox.Session, name: str) -> None:
    """Install a dependency group."""
    session.install(*nox.project.dependency_groups(PROJECT, name))


def options(session: nox.Session, names: tuple[str, ...]) -> list[str]:
    """The options that choose these, without the port in C where there is no compiler."""
    missing = [program for program in ("make", "cc") if not shutil.which(program)]
    if missing and any("/c/" in name for name in names):
        session.warn(f"the port in C is left out: there is no {' and no '.join(missing)}")
        names = tuple(name for name in names if "/c/" not in name)
    return [word for name in names for word in ("--manifest" if name.endswith(".toml") else "--impl", name)]


@nox.session
def conformance(session: nox.Session) -> None:
    """Run the conformance suite, with its controls, against the references, the asyncio worker and the port in C."""
    session.install("-e", ".[conformance,trio]")
    arguments = session.posargs or options(session, DEFAULT)
    session.run("python", "-m", "backchannel_conformance", "run", "--report", "build/conformance", *arguments)


@nox.session
def interop(session: nox.Session) -> None:
    """Run the suite against parents with workers of another implementation, and against the parent on asyncio."""
    session.install("-e", ".[conformance,trio]")
    arguments = session.posargs or ["--no-controls", *options(session, MIXED)]
    session.run("python", "-m", "backchannel_conformance", "run", "--report", "build/interop", *arguments)


@nox.session
def elsewhere(session: nox.Session) -> None:
    """Run the suite as on a system without /proc and epoll, as an ordinary user, with pytest and trio alone."""
    session.install("pytest>=9", "trio")
    chosen = session.posargs or ["--impl", "sync", "--impl", "sync+trio-workers"]
    session.run("python", "conformance/elsewhere", "--time-scale", "10", *chosen)


@nox.session
def mutants(session: nox.Session) -> None:
    """Prove that the cases can fail: each mutant of the sync reference must be killed, each case must kill one."""
    session.install("-e", ".[conformance]")
    session.run("python", "conformance/mutants", *session.posargs)


@nox.session
def histories(session: nox.Session) -> None:
    """Play generated histories, and compare each step with the model: --seed N, --histories N."""
    session.install("-e", ".[conformance,trio]")
    arguments = session.posargs or ["--histories", "300", *options(session, DEFAULT + MIXED)]
    session.run("python", "-m", "backchannel_conformance", "run", "--no-controls", *arguments, "--", "-m", "histories")


@nox.session
def variants(session: nox.Session) -> None:
    """Prove that no case fails what the specification allows: each case under one variant; or NAME ..., or --list."""
    session.install("-e", ".[conformance]")
    session.run("python", "conformance/variants", *(session.posargs or ["--deal"]))


@nox.session
def mutation(session: nox.Session) -> None:
    """Measure the suite by mechanical mutants of the reference and the port in C: --sample N, --module NAME, --list."""
    session.install("-e", ".[conformance]")
    session.run("python", "conformance/mutation", *session.posargs)


def own_tests(session: nox.Session) -> None:
    """The project's own tests, by the session's Python."""
    session.install("-e", ".[conformance,trio]")
    group(session, "test")
    # several at once, because most of them wait; one after another: nox -s tests -- -n 0
    session.run("pytest", "--numprocesses", "4", "--dist", "loadgroup", *session.posargs)


@nox.session
def tests(session: nox.Session) -> None:
    """Run the project's own tests, by the Python that runs nox."""
    own_tests(session)


@nox.session(name="other-pythons", python=OTHERS)
def other_pythons(session: nox.Session) -> None:
    """Run them by every other supported Python: one that is missing is skipped, or an error under CI."""
    own_tests(session)


@nox.session
def model(session: nox.Session) -> None:
    """Check the protocol's models with spin, and that each rule left out fails; --full for larger ones."""
    session.run("python", "spec/1.0/model/check.py", *session.posargs)


@nox.session
def bench(session: nox.Session) -> None:
    """Measure the back-channel beside every alternative: --quick, --full, --only NAME, --list."""
    session.install("-e", ".[trio]")
    group(session, "bench")
    session.run("python", "benchmarks", *session.posargs)


@nox.session
def micro(session: nox.Session) -> None:
    """Time the core by itself, with pyperf."""
    session.install("-e", ".", "pyperf")
    session.run("python", "benchmarks/micro.py", *(session.posargs or ["--fast", "--copy-env"]))


@nox.session
def fuzz(session: nox.Session) -> None:
    """Hostile octets against both sides of the core, a million: --inputs N."""
    session.install("-e", ".", "hypothesis")
    if sys.platform == "linux":
        # not everywhere is there one: then a seeded generator takes its place, and says so
        session.install("atheris", "--only-binary", ":all:", success_codes=[0, 1])
    session.run("python", "tests/core/fuzz.py", *session.posargs)


@nox.session
def explore(session: nox.Session) -> None:
    """Give each random test a hundred thousand examples, new ones in each run."""
    session.install("-e", ".[conformance,trio]")
    group(session, "test")
    chosen = session.posargs or ["tests/core"]
    session.run("pytest", "--hypothesis-profile", "explore", "-o", "timeout=0", *chosen)


@nox.session
def soak(session: nox.Session) -> None:
    """Soak a pool in clients, kills, stops, reloads and replacements at once: --minutes N, --impl NAME."""
    session.install("-e", ".[conformance,trio]")
    session.run("python", "conformance/soak", *session.posargs)


@nox.session
def examples(session: nox.Session) -> None:
    """Start each example as its README says, and use it with real clients."""
    session.install("-e", ".[trio]")
    group(session, "examples")
    session.run("pytest", "examples/tests", *session.posargs)


@nox.session
def traces(session: nox.Session) -> None:
    """Replay what the sync parent does in real runs (or what --impl says) against state tables and rules."""
    session.install("-e", ".[conformance,trio]")
    arguments = ["--impl", "sync", "--no-controls", "--report", "build/traced"]
    wanted = " or ".join(("parent", "placement", "scaling", "silence", "death", "stop", "load"))
    default = [*arguments, "--traces", "build/traces", "--", "-q", "-k", wanted]
    session.run("python", "-m", "backchannel_conformance", "run", *(session.posargs or default))


@nox.session
def candidate(session: nox.Session) -> None:
    """Seal the next release candidate of the specification: nox -s candidate -- "What has changed." """
    session.run("python", "spec/candidate.py", *session.posargs)


@nox.session
def lint(session: nox.Session) -> None:
    """Check style: ruff for code, sphinx-lint for prose, two linters for workflows."""
    group(session, "lint")
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("sphinx-lint", "docs", "spec")
    workflows = sorted(map(str, Path(".github/workflows").glob("*.yml")))
    session.run("check-jsonschema", "--builtin-schema", "vendor.github-workflows", *workflows)
    session.run("zizmor", "--offline", *workflows)


@nox.session
def types(session: nox.Session) -> None:
    """Check types, strictly, as on Linux, FreeBSD and macOS."""
    group(session, "types")
    for platform in ("linux", "freebsd", "darwin"):
        session.run("mypy", "--platform", platform, *ROOTS)


@nox.session
def docs(session: nox.Session) -> None:
    """Build the documentation, the specification included; any warning is an error. Then do what it says."""
    session.install("-e", ".[trio]")
    group(session, "docs")
    session.run("sphinx-build", "-n", "-W", "--keep-going", "-q", "-c", "docs", ".", "build/docs")
    session.run("pytest", "docs/checks", *session.posargs)
