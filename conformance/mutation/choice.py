"""Which mutants are judged, and by which cases first."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from sites import Site
from verdicts import KILLED, Verdict

__all__ = ["chosen", "order_for"]


def chosen(sites: Iterable[Site], number: int | None, seed: int) -> list[Site]:
    """So many, by the digest of their names: an edit of one source changes the sample there and nowhere else."""

    def place(site: Site) -> bytes:
        return hashlib.sha256(f"{seed} {site.id}".encode()).digest()

    return sorted(sites, key=place)[:number]


def order_for(site: Site, known: Mapping[str, Verdict]) -> dict[str, Any]:
    """The cases that are run first: the one that noticed this mutant the last time, then what has noticed most, above
    all in this function and in this module.
    """
    last = case_in(known[site.id]) if site.id in known else ""
    weights = Counter[str]()
    for verdict in known.values():
        if verdict.verdict == KILLED:
            is_here = verdict.site.startswith(f"{site.module}:{site.function}:")
            weights[case_in(verdict)] += 100 if is_here else 10 if verdict.module == site.module else 1
    return {"first": [last, *(case for case, _ in weights.most_common())], "last": last}


def case_in(verdict: Verdict) -> str:
    """The case that failed."""
    return verdict.by.partition(" ")[0]
