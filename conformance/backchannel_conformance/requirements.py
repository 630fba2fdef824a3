"""The ids and the sentences of the specification, read from its source."""

from __future__ import annotations

import os
import re
from functools import cache
from pathlib import Path

__all__ = ["Requirements"]

_BLOCK = re.compile(r"^\.\. req:: (?P<id>\S+)\n(?P<body>(?:[ ]{3}.*\n|\n)+)", re.MULTILINE)
_OPTION = re.compile(r":(level|role|class|since):")


class Requirements:
    """Ids and their text."""

    def __init__(self, found: dict[str, tuple[str, str]]) -> None:
        self._found = found

    @classmethod
    @cache
    def load(cls) -> Requirements:
        """Those of the specification in this checkout, or in the directory that BACKCHANNEL_SPEC names."""
        default = Path(__file__).parents[2] / "spec" / "1.0"
        folder = Path(os.environ.get("BACKCHANNEL_SPEC", default))
        pages = sorted(folder.glob("*.rst"))
        return cls({name: (level, text) for page in pages for name, level, text in parse(page.read_text())})

    def __contains__(self, name: str) -> bool:
        return name in self._found

    def __len__(self) -> int:
        return len(self._found)

    def text(self, name: str) -> str:
        """The sentence, on one line."""
        return self._found.get(name, ("", "(not found: the specification's source is not at hand)"))[1]

    def is_advice(self, name: str) -> bool:
        """Whether it is a SHOULD: not to follow it is worth a warning, and no failure."""
        return self._found.get(name, ("", ""))[0].startswith("SHOULD")


def parse(page: str) -> list[tuple[str, str, str]]:
    """The requirements of one page: (id, level, sentence)."""
    found = []
    for block in _BLOCK.finditer(page + "\n"):
        lines = [line.strip() for line in block["body"].splitlines()]
        text = " ".join(line for line in lines if line and not _OPTION.match(line))
        level = next((line.removeprefix(":level:").strip() for line in lines if line.startswith(":level:")), "")
        found.append((block["id"], level, text.replace("``", "").replace("*", "")))
    return found
