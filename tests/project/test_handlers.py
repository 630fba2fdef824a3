"""No signal handler changes the table of workers (BC-PASS-03): whatever may run in one is read here.

A handler of a parent does nothing at all: Python writes the signal's number to a descriptor, and the loop reads it
there. trio does the same for whoever asks it for signals. In a worker there is no table.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FILES = [
    path for name in ("core", "server", "sync", "trio") for path in sorted((ROOT / "reference" / name).rglob("*.py"))
]
DISPOSITIONS = {"SIG_DFL", "SIG_IGN", "default_int_handler"}
"""The last is what Python does at SIGINT by itself."""
IN_WORKERS = {
    # a traditional worker, which sleeps in accept: its handler says that it was asked to leave
    "reference/sync/backchannel_sync/traditional.py": {"worker.asked_to_leave"},
    # the same one while it loads its code: it ends
    "reference/sync/backchannel_sync/forked.py": {"_leave"},
}
BEFORE = {
    # while a handler is preloaded: there is no worker yet, and so no table
    "reference/server/backchannel_server/signals.py": {"interrupt"},
}
RESTORED = {
    # what was there before the parent came, which is the business of whoever set it
    "reference/server/backchannel_server/signals.py": {"handler"},
}
OTHER_WAYS = {"siginterrupt", "setitimer", "alarm", "add_signal_handler", "sigaction"}


def handlers(tree: ast.AST) -> Iterator[str]:
    """What is installed as a handler, except for dispositions and for functions of this module without a statement."""
    empty = {
        node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) and all(map(_does_nothing, node.body))
    }
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Attribute(value=ast.Name(id="signal"), attr="signal"), args=[_, handler]):
                name = ast.unparse(handler)
                if name.removeprefix("signal.") not in DISPOSITIONS and name not in empty:
                    yield name
            case ast.Attribute(attr=name) if name in OTHER_WAYS:
                yield name
            case ast.ImportFrom(module="signal", names=names):
                yield from (alias.name for alias in names if alias.name in {"signal", *OTHER_WAYS})


def _does_nothing(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Pass) or (
        isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
    )


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_handler_does_anything(path: Path) -> None:
    where = path.relative_to(ROOT).as_posix()
    allowed = set().union(*(known.get(where, set()) for known in (IN_WORKERS, BEFORE, RESTORED)))
    assert set(handlers(ast.parse(path.read_text()))) == allowed


def test_the_check_can_fail() -> None:
    source = """
import signal
def idle(number, frame):
    "Nothing."
def reap(number, frame):
    table.clear()
signal.signal(signal.SIGCHLD, idle)
signal.signal(signal.SIGCHLD, signal.SIG_DFL)
signal.signal(signal.SIGCHLD, reap)
signal.signal(signal.SIGTERM, lambda number, frame: table.clear())
loop.add_signal_handler(signal.SIGHUP, reap)
"""
    assert sorted(handlers(ast.parse(source))) == ["add_signal_handler", "lambda number, frame: table.clear()", "reap"]
