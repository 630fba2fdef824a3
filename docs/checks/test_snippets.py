"""Every command and every snippet of the documentation does what it says.

Reads what ``sphinx-build`` has left in ``build/docs``: run it through ``nox -s docs``, which builds first.
"""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from snippets import DATA, RUN, Block, Sitting, of_doctree, of_markdown

ROOT = Path(__file__).parents[2]
DOCTREES = ROOT / "build/docs/.doctrees/docs"
PAGES = sorted(path for path in DOCTREES.rglob("*.doctree"))


@pytest.fixture
def desk() -> Iterator[Path]:
    """A directory that everybody can read, ``nobody`` included."""
    with tempfile.TemporaryDirectory(prefix="docs-") as name:
        path = Path(name)
        path.chmod(0o755)
        yield path


def test_the_documentation_is_built() -> None:
    assert PAGES, f"no pages in {DOCTREES}: run nox -s docs"


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(DOCTREES).with_suffix("")))
def test_page(page: Path, desk: Path, record_property: pytest.RecordProperty) -> None:
    blocks = of_doctree(page)
    assert not (unknown := {block.language for block in blocks} - RUN - DATA), f"nobody checks {unknown}"
    _follow(blocks, desk, record_property)


@pytest.mark.timeout(300)
def test_readme(desk: Path, record_property: pytest.RecordProperty) -> None:
    """From a clone as it is committed, into an environment of its own."""
    directory = desk / "backchannel"
    subprocess.run(["git", "clone", "-q", "--no-hardlinks", ROOT, directory], check=True)
    _follow(of_markdown(ROOT / "README.md"), directory, record_property)


def _follow(blocks: list[Block], directory: Path, record_property: pytest.RecordProperty) -> None:
    with Sitting(directory) as sitting:
        for block in blocks:
            sitting.do(block)
    for text in sitting.left_out:
        record_property("left out", text)
        print("left out:", text)


UNKIND = """
import signal, sys
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
print('I am ready on x', file=sys.stderr, flush=True)
signal.sigwait([signal.SIGTERM])
sys.exit(3)
"""
"""A server that does not stop well."""


def test_a_wrong_snippet_fails(tmp_path: Path) -> None:
    """The runner itself: each kind of block can fail."""
    wrong = {
        "console": "$ echo one\ntwo\n",
        "sh": "false\n",
        "python": "raise SystemExit(1)\n",
        "rust": "fn main() {}\n",
    }
    for language, text in wrong.items():
        with pytest.raises(AssertionError), Sitting(tmp_path) as sitting:
            sitting.do(Block(language, text, 1))
    with pytest.raises(AssertionError, match="did not get ready"), Sitting(tmp_path) as sitting:
        sitting.do(Block("sh", "false\n", 1, frozenset({"serve"})))

    with pytest.raises(AssertionError, match="ended with status 3"), Sitting(tmp_path) as sitting:
        sitting.do(Block("sh", f'python -c "{UNKIND}"\n', 1, frozenset({"serve"})))
    with Sitting(tmp_path) as sitting:
        sitting.do(Block("console", "$ printf 'a\\n1\\nz\\n'\na\n...\nz\n", 1))
        sitting.do(Block("sh", "false\n", 7, frozenset({"needs-no-such-program"})))
        assert sitting.left_out == ["line 7: no no-such-program"]
