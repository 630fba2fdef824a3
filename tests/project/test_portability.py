"""What only some systems have is used in the platform modules alone, and every use of it there is behind a choice."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

SOURCES = ("reference", "conformance/backchannel_conformance")
PLATFORM_MODULES = (
    "reference/sync/backchannel_sync/system/",
    "conformance/backchannel_conformance/kernel/",
)

NOT_EVERYWHERE = re.compile(
    r"/proc\b|epoll|kqueue|kevent|KQ_|TCP_INFO|TCP_DEFER_ACCEPT|UNIX_DIAG|NETLINK|SO_PEERCRED|SEQPACKET|accept4|pidfd|prctl|"
    r"setresuid|setresgid|waitid|sched_getaffinity|signalfd|sendfile|127\.0\.0\.2|\bstrace\b|^ss$|eventfd|memfd|"
    r"SCM_RIGHTS|sendmsg|recvmsg|recv_fds|send_fds"
)
ALLOWED = {
    # names of pollers that a person chooses from; what is not there is not offered
    "conformance/backchannel_conformance/cases/pool/test_herd.py": {"epoll", "kqueue"},
}


def names_in(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Every name and every text of a module that is no docstring."""
    docstrings = {
        id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }
    for node in ast.walk(tree):
        match node:
            case ast.Name(id=name) | ast.Attribute(attr=name) | ast.alias(name=name):
                yield node.lineno, name
            case ast.Constant(value=str(text)) if id(node) not in docstrings:
                yield node.lineno, text


def files() -> list[Path]:
    return [path for folder in SOURCES for path in sorted((ROOT / folder).rglob("*.py"))]


@pytest.mark.parametrize("path", files(), ids=lambda path: str(path.relative_to(ROOT)))
def test_special_names_stay_in_the_platform_modules(path: Path) -> None:
    where = path.relative_to(ROOT).as_posix()
    if where.startswith(PLATFORM_MODULES):
        return
    allowed = ALLOWED.get(where, set())
    found = [
        f"{where}:{line}: {name!r}"
        for line, name in names_in(ast.parse(path.read_text()))
        if NOT_EVERYWHERE.search(name) and name not in allowed
    ]
    assert not found, "move this into a platform module, with a fallback:\n" + "\n".join(found)


def test_the_check_can_fail() -> None:
    source = '"""About epoll."""\nimport os\nos.sched_getaffinity(0)\nopen(f"/proc/{1}/stat")\n'
    found = {name for _, name in names_in(ast.parse(source)) if NOT_EVERYWHERE.search(name)}
    assert found == {"sched_getaffinity", "/proc/"}
