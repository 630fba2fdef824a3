"""What a worker loads: nothing of a parent, nothing of another loop's reference, and no module that it does without.

A fork binding's workers are copies of their parent; all others are programs, and there may be many of them.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LOOP = ROOT / "examples" / "loop"
PATH = os.pathsep.join([*(str(ROOT / "reference" / name) for name in ("core", "server", "sync", "trio")), str(LOOP)])


def all_loaded(code: str) -> set[str]:
    """The modules that a program has loaded when it has run ``code``."""
    done = subprocess.run(
        [sys.executable, "-c", f"import sys\n{code}\nprint(*sys.modules)"],
        env={**os.environ, "PYTHONPATH": PATH},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return set(done.stdout.split())


def loaded(code: str) -> set[str]:
    """The project's own among them."""
    return {name for name in all_loaded(code) if name.startswith("backchannel")}


def parents(modules: set[str]) -> set[str]:
    """Those of a parent."""
    theirs = ("parent", "driver", "slots", "serving", "actions", "settings", "sizing")
    return {name for name in modules if name.rpartition(".")[2] in theirs}


@pytest.mark.parametrize(
    ("code", "other"),
    [
        ("import backchannel_sync.worker\nfrom backchannel_sync import current_worker", "backchannel_trio"),
        ("import backchannel_trio.worker\nfrom backchannel_trio import current_worker", "backchannel_sync"),
        ("import asyncio_worker", "backchannel_sync"),
    ],
    ids=["sync", "trio", "asyncio"],
)
def test_a_worker_loads_no_parent(code: str, other: str) -> None:
    modules = loaded(code)
    assert "backchannel_server.accepting" in modules
    assert not parents(modules), (
        "a worker loads what belongs to a parent: python -X importtime shows which module imports it"
    )
    assert not {name for name in modules if name.startswith(other)}, "a worker loads another loop's package"


def test_a_worker_starts_without_what_takes_time() -> None:
    """A class that is made by :mod:`dataclasses` takes a millisecond of each start, and itself as long as ten."""
    without = {"dataclasses", "shutil", "tempfile", "subprocess", "multiprocessing", "asyncio", "trio"}
    assert not without & all_loaded("import backchannel_sync.worker")


def test_a_parent_of_forked_workers_starts_without_what_takes_time() -> None:
    without = {"shutil", "tempfile", "subprocess", "multiprocessing", "asyncio", "trio"}
    assert not without & all_loaded("import backchannel_sync.cli")


@pytest.mark.parametrize("package", ["backchannel_sync", "backchannel_trio"])
def test_whoever_serves_loads_one(package: str) -> None:
    assert parents(loaded(f"from {package} import serve")) == {
        "backchannel.actions",
        "backchannel.parent",
        "backchannel.settings",
        "backchannel.sizing",
        "backchannel.slots",
        "backchannel_server.driver",
        f"{package}.parent",
        f"{package}.serving",
    }


@pytest.mark.parametrize("package", ["backchannel", "backchannel_sync", "backchannel_trio"])
def test_what_is_loaded_late_is_all_there(package: str) -> None:
    loaded(f"import {package} as p\nfor name in p.__all__: assert hasattr(p, name)")
    with pytest.raises(subprocess.CalledProcessError) as caught:
        loaded(f"from {package} import nothing_of_that_name")
    assert f"cannot import name 'nothing_of_that_name' from '{package}'" in caught.value.stderr
