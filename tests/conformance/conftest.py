"""What several modules need."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

PORT = Path(__file__).parents[2] / "examples" / "c"
SANITIZED = "-O1 -g -Wall -Wextra -Werror -fsanitize=address,undefined -fno-sanitize-recover=all"


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
