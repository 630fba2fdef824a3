"""Sphinx: docs/ explains, spec/ says what must be true; both are one site."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

project = "backchannel"
author = "the backchannel authors"
copyright = "2026, the backchannel authors"

extensions = ["requirements", "tables", "matrix"]
root_doc = "docs/index"
include_patterns = ["docs/**", "spec/**"]
exclude_patterns = ["build", ".nox", ".venv"]

html_theme = "furo"
html_title = "backchannel"
html_static_path = ["_static"]
html_css_files = ["requirements.css"]
