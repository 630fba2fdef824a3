"""What only some systems have is used in the platform modules alone, and every use of it there is behind a choice."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

SOURCES = ("reference", "conformance/backchannel_conformance", "conformance/adapters", "conformance/controls")
PLATFORM_MODULES = (
    "reference/server/backchannel_server/platform/",
    "conformance/backchannel_conformance/kernel/",
    "reference/tools/backchannel_tools/peer.py",
)

NOT_EVERYWHERE = re.compile(
    r"/proc\b|epoll|EPOLL|kqueue|kevent|KQ_|TCP_INFO|TCP_DEFER_ACCEPT|UNIX_DIAG|NETLINK|SO_PEERCRED|SEQPACKET|accept4|pidfd|prctl|"
    r"setresuid|setresgid|waitid|sched_getaffinity|signalfd|sendfile|127\.0\.0\.2|\bstrace\b|^ss\b|eventfd|memfd|"
    r"SCM_RIGHTS|sendmsg|recvmsg|recv_fds|send_fds|ctypes|^\0."
)
"""The last is an AF_UNIX name that is no path: what begins with a zero octet."""
ALLOWED = {
    # names of pollers that a person chooses from; what is not there is not offered
    "conformance/backchannel_conformance/cases/pool/test_herd.py": {"epoll", "kqueue"},
    # what a handler may call on its connection, and every POSIX system has; no descriptor is passed by it
    "reference/server/backchannel_server/clients.py": {"recvmsg", "recvmsg_into", "sendmsg"},
    # where there is none, nobody is found in it: the sweep of the session is all that ends what is left
    "conformance/backchannel_conformance/guardian.py": {"/proc"},
    # every POSIX system passes descriptors
    "conformance/backchannel_conformance/histories/parent/puppet.py": {"recv_fds"},
    "conformance/backchannel_conformance/histories/parent/puppet_program.py": {"sendmsg", "SCM_RIGHTS"},
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
            case ast.Constant(value=bytes(octets)):
                yield node.lineno, octets.decode("latin-1")
            case (
                ast.BinOp(left=ast.Constant(value="\0" | b"\0"), op=ast.Add())
                | ast.JoinedStr(values=[ast.Constant(value="\0"), *_])
            ):
                yield node.lineno, "\0..."


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


USES = {
    "/proc": "open(f'/proc/{pid}/stat')",
    "/proc, as octets": "os.listdir(b'/proc/self/fd')",
    "epoll": "select.epoll()",
    "kqueue": "from select import kqueue",
    "EPOLLET": "select.EPOLLET",
    "TCP_INFO": "listener.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 28)",
    "UNIX_DIAG": "UNIX_DIAG_RQLEN = 4",
    "netlink": "socket.socket(socket.AF_NETLINK)",
    "SOCK_SEQPACKET": "socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)",
    "accept4": "libc.accept4(3, 0, 0, 0)",
    "pidfd": "os.pidfd_open(pid)",
    "pidfd, by name": "getattr(os, 'pidfd_open')(pid)",
    "prctl": "libc.prctl(1, 9)",
    "the C library": "import ctypes",
    "setresuid": "os.setresuid(1, 1, 1)",
    "waitid": "os.waitid(os.P_PID, pid, os.WEXITED)",
    "sched_getaffinity": "os.sched_getaffinity(0)",
    "signalfd": "signalfd(-1, mask)",
    "abstract names": "sock.bind('\\0name')",
    "abstract names, as octets": "sock.bind(b'\\0name')",
    "abstract names, put together": "sock.bind('\\0' + name)",
    "abstract names, filled in": "sock.bind(f'\\0{name}')",
    "a second loopback address": "sock.bind(('127.0.0.2', 0))",
    "strace": "subprocess.run(['strace', '-p', '1'])",
    "strace in a line": "os.system('exec strace -p 1')",
    "ss": "subprocess.run(['ss', '-tln'])",
    "ss in a line": "os.system('ss -tln')",
}


def special(source: str) -> set[str]:
    return {name for _, name in names_in(ast.parse(source)) if NOT_EVERYWHERE.search(name)}


@pytest.mark.parametrize("source", USES.values(), ids=USES.keys())
def test_each_of_them_is_found(source: str) -> None:
    assert special(source), source


def test_what_is_only_written_about_is_not() -> None:
    assert not special('"""About epoll."""\nclass_, assess, _ = 0, "process /proceed", text.split("\\0")  # strace\n')
