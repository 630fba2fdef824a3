"""Each example does what its own README says, from its own directory."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from snippets import RUN, Sitting, of_markdown

EXAMPLES = Path(__file__).parents[1]
READMES = sorted(EXAMPLES.glob("*/README.md"))


@pytest.mark.parametrize("readme", READMES, ids=lambda path: path.parent.name)
def test_readme(readme: Path, tmp_path: Path) -> None:
    shutil.copytree(EXAMPLES, tmp_path / "examples", ignore=shutil.ignore_patterns("__pycache__"))
    directory = tmp_path / "examples" / readme.parent.name
    blocks = of_markdown(readme)
    assert {block.language for block in blocks} & RUN, "a README that starts nothing"
    with Sitting(directory) as sitting:
        for config in (*directory.glob("*.cfg"), *directory.glob("*.conf")):
            config.write_text(sitting.with_free_ports(config.read_text()))
        for block in blocks:
            sitting.do(block)
    for text in sitting.left_out:
        print("left out:", text)
