"""``spec/1.0/`` is a release candidate: each change to it is deliberate, numbered, and said in a line.

    python spec/candidate.py "What has changed, in a sentence."   # the next rc
    python spec/candidate.py --check                              # has anything changed since the last one?

It writes the number and the checksum of every file into ``spec/candidate.json``, and the line into
``spec/1.0/changes.rst``. The ledger is brought up to date first.
"""

from __future__ import annotations

import hashlib
import json
import re
import sys
from pathlib import Path

import ledger

HERE = Path(__file__).parent
SPEC = HERE / "1.0"
SEAL = HERE / "candidate.json"
CHANGES = SPEC / "changes.rst"
MARK = ".. newest first\n"


def sums() -> dict[str, str]:
    """The checksum of each file, by its path in ``spec/1.0``."""
    files = [path for path in sorted(SPEC.rglob("*")) if path.is_file() and "__pycache__" not in path.parts]
    return {str(path.relative_to(SPEC)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def changed(sealed: dict[str, str], found: dict[str, str]) -> list[str]:
    """Files that are not as they were."""
    return sorted(name for name in sealed.keys() | found.keys() if sealed.get(name) != found.get(name))


def main(arguments: list[str]) -> int:
    """Seal the next candidate, or check the last one; return the exit status."""
    sealed = json.loads(SEAL.read_text()) if SEAL.exists() else {"candidate": "1.0rc0", "files": {}}
    if arguments == ["--check"]:
        if names := changed(sealed["files"], sums()):
            print(
                f"candidate: {', '.join(names)} changed since {sealed['candidate']}:"
                ' run python spec/candidate.py "What has changed."',
                file=sys.stderr,
            )
            return 1
        return 0
    if len(arguments) != 1 or not arguments[0].strip() or arguments[0].startswith("-"):
        print('candidate: say what has changed: python spec/candidate.py "What has changed."', file=sys.stderr)
        return 2
    if ledger.main([]):
        return 1
    if not changed(sealed["files"], sums()):
        print(f"candidate: nothing has changed since {sealed['candidate']}", file=sys.stderr)
        return 1
    name = f"1.0rc{int(sealed['candidate'].partition('rc')[2]) + 1}"
    CHANGES.write_text(CHANGES.read_text().replace(MARK, f"{MARK}\n{name}\n   {arguments[0].strip()}\n", 1))
    for path, pattern, new in (
        (SPEC / "index.rst", r"^:Status: .*$", f":Status: release candidate {name}"),
        (SPEC / "protocol.toml", r'^status = ".*"$', f'status = "{name}"'),
    ):
        path.write_text(re.sub(pattern, new, path.read_text(), count=1, flags=re.MULTILINE))
    SEAL.write_text(json.dumps({"candidate": name, "files": sums()}, indent=1) + "\n")
    print(f"candidate: {name}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
