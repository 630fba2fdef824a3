"""Sphinx: docs/ explains, spec/ says what must be true; both are one site."""

import re
import sys
from pathlib import Path

HERE = Path(__file__).parent
# the extensions, and the suite: they read the ledger and the cases as it does
sys.path[:0] = [str(HERE / "_ext"), str(HERE.parent / "conformance")]

project = "backchannel"
author = "the backchannel authors"
copyright = "2026, the backchannel authors"

extensions = ["requirements", "tables", "matrix", "power", "charts", "sphinx.ext.autodoc"]
root_doc = "docs/index"
include_patterns = ["docs/**", "spec/**"]
exclude_patterns = ["build", ".nox", ".venv"]

autodoc_member_order = "bysource"
autodoc_default_options = {"show-inheritance": False}
autodoc_class_signature = "mixed"
autodoc_typehints_format = "short"
# the standard library's and trio's inventories are on the network, and this is built without one
nitpick_ignore_regex = [("py:.*", r"(?!backchannel).*")]


def link_requirements(_app, _what, _name, _object, _options, lines):
    """In docstrings, the id of a requirement is a link to it; code blocks stay as they are."""
    for number, line in enumerate(lines):
        if not line.startswith("    "):
            lines[number] = re.sub(r"(?<![`\w-])(BC-[A-Z]+-\d\d)(?![`\w])", r":req:`\1`", line)


def setup(app):
    app.connect("autodoc-process-docstring", link_requirements)


html_theme = "furo"
html_title = "backchannel"
html_static_path = ["_static"]
html_css_files = ["requirements.css", "site.css"]
