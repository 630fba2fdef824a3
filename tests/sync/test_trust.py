"""What root runs before it has become the pool's user, what it does at that user's paths, and what workers are left."""

from __future__ import annotations

import os
import pwd
import re
import select
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import IO

import pytest
from backchannel_server import _safepath
from backchannel_server import listeners as opening
from backchannel_server.listeners import Listeners
from backchannel_server.privileges import Identity
from backchannel_server.systemd import Notifier

root = pytest.mark.skipif(os.geteuid() != 0, reason="untestable here: needs root")

HANDLERS = {
    "backchannel_sync": "def handle(connection):\n    connection.recv(9)\n    connection.sendall(answer())\n",
    "backchannel_trio": (
        "async def handle(stream):\n    await stream.receive_some(9)\n    await stream.send_all(answer())\n"
    ),
}
STAND_IN = """
import os, sysconfig
if os.geteuid() == 0:
    open({mark!r}, "a").write(__name__ + "\\n")
path = sysconfig.get_paths()["stdlib"] + "/{name}"
exec(compile(open(path).read(), path, "exec"))
"""
"""The module that it has the name of, which tells if root has run it."""


@pytest.fixture
def folder() -> Iterator[Path]:
    """A directory that everybody may search, with a short name."""
    made = Path(tempfile.mkdtemp(prefix="bc-"))
    made.chmod(0o755)
    yield made
    shutil.rmtree(made)


def theirs(path: Path) -> Path:
    """``path`` as a directory that belongs to nobody."""
    path.mkdir(exist_ok=True)
    entry = pwd.getpwnam("nobody")
    os.chown(path, entry.pw_uid, entry.pw_gid)
    return path


@cache
def python_of_nobody() -> tuple[str, list[str]]:
    """A Python that nobody may run, with trio, and what it needs on its path: a worker of the exec binding is started
    as the pool's user.
    """
    own = [entry for entry in sys.path if entry and "lib-dynload" not in entry and not entry.endswith(".zip")]
    found = [entry for entry in own if (Path(entry) / "trio").is_dir()]
    found += [str(Path(_safepath.__file__).parents[2] / name) for name in ("core", "server", "sync", "trio")]
    for python, paths in ((sys.executable, []), (f"/usr/bin/python3.{sys.version_info.minor}", found)):
        env = {"PYTHONPATH": ":".join(paths)} if paths else {}
        command = [python, "-P", "-c", "import backchannel_trio"]
        try:
            done = subprocess.run(
                command, env=env, user="nobody", cwd="/", capture_output=True, timeout=60, check=False
            )
        except OSError:
            continue
        if not done.returncode:
            return python, paths
    pytest.skip("untestable here: no Python that nobody may run")


class Pool:
    """A pool of the handler in ``code``, which answers what ``answer`` returns."""

    def __init__(
        self,
        module: str,
        code: Path,
        answer: str,
        *options: str,
        env: dict[str, str] | None = None,
        ready_fd: int = 1,
        cwd: Path | None = None,
    ) -> None:
        (code / "answering.py").write_text(f"import os, sys\ndef answer():\n    return {answer}\n{HANDLERS[module]}")
        python, paths = python_of_nobody() if "--user" in options else (sys.executable, [])
        env = {**os.environ, **(env or {})}
        env["PYTHONPATH"] = ":".join([path for path in (env.get("PYTHONPATH", ""), *paths) if path])
        command = [python, "-m", module, "--listen", "127.0.0.1:0", "--ready-fd", str(ready_fd), *options]
        self.log = Path(tempfile.mkstemp(prefix="bc-log-")[1])
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [*command, "answering:handle"],
                cwd=cwd or code,
                env=env,
                stdout=subprocess.PIPE,
                stderr=log,
                pass_fds=(ready_fd,) if ready_fd > 2 else (),
            )

    def ask(self, ready: IO[bytes] | None = None) -> bytes:
        tells = ready or self.process.stdout
        assert tells
        assert select.select([tells], [], [], 60)[0], self.log.read_text()
        line = tells.readline().decode().split()
        assert line, self.log.read_text()
        host, _, port = line[1].rpartition(":")
        with socket.create_connection((host, int(port)), timeout=30) as client:
            client.sendall(b"?")
            return client.makefile("rb").read()

    def __enter__(self) -> Pool:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.send_signal(signal.SIGINT)
        self.process.wait(30)
        assert self.process.stdout
        self.process.stdout.close()
        self.log.unlink()


# --------------------------------------------------------------------- what root imports, and when


@root
@pytest.mark.parametrize("module", HANDLERS)
@pytest.mark.parametrize("where", ["current directory", "PYTHONPATH"])
def test_root_imports_nothing_of_the_users(module: str, where: str, folder: Path) -> None:
    """Files with standard modules' names, where the handler is: the pool works, and root has not run them."""
    mark, code = folder / "run-by-root", theirs(folder / "code")
    for name in ("argparse", "logging/__init__", "socket", "shlex", "signal"):
        stand_in = code / f"{name.partition('/')[0]}.py"
        stand_in.write_text(STAND_IN.format(mark=str(mark), name=f"{name}.py"))
    cwd = code if where == "current directory" else theirs(folder / "cwd")
    env = {"PYTHONPATH": str(code)} if where == "PYTHONPATH" else {}
    with Pool(module, code, "str(os.getuid()).encode()", "--user", "nobody", env=env, cwd=cwd) as pool:
        assert pool.ask() == str(pwd.getpwnam("nobody").pw_uid).encode()
        assert "python -P" in pool.log.read_text()
    assert not mark.exists()


@pytest.mark.parametrize(
    ("arguments", "user"),
    [
        (["--user", "a", "x:y"], "a"),
        (["--us=b", "x:y"], "b"),
        (["--user=a", "--user", "b"], "b"),
        (["--user"], None),
        (["--listen", "x"], None),
    ],
)
def test_the_user_is_found_however_it_is_written(arguments: list[str], user: str | None) -> None:
    assert _safepath._user(arguments) == user


@root
def test_root_starts_no_pool_from_code_of_the_users(folder: Path) -> None:
    """The packages themselves stand where the user may write: too late to import something else."""
    source = Path(_safepath.__file__).parents[2]
    packages = theirs(folder / "packages")
    for package in ("core/backchannel", "sync/backchannel_sync"):
        shutil.copytree(source / package, packages / Path(package).name)
    command = [sys.executable, "-P", "-m", "backchannel_sync", "--user", "nobody", "x:y"]
    done = subprocess.run(
        command,
        env={**os.environ, "PYTHONPATH": str(packages)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == os.EX_NOPERM
    assert f"that user may write '{packages}" in done.stderr
    assert len(done.stderr.splitlines()) == 1


@root
def test_tools_import_nothing_of_the_current_directory(folder: Path) -> None:
    mark, code = folder / "run-by-root", theirs(folder / "code")
    for name in ("argparse", "json/__init__", "socket"):
        (code / f"{name.partition('/')[0]}.py").write_text(STAND_IN.format(mark=str(mark), name=f"{name}.py"))
    for tool in ("top", "reload", "trace"):
        command = [sys.executable, "-m", f"backchannel_tools.{tool}", "nothing"]
        done = subprocess.run(command, cwd=code, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 1
    assert not mark.exists()


def test_what_somebody_may_replace(folder: Path) -> None:
    def may(path: str | Path, uid: int = 12345, groups: tuple[int, ...] = (23456,)) -> bool:
        return _safepath.replaceable(str(path), uid, frozenset(groups))

    ours, open_, sticky = folder / "ours", folder / "open", folder / "sticky"
    for made, mode in ((ours, 0o755), (open_, 0o777), (sticky, 0o1777)):
        made.mkdir()
        made.chmod(mode)
    (open_ / "inner").mkdir()
    (sticky / "inner").mkdir(mode=0o755)
    (open_ / "link").symlink_to(ours)
    (ours / "link").symlink_to("../open/inner")
    (ours / "good").symlink_to("../sticky/inner/../inner")
    (ours / "loop").symlink_to("loop")
    assert not may(ours)
    assert not may(ours / "not there")
    assert not may(sticky / "inner")
    assert not may(ours / "good")
    assert may(open_)
    assert may(open_ / "inner"), "it can be moved away, and another put there"
    assert may(open_ / "link")
    assert may(ours / "link"), "it leads through a directory of theirs"
    assert may(ours / "loop")
    assert may(sticky)
    assert may(sticky / "not there")
    assert may(ours, os.geteuid())
    ours.chmod(0o775)
    assert not may(ours)
    assert may(ours, groups=(ours.stat().st_gid,))


# ----------------------------------------------------------------------- what root does at a path


def in_child(what: str, folder: Path) -> None:
    """Run a function of this module, which may change users, in a process of its own."""
    pid = os.fork()
    if not pid:
        try:
            globals()[what](folder)
        except BaseException:
            import traceback

            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def paths_belong_to_the_user(folder: Path) -> None:
    nobody = Identity.find("nobody")
    theirs(folder / "theirs")
    listeners = Listeners(identity=nobody)
    listeners.open([f"unix:{folder}/a", f"unix:{folder}/theirs/b"], mode=0o640)
    for path in (folder / "a", folder / "theirs" / "b"):
        found = path.stat()
        assert (found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)) == (nobody.uid, nobody.gid, 0o640)
    assert (os.getresuid(), os.getresgid()) == ((0, 0, 0), (0, 0, 0))
    listeners.close()
    listeners.remove_paths()
    assert not (folder / "a").exists()
    assert not (folder / "theirs" / "b").exists()


def a_swapped_directory_leads_root_nowhere(folder: Path) -> None:
    """Between the two steps of each pair (bind and hand over; look and remove) the directory becomes a link."""
    nobody = Identity.find("nobody")
    app, run = theirs(folder / "app"), theirs(folder / "app" / "run")
    (folder / "roots").mkdir()
    precious = folder / "roots" / "x"
    precious.write_text("root's own")
    real = opening.bind_unix

    def swap() -> None:
        with nobody.acting():
            run.rename(app / "away")
            run.symlink_to(folder / "roots")

    def bind_and_swap(path: str, option: str, *, mode: int | None = None) -> socket.socket:
        made = real(path, option, mode=mode)
        acting_as = os.geteuid()
        os.seteuid(0)
        swap()
        os.seteuid(acting_as)
        return made

    opening.bind_unix = bind_and_swap
    listeners = Listeners(identity=nobody)
    listeners.open([f"unix:{run}/x"])
    listeners.close()
    assert precious.stat().st_uid == 0
    listeners.remove_paths()  # what was found there is remembered as its own: with the user's rights it stays
    assert precious.read_text() == "root's own"


def a_stale_path_is_removed_as_the_user(folder: Path) -> None:
    """A socket of root's that is dead, at which a link of the user's points: root could remove it."""
    nobody = Identity.find("nobody")
    app = theirs(folder / "app")
    (folder / "roots").mkdir()
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(f"{folder}/roots/x")
    (app / "run").symlink_to(folder / "roots")
    with pytest.raises(opening.StartError):
        Listeners(identity=nobody).open([f"unix:{app}/run/x"])
    assert (folder / "roots" / "x").is_socket()


@root
@pytest.mark.parametrize(
    "what",
    [
        "paths_belong_to_the_user",
        "a_swapped_directory_leads_root_nowhere",
        "a_stale_path_is_removed_as_the_user",
    ],
)
def test_paths(what: str, folder: Path) -> None:
    in_child(what, folder)


@pytest.mark.parametrize("module", HANDLERS)
@pytest.mark.parametrize(("options", "mode"), [((), 0o600), (("--status-mode", "660"), 0o660)])
def test_mode_of_the_status_socket(module: str, options: tuple[str, ...], mode: int, folder: Path) -> None:
    before = os.umask(0)
    try:
        pool = Pool(module, folder, "b'x'", "--status", "status", *options)
    finally:
        os.umask(before)
    with pool:
        assert pool.ask() == b"x"
        assert stat.S_IMODE((folder / "status").stat().st_mode) == mode


# ---------------------------------------------------------------------------- what is left to whom


@root
@pytest.mark.parametrize("module", HANDLERS)
@pytest.mark.parametrize("user", ["nobody", "12345"])
def test_environment_is_the_users(module: str, user: str, folder: Path) -> None:
    env = {"HOME": "/root", "USER": "root", "MAIL": "/x", "SUDO_USER": "x", "XDG_RUNTIME_DIR": "/x", "KEPT": "yes"}
    options = ["--user", user] if user == "nobody" else ["--user", user, "--group", "12345"]
    names = "HOME USER LOGNAME MAIL SUDO_USER XDG_RUNTIME_DIR KEPT"
    answer = f"repr([os.environ.get(name) for name in '{names}'.split()]).encode()"
    with Pool(module, folder, answer, *options, env=env) as pool:
        found = eval(pool.ask())
    home, name = (pwd.getpwnam("nobody").pw_dir, "nobody") if user == "nobody" else ("/", None)
    assert found == [home, name, name, None, None, None, "yes"]


@root
@pytest.mark.parametrize(
    "become",
    [
        "os.setgroups([0, 27]); os.setgid(G); os.setuid(U)",
        "os.setgroups([]); os.setresgid(G, G, 0); os.setuid(U)",
        "os.setgroups([]); os.setgid(G); os.setresuid(U, U, 0)",
        "os.setgroups([]); os.setgid(G); os.setresuid(0, U, U)",
    ],
)
def test_who_is_that_user_already_must_be_nothing_else(become: str) -> None:
    entry = pwd.getpwnam("nobody")
    code = (
        "import os, sys\nfrom backchannel_sync import StartError\nfrom backchannel_server.privileges import Identity\n"
        f"U, G = {entry.pw_uid}, {entry.pw_gid}\nnobody = Identity(U, G)\n{become}\n"
        "try:\n    nobody.check()\nexcept StartError as error:\n    print(error)\n    sys.exit(error.status)"
    )
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == os.EX_NOPERM, done.stderr
    assert "not as nothing else" in done.stdout or "only root may" in done.stdout


@pytest.mark.parametrize("module", HANDLERS)
def test_workers_do_not_hold_the_ready_descriptor(module: str, folder: Path) -> None:
    reader, writer = os.pipe()
    what = os.fstat(writer)
    answer = (
        f"repr(any(os.stat(f'/dev/fd/{{n}}').st_ino == {what.st_ino} for n in os.listdir('/dev/fd')"
        " if os.path.exists(f'/dev/fd/{n}'))).encode()"
    )
    with Pool(module, folder, answer, ready_fd=writer) as pool, open(reader, "rb") as ready:
        os.close(writer)
        assert pool.ask(ready) == b"False"


def test_ready_descriptor_that_nobody_reads(caplog: pytest.LogCaptureFixture) -> None:
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    while select.select([], [writer], [], 0)[1]:
        os.write(writer, b"x" * 4096)
    os.set_blocking(writer, True)
    Notifier({}, writer).ready(["127.0.0.1:1"])
    assert "no process reads READY" in caplog.text
    os.close(reader)
    os.close(writer)


def test_a_descriptor_that_has_become_another_is_kept() -> None:
    reader, writer = os.pipe()
    notifier = Notifier({}, writer)
    with open(os.devnull) as other:
        os.dup2(other.fileno(), writer)  # closed by who gave it, and its number given to something else
    notifier.forget()
    os.close(writer)  # it is open still
    notifier = Notifier({}, reader)
    notifier.forget()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.close(reader)


def test_an_address_adds_no_line() -> None:
    reader, writer = os.pipe()
    with tempfile.TemporaryDirectory(prefix="bc-") as folder:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as supervisor:
            supervisor.bind(f"{folder}/notify")
            Notifier({"NOTIFY_SOCKET": f"{folder}/notify"}, writer).ready(["unix:/x\nMAINPID=1", "unix:/\udce9"])
            assert supervisor.recv(1000) == rb"READY=1" + b"\n" + rb"STATUS=serving unix:/x\nMAINPID=1 unix:/\udce9"
    os.close(writer)
    assert os.read(reader, 1000) == rb"READY unix:/x\nMAINPID=1 unix:/\udce9" + b"\n"
    os.close(reader)


# ------------------------------------------------------------------------------------- the log


def lines_of(log: Path) -> list[str]:
    """The lines that are not a traceback's."""
    return [line for line in log.read_text().splitlines() if not line.startswith("\t")]


FORGED = r"x\n2026-01-01 00:00:00,000 1 ERROR forged\x1b[2J"
RECORD = re.compile(r"\d{4}-\d\d-\d\d [\d:,]+ \d+ [A-Z]+ .*")


@pytest.mark.parametrize("module", HANDLERS)
def test_what_a_handler_raises_adds_no_record(module: str, folder: Path) -> None:
    with Pool(module, folder, f"(_ for _ in ()).throw(ValueError('{FORGED}'))") as pool:
        assert pool.ask() == b""
        pool.process.send_signal(signal.SIGTERM)
        pool.process.wait(60)
        text = pool.log.read_text()
        assert "forged" in text
        assert "\x1b" not in text
        assert all(RECORD.fullmatch(line) and "ERROR forged" not in line for line in lines_of(pool.log))


def test_why_a_worker_cannot_start_is_one_record(folder: Path) -> None:
    (folder / "broken.py").write_text(f"raise ValueError('{FORGED}')")
    command = [sys.executable, "-m", "backchannel_sync", "--listen", "127.0.0.1:0", "broken:handle"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 78
    record = next(line for line in done.stderr.split("\n") if "no worker can start" in line)
    assert "ValueError: x" in record
    assert "forged" in record
    assert all(RECORD.fullmatch(line) for line in done.stderr.removesuffix("\n").split("\n"))
    assert "\x1b" not in done.stderr
