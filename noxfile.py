"""The project's sessions, as shown by ``nox -l``.

Every session makes a virtual environment of its own and runs on the interpreter that runs nox, so a
machine needs nothing but that. What follows ``--`` on the command line is appended to the session's
main command and replaces nothing. What each session installs stands in the dependency groups of
pyproject.toml.
"""

import nox

nox.needs_version = ">=2025.2.9"
nox.options.default_venv_backend = "uv|virtualenv"
nox.options.sessions = ["tests", "conformance", "lint", "types", "docs"]

PROJECT = nox.project.load_toml("pyproject.toml")


def group(*names: str) -> list[str]:
    return list(nox.project.dependency_groups(PROJECT, *names))


@nox.session
def tests(session: nox.Session) -> None:
    """Run the project's own tests."""
    session.install("-e", ".", *group("test"))
    session.run("python", "-m", "pytest", *session.posargs)


@nox.session
def conformance(session: nox.Session) -> None:
    """Run the conformance suite against the sync implementation, both as installed."""
    session.install(".", *group("conformance"))
    command = "python -m backchannel_conformance run --impl sync --report build/conformance"
    session.run(*command.split(), *session.posargs)


@nox.session
def lint(session: nox.Session) -> None:
    """Check style and formatting of code and prose."""
    session.install(*group("lint"))
    session.run("ruff", "check")
    session.run("ruff", "format", "--check")
    session.run("sphinx-lint", "docs", "spec")


@nox.session
def types(session: nox.Session) -> None:
    """Check types, strictly, as each supported platform sees them."""
    session.install(*group("types", "conformance"))
    for platform in ("linux", "freebsd", "darwin"):
        session.run("mypy", "--platform", platform, *session.posargs)


@nox.session
def docs(session: nox.Session) -> None:
    """Build the specification and the documentation into build/docs."""
    session.install(*group("docs"))
    # -E: a page that was read before would keep its warnings to itself, and pass the second time.
    options = "-n -W --keep-going -E -c docs -d build/doctrees"
    session.run("sphinx-build", *options.split(), *session.posargs, ".", "build/docs")
