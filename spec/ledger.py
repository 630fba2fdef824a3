"""Writes ``spec/1.0/requirements.json`` from the prose: every requirement with its id, level, role, class and sentence.

    python spec/ledger.py            # write it
    python spec/ledger.py --check    # say what would change, and fail if anything would

The prose is the source; this file is for programs. An id is for ever: one that has been in the ledger cannot leave
the prose. It is withdrawn instead, by ``:withdrawn:`` with the reason, and stays listed.

The standard library is all it needs. Sphinx reads the same blocks by its own directive (``docs/_ext/requirements.py``)
and fails if it does not find what stands in the ledger.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

SPEC = Path(__file__).parent / "1.0"
LEVELS = ("MUST", "MUST NOT", "SHOULD", "SHOULD NOT", "MAY")
ROLES = ("parent", "worker", "pool")

_BLOCK = re.compile(r"^\.\. req:: (?P<id>\S+)\n(?P<body>(?:[ ]{3}.*\n|\n)+)", re.MULTILINE)
_OPTION = re.compile(r"^:(?P<name>[a-z]+): +(?P<value>.*)$")
_ID = re.compile(r"^BC-[A-Z]+-[0-9]{2}$")
_MARKUP = (
    (re.compile(r":[a-z]+:`([^`<]*?) *<[^`>]*>`"), r"\1"),
    (re.compile(r":[a-z]+:`([^`]*)`"), r"\1"),
    (re.compile(r"``([^`]*)``"), r"\1"),
    (re.compile(r"\*([^*\s][^*]*)\*"), r"\1"),
)


class Fault(Exception):
    """The prose is wrong; the message says where and how."""


def parse(page: str, source: str) -> list[dict[str, Any]]:
    """The requirements of one page, in the order in which they stand."""
    found = []
    marks = len(re.findall(r"^\s*\.\. req::", source, re.MULTILINE))
    for block in _BLOCK.finditer(source + "\n"):
        lines = [line.strip() for line in block["body"].splitlines()]
        options = {match["name"]: match["value"] for line in lines if (match := _OPTION.match(line))}
        text = " ".join(line for line in lines if line and not _OPTION.match(line))
        for pattern, plain in _MARKUP:
            text = pattern.sub(plain, text)
        found.append(_requirement(page, block["id"], options, text))
    if len(found) != marks:
        raise Fault(f"{page}: {marks} requirement blocks begin, {len(found)} can be read: indent them by three spaces")
    return found


def _requirement(page: str, name: str, options: dict[str, str], text: str) -> dict[str, Any]:
    def need(holds: object, fault: str) -> None:
        if not holds:
            raise Fault(f"{page}: {name}: {fault}")

    need(_ID.match(name), "an id is BC-WORD-NN")
    need(text, "there is no sentence")
    unknown = options.keys() - {"level", "role", "class", "since", "withdrawn"}
    need(not unknown, f"unknown options {sorted(unknown)}")
    need(options.get("level") in LEVELS, f"the level is one of {', '.join(LEVELS)}")
    roles = options.get("role", "").split()
    need(roles and set(roles) <= set(ROLES), f"the roles are from {', '.join(ROLES)}")
    need(options.get("class"), "the class is missing")
    need(re.search(rf"\b{options['level']}\b(?! NOT)", text), f"the sentence does not say {options['level']}")
    entry: dict[str, Any] = {
        "id": name,
        "level": options["level"],
        "role": roles,
        "class": options["class"],
        "since": options.get("since", "1.0"),
        "page": page,
        "text": text,
    }
    if "withdrawn" in options:
        entry["withdrawn"] = options["withdrawn"]
    return entry


def extract(folder: Path = SPEC) -> list[dict[str, Any]]:
    """All requirements, by page and place. Raises :class:`Fault`."""
    found = [item for page in sorted(folder.glob("*.rst")) for item in parse(page.stem, page.read_text())]
    pages: dict[str, str] = {}
    for item in found:
        if item["id"] in pages:
            raise Fault(f"{item['page']}: {item['id']} stands in {pages[item['id']]} already")
        pages[item["id"]] = item["page"]
    return found


def lost(before: list[dict[str, Any]], after: list[dict[str, Any]]) -> list[str]:
    """Ids that the ledger has and the prose no longer has."""
    return sorted({item["id"] for item in before} - {item["id"] for item in after})


def document(found: list[dict[str, Any]]) -> str:
    """The ledger as it is written."""
    return json.dumps({"spec": "1.0", "requirements": found}, indent=1, ensure_ascii=False) + "\n"


def main(arguments: list[str]) -> int:
    """Write the ledger, or check it; return the exit status."""
    target = SPEC / "requirements.json"
    before = target.read_text() if target.exists() else document([])
    try:
        found = extract()
        if gone := lost(json.loads(before)["requirements"], found):
            raise Fault(f"{', '.join(gone)} left the prose: put them back and mark them :withdrawn: with the reason")
    except Fault as fault:
        print(f"ledger: {fault}", file=sys.stderr)
        return 1
    after = document(found)
    if "--check" not in arguments:
        target.write_text(after)
    elif after != before:
        print("ledger: spec/1.0/requirements.json is old: run python spec/ledger.py", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
