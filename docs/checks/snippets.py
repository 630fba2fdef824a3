"""What a page tells its reader to do, done.

A page is one sitting in one directory. Its code blocks, in their order, are:

``python``, ``ini``, ... with a caption
    a file of that name, written into the directory
``python`` without one
    a program, run
``sh``
    a script, which must succeed
``console``
    commands after ``$``, and what they must print; ``...`` stands for anything

A ``sh`` block of class ``serve`` is a server: it is started, and the page goes on when it says that it is ready. At the
end of the page, or at the next server, SIGTERM must end it with status 0; one of class ``also`` leaves those before it
alone. A block of class ``needs-NAME`` is for places where the program NAME is (``needs-root``: for root). A block of
class ``shown`` is not run here: another test runs it, or nothing can.

Each page gets free ports for the ones it names, so that nothing depends on what else the machine does.

Pages are read from what Sphinx has read (its doctrees), and from Markdown by markdown-it: there is no parser here.
"""

from __future__ import annotations

import os
import pickle
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

DEADLINE = 240.0
"""Seconds for one command: an installation may be among them."""

READY = re.compile(r" ready on |^Listening on |Loading success|start worker process ", re.M)
"""How a server, or who starts it on demand, says that clients may come."""

PATH = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])
"""Where programs are; servers may be where a user does not look."""

RUN = frozenset({"sh", "console", "python"})
DATA = frozenset({"text", "json", "toml", "none", "default", "ini", "nginx", "dockerfile", "c"})


@dataclass(frozen=True)
class Block:
    """One code block of a page."""

    language: str
    text: str
    line: int
    classes: frozenset[str] = frozenset()
    caption: str = ""


def of_doctree(path: Path) -> list[Block]:
    """The code blocks of a page that Sphinx has read; files that it includes are not among them."""
    from docutils import nodes

    doctree: nodes.document = pickle.loads(path.read_bytes())
    blocks = []
    for node in doctree.findall(nodes.literal_block):
        if "source" in node:  # literalinclude: the file has a test of its own
            continue
        caption = ""
        if isinstance(node.parent, nodes.container):
            caption = next((child.astext() for child in node.parent.findall(nodes.caption)), "")
        language = node.get("language", "none")
        blocks.append(Block(language, node.astext() + "\n", node.line or 0, frozenset(node["classes"]), caption))
    return blocks


_MARK = re.compile(r"<!--\s*(snippet|command):\s*(.*?)\s*-->")


def of_markdown(path: Path) -> list[Block]:
    """The fenced blocks of a Markdown file. ``<!-- snippet: CLASSES -->`` before one names its classes; a
    ``file=NAME`` among them is its caption.
    """
    from markdown_it import MarkdownIt

    blocks, words = [], []
    for token in MarkdownIt().parse(path.read_text()):
        if token.type == "html_block":
            mark = _MARK.search(token.content)
            # .ci/run runs what is marked as a command
            words = [] if not mark else mark[2].split() if mark[1] == "snippet" else ["shown"]
        elif token.type == "fence":
            caption = next((word.removeprefix("file=") for word in words if word.startswith("file=")), "")
            line = token.map[0] + 1 if token.map else 0
            blocks.append(Block(token.info.strip() or "none", token.content, line, frozenset(words), caption))
            words = []
        elif token.type != "inline":
            words = []
    return blocks


def free_port() -> int:
    """A port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Server:
    """A server that a page has started."""

    def __init__(self, command: str, directory: Path, environment: dict[str, str]) -> None:
        self.command = command
        self.lines: list[str] = []
        self.ready = threading.Event()
        *before, last = re.split(r"(?<!\\)\n", command.strip())  # the server is the last line of its block
        self.process = subprocess.Popen(
            ["bash", "-euc", "\n".join([*before, f"exec {last}"])],
            cwd=directory,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        with self.process.stderr as lines:
            for line in lines:
                self.lines.append(line)
                if READY.search(line):
                    self.ready.set()
        self.ready.set()

    @property
    def log(self) -> str:
        return "".join(self.lines)

    def wait(self) -> Self:
        """Return when it is ready. ``AssertionError`` with its log if it is not."""
        self.ready.wait(DEADLINE)
        assert READY.search(self.log), f"`{self.command.strip()}` did not get ready:\n{self.log}"
        return self

    def stop(self) -> None:
        """SIGTERM must end it well."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            status = self.process.wait(DEADLINE)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"SIGTERM did not end `{self.command.strip()}`:\n{self.log}") from None
        self._reader.join(DEADLINE)
        assert status == 0, f"`{self.command.strip()}` ended with status {status}:\n{self.log}"

    def kill(self) -> None:
        """Whatever it does, it goes."""
        self.process.kill()
        self.process.wait()
        self._reader.join(DEADLINE)


@dataclass
class Sitting:
    """A reader who does what a page says, in ``directory``."""

    directory: Path
    servers: list[Server] = field(default_factory=list)
    ports: dict[str, int] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None:
            self.stop_servers()
        for server in self.servers:
            server.kill()

    def stop_servers(self) -> None:
        """Stop them all, the newest first."""
        while self.servers:
            self.servers.pop().stop()

    def do(self, block: Block) -> None:
        """Do what ``block`` says. ``AssertionError`` says what went wrong."""
        missing = [name for name in _needs(block) if not _there(name)]
        if missing or "shown" in block.classes:
            self.left_out.append(f"line {block.line}: {'no ' + missing[0] if missing else 'shown only'}")
            return
        text = self.with_free_ports(block.text)
        if block.caption:
            target = self.directory / block.caption
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text)
        elif "serve" in block.classes:
            if "also" not in block.classes:
                self.stop_servers()
            self.servers.append(Server(text, self.directory, self.environment))
            self.servers[-1].wait()
        elif block.language == "console":
            for command, expected in _dialogue(text):
                shown = self.run(["bash", "-euo", "pipefail", "-c", command], command)
                assert _matches(expected, shown), f"$ {command}\nprinted\n{shown}instead of\n{expected}"
        elif block.language == "sh":
            self.run(["bash", "-euo", "pipefail", "-c", text], text)
        elif block.language == "python":
            self.run([sys.executable, "-c", text], text)
        else:
            assert block.language in DATA, f"line {block.line}: nobody runs blocks of language {block.language!r}"

    @property
    def environment(self) -> dict[str, str]:
        own = [str(self.directory / ".venv" / "bin"), str(Path(sys.executable).parent)]
        path = os.pathsep.join([*own, PATH])
        return {**os.environ, "PATH": path, "PYTHONUNBUFFERED": "1", "COLUMNS": "100"}

    def run(self, arguments: list[str], shown: str) -> str:
        """Run a command to its end; return what it printed."""
        done = subprocess.run(
            arguments,
            cwd=self.directory,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=DEADLINE,
        )
        log = "".join(f"\nthe log of `{server.command.strip()}`:\n{server.log}" for server in self.servers)
        assert done.returncode == 0, f"`{shown.strip()}` ended with status {done.returncode}:\n{done.stdout}{log}"
        return done.stdout

    def with_free_ports(self, text: str) -> str:
        """``text`` with a free port for each one that an address of this page has named."""
        for port in _ADDRESS.findall(text):
            self.ports.setdefault(port, free_port())
        if not self.ports:
            return text
        return re.sub(rf"\b({'|'.join(self.ports)})\b", lambda match: str(self.ports[match[0]]), text)


_ADDRESS = re.compile(r"""(?:127\.0\.0\.1|0\.0\.0\.0|localhost)["']?[:,] ?(\d{4})\b""")


def _needs(block: Block) -> Iterator[str]:
    return (name.removeprefix("needs-") for name in block.classes if name.startswith("needs-"))


def _there(name: str) -> bool:
    """Whether what a block needs is there: a program or, for ``root``, the right to run this Python as nobody."""
    if name != "root":
        return shutil.which(name, path=PATH) is not None
    try:
        return os.geteuid() == 0 and subprocess.run([sys.executable, "-c", ""], user="nobody").returncode == 0
    except OSError:
        return False


def _dialogue(text: str) -> Iterator[tuple[str, str]]:
    """The commands of a console block, each with what it is to print."""
    for part in re.split(r"^\$ ", text, flags=re.M)[1:]:
        lines = part.splitlines(keepends=True)
        end = next(at for at, line in enumerate(lines) if not line.endswith("\\\n")) + 1
        yield "".join(lines[:end]).strip(), "".join(lines[end:])


def _matches(expected: str, shown: str) -> bool:
    if not expected.strip():
        return True
    pattern = ".*".join(re.escape(piece) for piece in expected.strip().split("..."))
    return re.fullmatch(pattern, shown.strip(), re.S) is not None
