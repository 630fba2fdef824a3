"""Sphinx configuration. The source directory is the repository: the site is docs/ and spec/."""

import sys
import tomllib
from pathlib import Path

from sphinx.application import Sphinx

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE / "_ext"))

PROJECT = tomllib.loads((HERE.parent / "pyproject.toml").read_text("utf-8"))["project"]

project = PROJECT["name"]
author = "the backchannel authors"
copyright = "2026 the backchannel authors"
version = release = PROJECT["version"]

extensions = ["requirements"]
root_doc = "docs/index"
include_patterns = ["docs/**", "spec/**"]
exclude_patterns = ["build", ".nox", ".venv", "docs/_*/**"]

html_theme = "furo"
html_title = "backchannel"
html_static_path = ["_static"]
html_css_files = ["requirements.css"]
html_copy_source = False
html_show_sphinx = False

FRONT = """<!doctype html>
<meta charset="utf-8">
<title>backchannel</title>
<meta http-equiv="refresh" content="0; url=docs/index.html">
<p><a href="docs/index.html">backchannel</a></p>
"""


def write_front(app: Sphinx, exception: Exception | None) -> None:
    if exception is None and app.builder.name == "html":
        (Path(app.outdir) / "index.html").write_text(FRONT, "utf-8")


def setup(app: Sphinx) -> None:
    app.connect("build-finished", write_front)
