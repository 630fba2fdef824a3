"""New code by the ways that docs/howto/reload.rst shows: whatever the way, what serves afterwards is the new code."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from backchannel_server.place import Place
from backchannel_sync import StartError
from programs import MODULES, Program, handler

Start = Callable[..., Program]
WORKER = f"{sys.executable} -m backchannel_sync.worker greeter:handle"

WAYS = {
    "forked": ("backchannel_sync", ("greeter:handle",)),
    "at once": ("backchannel_sync", ("--reload", "at-once", "greeter:handle")),
    "traditional": ("backchannel_sync", ("--traditional", "greeter:handle")),
    "programs": ("backchannel_sync", ("--worker", WORKER)),
    "trio": ("backchannel_trio", ("greeter:handle",)),
}


@pytest.fixture(params=list(WAYS))
def way(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, tuple[str, ...]]:
    module, arguments = WAYS[request.param]
    for number in (1, 2):
        handler(tmp_path / "releases" / str(number), module, f'b"release {number}"')
    switch(tmp_path, 1)
    return module, ("--workers", "2", *arguments)


def switch(folder: Path, number: int) -> None:
    """As the page says."""
    subprocess.run(["ln", "-sfn", f"releases/{number}", "current"], cwd=folder, check=True)


def in_current(folder: Path) -> dict[str, object]:
    """As a shell starts a program after ``cd current``."""
    return {"prefix": ("sh", "-c", f'cd {folder}/current && exec "$@"', "sh")}


def test_link_and_reload(tmp_path: Path, start: Start, way: tuple[str, tuple[str, ...]]) -> None:
    module, arguments = way
    program = start(tmp_path, *arguments, module=module, **in_current(tmp_path)).ready()
    assert program.ask() == b"release 1"
    for number in (2, 1):
        switch(tmp_path, number)
        assert "serves" in program.reload()
        assert program.ask() == b"release %d" % number
        assert f"begins, in {os.path.realpath(tmp_path)}/releases/{number}\n" in program.log


def test_link_and_replacement(tmp_path: Path, start: Start, way: tuple[str, tuple[str, ...]]) -> None:
    module, arguments = way
    program = start(tmp_path, *arguments, module=module, **in_current(tmp_path)).ready()
    switch(tmp_path, 2)
    program.replace()
    assert program.ask() == b"release 2"
    switch(tmp_path, 1)  # and the successor knows the link as well
    assert "serves" in program.reload()
    assert program.ask() == b"release 1"


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGUSR2])
def test_old_release_is_removed(
    tmp_path: Path, start: Start, way: tuple[str, tuple[str, ...]], number: signal.Signals
) -> None:
    """Before the signal comes, even."""
    module, arguments = way
    program = start(tmp_path, *arguments, module=module, **in_current(tmp_path)).ready()
    switch(tmp_path, 2)
    shutil.rmtree(tmp_path / "releases" / "1")
    if number == signal.SIGHUP:
        assert "serves" in program.reload()
    else:
        program.replace()
    assert program.ask() == b"release 2"


@pytest.mark.parametrize("module", MODULES)
def test_link_by_name(tmp_path: Path, start: Start, module: str) -> None:
    """A supervisor says nothing of links by PWD, or something old: ``--chdir`` names it."""
    for number in (1, 2):
        handler(tmp_path / "releases" / str(number), module, f'b"release {number}"')
    switch(tmp_path, 1)
    chdir = ("--chdir", str(tmp_path / "current"))
    program = start(tmp_path, *chdir, "greeter:handle", module=module, environment={"PWD": None}).ready()
    switch(tmp_path, 2)
    assert "serves" in program.reload()
    assert program.ask() == b"release 2"
    switch(tmp_path, 1)
    program.replace()
    assert program.ask() == b"release 1"


@pytest.mark.parametrize("module", MODULES)
def test_directory_is_put_in_the_place_of_another(tmp_path: Path, start: Start, module: str) -> None:
    """No link at all: the old directory is moved out of the way, and the new one takes its name."""
    handler(tmp_path / "app", module, 'b"old"')
    handler(tmp_path / "new", module, 'b"new"')
    # this process's PWD names another directory
    program = start(tmp_path, "greeter:handle", module=module, cwd=tmp_path / "app").ready()
    (tmp_path / "app").rename(tmp_path / "old")
    (tmp_path / "new").rename(tmp_path / "app")
    assert "serves" in program.reload()
    assert program.ask() == b"new"


@pytest.mark.parametrize("module", MODULES)
def test_code_changed_in_place(tmp_path: Path, start: Start, module: str) -> None:
    handler(tmp_path, module, 'b"one"')
    program = start(tmp_path, "greeter:handle", module=module).ready()
    assert program.ask() == b"one"
    handler(tmp_path, module, 'b"and two"')
    assert "serves" in program.reload()
    assert program.ask() == b"and two"


def test_link_on_the_path(tmp_path: Path, start: Start) -> None:
    """PYTHONPATH names the link, and the server was started elsewhere."""
    for number in (1, 2):
        handler(tmp_path / "releases" / str(number), "backchannel_sync", f'b"release {number}"')
    switch(tmp_path, 1)
    program = start(tmp_path, "greeter:handle", environment={"PYTHONPATH": str(tmp_path / "current")}).ready()
    switch(tmp_path, 2)
    assert "serves" in program.reload()
    assert program.ask() == b"release 2"


def test_old_worker_finds_its_own_release(tmp_path: Path, start: Start) -> None:
    """What it imports late comes from the release that it is of, and not from where the link leads by then."""
    for number in (1, 2):
        folder = tmp_path / "releases" / str(number)
        folder.mkdir(parents=True)
        (folder / "late.py").write_text(f'TEXT = b"release {number}"\n')
        (folder / "greeter.py").write_text(
            "def handle(connection):\n    connection.recv(100)\n    import late\n    connection.sendall(late.TEXT)\n"
        )
    switch(tmp_path, 1)
    program = start(tmp_path, "--workers", "1", "greeter:handle", **in_current(tmp_path)).ready()
    switch(tmp_path, 2)
    assert "serves" in program.reload()  # this worker is of release 2, and has not imported it yet
    switch(tmp_path, 1)
    assert program.ask() == b"release 2"


@pytest.mark.parametrize("how", ["preload", "function"])
def test_code_that_the_parent_has_loaded(tmp_path: Path, start: Start, how: str) -> None:
    """SIGHUP cannot bring it, and the log says so; SIGUSR2 can."""
    for number in (1, 2):
        handler(tmp_path / "releases" / str(number), "backchannel_sync", f'b"release {number}"')
    switch(tmp_path, 1)
    if how == "preload":
        program = start(tmp_path, "--preload", "greeter:handle", **in_current(tmp_path)).ready()
    else:
        (tmp_path / "mine.py").write_text(
            "import greeter, sys\nfrom backchannel_sync.cli import main\n\nraise SystemExit(main())\n"
        )
        path = {"PYTHONPATH": str(tmp_path)}
        program = start(tmp_path, "greeter:handle", module="mine", environment=path, **in_current(tmp_path)).ready()
    switch(tmp_path, 2)
    assert "serves" in program.reload()
    assert program.ask() == b"release 1"
    assert "the parent itself has loaded greeter: new workers run that code again; SIGUSR2 replaces it" in program.log
    program.replace()
    assert program.ask() == b"release 2"


def test_name_that_leads_nowhere(tmp_path: Path, start: Start) -> None:
    """A reload then fails, says why, and the old workers go on."""
    handler(tmp_path / "app", "backchannel_sync", 'b"old"')
    program = start(tmp_path, "greeter:handle", cwd=tmp_path / "app").ready()
    shutil.rmtree(tmp_path / "app")
    assert "cannot start" in program.reload()
    assert program.ask() == b"old"
    assert f"cannot enter {tmp_path}/app again (No such file or directory)" in program.log
    assert "there is no module 'greeter'" in program.log


def test_which_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "release").mkdir()
    (tmp_path / "link").symlink_to("release")
    link, real = str(tmp_path / "link"), os.path.realpath(tmp_path / "release")
    monkeypatch.chdir(link)
    assert Place.find(None, {"PWD": link}).name == link
    for wrong in ("", "link", ".", str(tmp_path), str(tmp_path / "gone")):
        assert Place.find(None, {"PWD": wrong}).name == real
    place = Place.find(None, {"PWD": link})
    assert place.renewed(f"{real}/.venv/bin/python") == f"{link}/.venv/bin/python"
    assert place.renewed("/usr/bin/python") == "/usr/bin/python"
    assert place.renewed(f"{real}-other/python") == f"{real}-other/python"


def test_directory_that_cannot_be_entered(tmp_path: Path) -> None:
    with pytest.raises(StartError, match="give the whole path"):
        Place.find("current")
    with pytest.raises(StartError, match=r"--chdir /.*/none: No such file"):
        Place.find(str(tmp_path / "none"))


def test_relative_directory_on_the_path(tmp_path: Path, start: Start, way: tuple[str, tuple[str, ...]]) -> None:
    """What PYTHONPATH names within the release comes from the new one, too."""
    module, arguments = way
    for release in (tmp_path / "releases").iterdir():
        (release / "lib").mkdir()
        (release / "greeter.py").rename(release / "lib" / "greeter.py")
    more = {**in_current(tmp_path), "environment": {"PYTHONPATH": "lib"}}
    program = start(tmp_path, *arguments, module=module, **more).ready()
    assert program.ask() == b"release 1"
    switch(tmp_path, 2)
    assert "serves" in program.reload()
    assert program.ask() == b"release 2"


def test_what_the_new_release_has_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A virtual environment of the old one alone is still searched; a directory of a similar name is left alone."""
    for name in ("1/lib", "1/venv", "2/lib", "10"):
        (tmp_path / name).mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    before = [str(tmp_path / name) for name in ("1", "1/lib", "1/venv", "10")]
    monkeypatch.setattr(sys, "path", before)
    Place(str(tmp_path / "2"), str(tmp_path / "1")).load_from_here()
    assert sys.path == [str(tmp_path / name) for name in ("2", "2/lib", "1/venv", "10")]


@pytest.mark.parametrize("module", MODULES)
def test_reload_without_a_directory(tmp_path: Path, start: Start, module: str) -> None:
    """The directory has gone before the server starts: there is nothing to enter again, and nothing else is wrong."""
    handler(tmp_path / "code", module, 'b"served"')
    gone = tmp_path / "gone"
    gone.mkdir()
    prefix = ("sh", "-c", f'rmdir {gone} && exec "$@"', "sh")
    environment = {"PYTHONPATH": str(tmp_path / "code"), "PWD": None}
    program = start(tmp_path, "greeter:handle", module=module, cwd=gone, prefix=prefix, environment=environment).ready()
    assert "generation 2 serves" in program.reload()
    program.replace()
    assert program.ask() == b"served"
