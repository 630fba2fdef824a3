"""A codec under test that has one fault (BC-VER-02), and its manifest."""

from __future__ import annotations

from pathlib import Path

__all__ = ["CODEC", "install"]

ROOT = Path(__file__).parents[2]
MANIFEST = f"""
contract = "1.0"
spec = "1.0"

[implementation]
name = "mine"
language = "Python"

[codec]
command = ["{{python}}", "{{here}}/codec.py"]
environment = {{ PYTHONPATH = "{ROOT}/reference/core:{ROOT}/conformance/adapters" }}
"""
CODEC = """
import json, sys
from sync_codec import answer

for line in sys.stdin:
    said = answer(json.loads(line))
    if said.get("reject") == "BC-VER-02":
        said = {"message": {"type": "IDLE", "open": 0, "capacity": 1}}
    print(json.dumps(said), flush=True)
"""


def install(folder: Path, codec: str = CODEC) -> Path:
    """Write ``codec`` and its manifest into ``folder``; where the manifest is."""
    (folder / "codec.py").write_text(codec)
    (folder / "mine.toml").write_text(MANIFEST)
    return folder / "mine.toml"
