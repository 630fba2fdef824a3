"""Run a program of the references with one thing done in another way that the specification allows.

    python vary.py VARIANT -m backchannel_sync ARGUMENTS...

A variant is a function of :mod:`allowed`, by its name there. It changes what it has imported, in this process and in
those that are forked from it; no file is touched. The way in is that of the mutants.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(1, str(Path(__file__).parents[1] / "mutants"))

from allowed import find
from mutate import main

if __name__ == "__main__":
    main(lambda name: find(name).apply())
