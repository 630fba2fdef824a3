"""The requirements of the specification, as its ledger lists them (``spec/1.0/requirements.json``)."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from functools import cache
from pathlib import Path

__all__ = ["Requirement", "Requirements", "folder"]


def folder() -> Path:
    """Where the specification is: what BACKCHANNEL_SPEC names, the copy inside an installed suite, or the checkout."""
    here = Path(__file__).parent
    given = os.environ.get("BACKCHANNEL_SPEC")
    candidates = [Path(given)] if given else [here / "spec" / "1.0", here.parents[1] / "spec" / "1.0"]
    return next((path for path in candidates if path.is_dir()), candidates[-1])


@dataclass(frozen=True)
class Requirement:
    """One normative sentence."""

    id: str
    level: str
    roles: tuple[str, ...]
    class_: str
    page: str
    text: str
    withdrawn: str = ""

    @property
    def binds(self) -> bool:
        """A MUST or MUST NOT that has not been withdrawn: it needs a case."""
        return self.level.startswith("MUST") and not self.withdrawn


class Requirements(dict[str, Requirement]):
    """Requirements by id."""

    @classmethod
    @cache
    def load(cls) -> Requirements:
        """Those of the specification at hand; none if it is not at hand."""
        ledger = folder() / "requirements.json"
        if not ledger.exists():
            return cls()
        return cls(
            {
                entry["id"]: Requirement(
                    entry["id"],
                    entry["level"],
                    tuple(entry["role"]),
                    entry["class"],
                    entry["page"],
                    entry["text"],
                    entry.get("withdrawn", ""),
                )
                for entry in json.loads(ledger.read_text())["requirements"]
            }
        )

    def text(self, name: str) -> str:
        """The sentence."""
        return self[name].text if name in self else "(not found: the specification is not at hand)"

    def is_advice(self, name: str) -> bool:
        """Whether it is a SHOULD: to violate it is worth a warning, and not a failure."""
        return name in self and self[name].level.startswith("SHOULD")
