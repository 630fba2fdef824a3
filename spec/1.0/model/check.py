"""Checks the models with spin: what must hold holds, and what leaves a rule out fails, and shows how.

    python spec/1.0/model/check.py            # 2 workers; a few minutes
    python spec/1.0/model/check.py --full     # larger; as long as it takes
    python spec/1.0/model/check.py -k baton   # those whose name, rule or model contains the word

Needs ``spin`` and a C compiler. Exit status: 0, or 1 if something did not come out as it must, or 2 without spin.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
MEMORY = 4096
"""Megabytes that one search may take."""
_ERRORS = re.compile(r"errors: (\d+)")
_STATES = re.compile(r"^\s*([0-9.e+]+) states, stored", re.MULTILINE)
_MEMORY = re.compile(r"^\s*([0-9.]+)\s+total actual memory usage", re.MULTILINE)
_CAUSE = re.compile(r"pan:\d+: (.*) \(at depth (\d+)\)")


class Trouble(Exception):
    """spin, the compiler or the model itself failed."""


def command(*words: object, cwd: Path, nice: bool = False) -> str:
    """Run a program; return what it said. Raises :class:`Trouble` if it failed."""
    arguments = [str(word) for word in words]
    done = subprocess.run(
        ["nice", *arguments] if nice else arguments, cwd=cwd, capture_output=True, text=True, check=False
    )
    if done.returncode or "syntax error" in done.stdout:
        raise Trouble(
            f"{' '.join(arguments)}: exit status {done.returncode}\n{done.stdout[-2000:]}{done.stderr[-2000:]}"
        )
    return done.stdout


def defines(entry: dict[str, Any], full: bool) -> list[str]:
    """The size and the rules left out, as arguments for the preprocessor."""
    chosen = entry.get("full", entry["define"]) if full else entry["define"]
    return [f"-D{name}={value}" for name, value in chosen.items()]


class Search:
    """One model, one property: searched, with what came of it."""

    def __init__(self, entry: dict[str, Any], full: bool, folder: Path) -> None:
        self.model = HERE / f"{entry['model']}.pml"
        self.defines = defines(entry, full)
        self.folder = folder
        claim = entry.get("property")
        began = time.monotonic()
        command("spin", "-a", *self.defines, self.model, cwd=folder)
        kind = ["-DNFAIR=3"] if claim else ["-DSAFETY", "-DNOCLAIM"]
        compiler = os.environ.get("CC", "cc")
        limits = ["-DVECTORSZ=2048", "-DCOLLAPSE", f"-DMEMLIM={MEMORY * (4 if full else 1)}"]
        command(compiler, "-O2", "-w", *limits, *kind, "-o", "pan", "pan.c", cwd=folder)
        run = ["-a", "-f", "-N", claim] if claim else []
        said = command("./pan", "-n", "-m2000000", *run, cwd=folder, nice=True)
        self.seconds = time.monotonic() - began
        errors, states = _ERRORS.search(said), _STATES.search(said)
        if errors is None or states is None or "max search depth too small" in said or "out of memory" in said:
            raise Trouble(f"the search did not come to an end:\n{said[-2000:]}")
        self.errors = int(errors[1])
        self.states = int(float(states[1]))
        memory = _MEMORY.search(said)
        self.megabytes = round(float(memory[1])) if memory else 0
        cause = _CAUSE.search(said)
        self.cause = cause[1] if cause else ""

    def counter_example(self) -> list[str]:
        """What happens on the way to the error, a line for each step that says something."""
        trail = next(self.folder.glob("*.trail"))
        told = command("spin", "-k", trail.name, "-T", *self.defines, self.model, cwd=self.folder)
        lines = [line.strip() for line in told.splitlines()]
        wanted = re.compile(r"(client|parent|worker|deadline|fault|old parent|new parent)\b.*: |<<<<<START OF CYCLE")
        return ["... and from here on for ever:" if "CYCLE" in line else line for line in lines if wanted.match(line)]


def verify(entry: dict[str, Any], full: bool, folder: Path) -> bool:
    """Something that must hold."""
    found = Search(entry, full, folder)
    size = " ".join(define.removeprefix("-D") for define in found.defines)
    figures = f"{found.states:,} states, {found.seconds:.1f} s, {found.megabytes:,} MB"
    print(
        f"{'holds' if not found.errors else 'FAILS'}  {entry['model']}: {entry['name']}  ({size}; {figures})",
        flush=True,
    )
    if found.errors:
        print(f"       {found.cause}", *found.counter_example(), sep="\n       ")
    return not found.errors


def leave_out(entry: dict[str, Any], full: bool, folder: Path) -> bool:
    """Something that must fail, and in the way it is known for."""
    found = Search(entry, False, folder)
    as_known = bool(found.errors) and entry["shows"].replace(" ", "") in found.cause.replace(" ", "")
    print(
        f"{'fails as it must' if as_known else 'DOES NOT FAIL AS IT MUST'}, left out: {entry['left_out']}"
        f" ({entry['requirement']}):"
        f" {found.cause or 'nothing was found'}",
        flush=True,
    )
    if found.errors:
        print(f"       {entry['happened']}:", *found.counter_example(), sep="\n         ")
    return as_known


def main(arguments: list[str]) -> int:
    """Check what was asked for; return the exit status."""
    parser = argparse.ArgumentParser(prog="check.py", description="Check the protocol's models with spin.")
    parser.add_argument("--full", action="store_true", help="the larger sizes, without a limit of time")
    parser.add_argument("-k", metavar="WORD", default="", help="only those that contain this word")
    options = parser.parse_args(arguments)
    for program, package in (("spin", "spin"), (os.environ.get("CC", "cc"), "gcc")):
        if shutil.which(program) is None:
            print(
                f"model: there is no {program!r} here: install it (Debian: apt-get install {package})", file=sys.stderr
            )
            return 2
    entries = tomllib.loads((HERE / "variants.toml").read_text())
    began = time.monotonic()
    good, wrong = 0, 0
    for kind, check in (("verify", verify), ("variant", leave_out)):
        for entry in entries[kind]:
            if options.k.lower() not in " ".join(map(str, entry.values())).lower():
                continue
            with tempfile.TemporaryDirectory() as folder:
                try:
                    holds = check(entry, options.full, Path(folder))
                except Trouble as trouble:
                    print(f"model: {entry['model']}: {trouble}", file=sys.stderr)
                    holds = False
            good, wrong = good + holds, wrong + (not holds)
    print(f"{good} as they must be, {wrong} not, in {time.monotonic() - began:.0f} s")
    return 0 if good and not wrong else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
