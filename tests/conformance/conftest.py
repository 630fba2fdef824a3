"""What several modules need."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from backchannel_conformance.waiting import scale

PORT = Path(__file__).parents[2] / "examples" / "c"
SANITIZED = "-O1 -g -Wall -Wextra -Werror -fsanitize=address,undefined -fno-sanitize-recover=all"


@pytest.fixture(autouse=True)
def own_scale() -> Iterator[None]:
    """What one test makes of the limits of time (``--time-scale``) is nothing to the next one."""
    before = scale()
    yield
    scale(before)


@pytest.fixture(scope="session")
def port(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of the port in C, with sanitizers where the compiler has them."""
    if not all(map(shutil.which, ("cc", "make"))):
        pytest.skip("no compiler")
    folder = tmp_path_factory.mktemp("c")
    for source in (*PORT.glob("*.[ch]"), PORT / "Makefile"):
        shutil.copy(source, folder)
    probe = folder / "probe.c"
    probe.write_text("int main(void) { return 0; }\n")
    works = subprocess.run(["cc", *SANITIZED.split(), "-o", folder / "probe", probe], capture_output=True, check=False)
    runs = not works.returncode and not subprocess.run([folder / "probe"], capture_output=True, check=False).returncode
    flags = [f"CFLAGS={SANITIZED}"] if runs else []
    subprocess.run(["make", "-s", "-C", folder, *flags], check=True)
    return folder / "build"


APPLY_EACH = """
import importlib, json, os, sys, traceback
package, *folders = sys.argv[1:]
sys.path[:0] = folders
said = {}
for change in importlib.import_module(package).every():
    reader, writer = os.pipe()
    if not os.fork():
        try:
            change.apply()
        except BaseException:
            os.write(writer, traceback.format_exc().encode())
        os._exit(0)
    os.close(writer)
    with open(reader, "rb") as answer:
        said[change.name] = answer.read().decode()
    os.wait()
print(json.dumps(said))
"""
"""Each in a process of its own, because one changes what the next would find."""


@pytest.fixture
def apply_each() -> Callable[..., dict[str, str]]:
    """Applies each change of a package in ``folders``: by its name, what went wrong."""

    def apply(package: str, *folders: Path) -> dict[str, str]:
        command = [sys.executable, "-c", APPLY_EACH, package, *folders]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        said: dict[str, str] = json.loads(done.stdout)
        return said

    return apply
