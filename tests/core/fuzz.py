"""Give the hostile targets many inputs: ``python tests/core/fuzz.py [--inputs N]`` (``nox -s fuzz``).

A tenth of them from Hypothesis, which shrinks what it finds; the rest, where atheris is installed, from a fuzzer that
looks at coverage (one process for each target: libFuzzer never returns), and otherwise from a seeded generator.
Exit status 1: something was found, and the input that shows it was printed.
"""

from __future__ import annotations

import argparse
import importlib.util
import random
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import hostile

TARGETS = {"parent": hostile.parent, "worker": hostile.worker}


def by_hypothesis(name: str, count: int) -> None:
    """Raises what the target raises, for the smallest input that Hypothesis can find."""
    from hypothesis import HealthCheck, Phase, given, settings
    from hypothesis import strategies as st

    @settings(
        max_examples=count,
        deadline=None,
        database=None,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
    )
    @given(st.binary(max_size=400))
    def run(octets: bytes) -> None:
        TARGETS[name](octets)

    run()


def by_chance(name: str, count: int) -> None:
    """Random octets and mutations of them, always the same."""
    chance = random.Random(f"{name} {count}")
    octets = b""
    for at in range(count):
        if at % 4 == 0 or not octets:
            octets = chance.randbytes(chance.randrange(1, 400))
        else:
            changed = bytearray(octets)
            for _ in range(chance.randrange(1, 4)):
                changed[chance.randrange(len(changed))] = chance.randrange(256)
            octets = bytes(changed)
        try:
            TARGETS[name](octets)
        except BaseException:
            print(f"{name}: {octets.hex()}")
            raise


def by_coverage(name: str, count: int) -> None:
    """Never returns: libFuzzer exits with 0, or with 77 after printing what it found."""
    import atheris

    with atheris.instrument_imports(include=["backchannel"]):
        for module in [module for module in sys.modules if module.partition(".")[0] in ("backchannel", "hostile")]:
            del sys.modules[module]
        import hostile as traced
    target = {"parent": traced.parent, "worker": traced.worker}[name]
    atheris.Setup([sys.argv[0], f"-runs={count}", "-max_len=400", "-seed=1", "-verbosity=0"], target)
    atheris.Fuzz()


def main() -> int:
    """Both targets, each way."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inputs", type=int, default=1_000_000, help="in all (default 1,000,000)")
    parser.add_argument("--coverage", choices=TARGETS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.inputs < 20:
        parser.error(f"--inputs {options.inputs}: give a number from 20 up")
    if options.coverage:
        by_coverage(options.coverage, options.inputs)
    traced = importlib.util.find_spec("atheris") is not None
    if not traced:
        print("atheris is not installed: a seeded generator takes the place of the fuzzer that looks at coverage")
    status = 0
    for name in TARGETS:
        for how in ("hypothesis", "atheris" if traced else "chance"):
            share = options.inputs // 20 if how == "hypothesis" else options.inputs * 9 // 20
            began = time.monotonic()
            if how == "hypothesis":
                by_hypothesis(name, share)
            elif how == "chance":
                by_chance(name, share)
            else:
                command = [sys.executable, __file__, "--coverage", name, "--inputs", str(share)]
                found = subprocess.run(command, check=False, stderr=subprocess.PIPE, text=True)
                if found.returncode:
                    print(found.stderr)
                    status = 1
            print(f"{name}, {how}: {share} inputs, {time.monotonic() - began:.0f} s", flush=True)
    print("found something" if status else "nothing found")
    return status


if __name__ == "__main__":
    raise SystemExit(main())
