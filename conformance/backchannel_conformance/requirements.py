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

    def __init__(self, texts: dict[str, str]) -> None:
        self._texts = texts

    @classmethod
    @cache
    def load(cls) -> Requirements:
        """Those of the specification in this checkout, or in the directory that BACKCHANNEL_SPEC names."""
        default = Path(__file__).parents[2] / "spec" / "1.0"
        folder = Path(os.environ.get("BACKCHANNEL_SPEC", default))
        return cls({name: text for page in sorted(folder.glob("*.rst")) for name, text in parse(page.read_text())})

    def __contains__(self, name: str) -> bool:
        return name in self._texts

    def __len__(self) -> int:
        return len(self._texts)

    def text(self, name: str) -> str:
        """The sentence, on one line."""
        return self._texts.get(name, "(not found: the specification's source is not at hand)")


def parse(page: str) -> list[tuple[str, str]]:
    """The requirements of one page: (id, sentence)."""
    found = []
    for block in _BLOCK.finditer(page + "\n"):
        lines = [line.strip() for line in block["body"].splitlines()]
        text = " ".join(line for line in lines if line and not _OPTION.match(line))
        found.append((block["id"], text.replace("``", "").replace("*", "")))
    return found
