"""``report.html``: the report as one page that needs no network, no script and no other file.

It shows what ``report.json`` says and nothing else: the verdicts, each failure with its clause, the cost of a
connection against the size of the pool, and the pool under a changing load. The style is in ``html_report.html``.
"""

from __future__ import annotations

import string
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from html import escape
from itertools import groupby
from pathlib import Path
from typing import Any

from . import charts
from .coverage import cases, exclusions
from .requirements import Requirements

__all__ = ["render"]

Json = Mapping[str, Any]

TEMPLATE = Path(__file__).with_name("html_report.html")
WORST = ("error", "fail", "known", "warn", "untestable", "pass", "not-applicable")
SIGNS = {
    "pass": "✓ pass",
    "fail": "✗ fail",
    "error": "! error",
    "known": "✗ known",
    "warn": "△ warn",
    "untestable": "? untestable",
    "not-applicable": "·",
}
NOTHING = "&#8211;"
HERD = "test_wakeups_by_pool_size"
LOAD = "test_pool_follows_the_load"


def render(report: Json) -> str:
    """The page for a report."""
    implementations = report["implementations"]
    names = ", ".join(target["name"] for target in implementations)
    parts = [
        _head(report),
        _failures(implementations),
        _herd([*implementations, *report["controls"]]),
        _load(implementations),
        _matrix(implementations),
        _controls(report["controls"]),
        _left_out(implementations),
    ]
    template = string.Template(TEMPLATE.read_text(encoding="utf-8"))
    return template.substitute(title=escape(f"backchannel conformance: {names}"), body="\n".join(filter(None, parts)))


def _counts(target: Json) -> str:
    found = Counter(case["status"] for case in target["cases"])
    return ", ".join(f"{found[status]} {status}" for status in WORST if found[status]) or "nothing was run"


def _holds(target: Json) -> bool:
    return not any(case["status"] in ("fail", "error") for case in target["cases"])


def _head(report: Json) -> str:
    platform = report["platform"]
    where = f"{platform['system']} {platform['release']} on {platform['machine']}, Python {platform['python']}"
    cards = "".join(
        f'<div class="card{"" if _holds(target) else " broken"}"><b>{escape(target["name"])}</b> '
        f'<span class="{"pass" if _holds(target) else "fail"}">{"holds" if _holds(target) else "is broken"}</span>'
        f'<br>{escape(target["language"])}<br><span class="dim">{_counts(target)}</span></div>'
        for target in report["implementations"]
    )
    return (
        f"<h1>Does it keep the protocol?</h1>"
        f'<p class="dim">backchannel {escape(report["spec"])}, tested by the conformance suite '
        f"{escape(report['suite']['version'])} (adapter contract {escape(report['suite']['contract'])}) "
        f"on {escape(where)}.</p>"
        f'<div class="cards">{cards}</div>'
    )


# ------------------------------------------------------------------------------------------------ failures


def _failures(targets: Sequence[Json]) -> str:
    found = [
        (target, case)
        for target in targets
        for case in target["cases"]
        if case["status"] in ("fail", "error", "known", "warn")
    ]
    if not found:
        return "<h2>Failures</h2><p>None: every requirement that was tested holds.</p>"
    return "<h2>Failures</h2>" + "".join(_failure(target, case) for target, case in found)


def _failure(target: Json, case: Json) -> str:
    if case["broke"]:
        clause = Requirements.load().text(case["broke"])
        rows = [
            ("clause", f"<b>{escape(case['broke'])}</b> {escape(clause)}"),
            # what else a case watches over is expected of every frame, and not what the case is about
            ("expected" if case["broke"] in case["requirements"] else "the case", escape(_about(case["id"]))),
            ("actual", escape(case["seen"])),
        ]
    else:
        rows = [
            ("checks", escape(", ".join(case["requirements"]))),
            ("expected", escape(_about(case["id"]))),
            ("actual", escape(case["message"])),
        ]
    frames = "\n".join(case["frames"])
    transcript = f"<pre>{escape(frames)}</pre>" if frames else ""
    if transcript:
        rows.append(
            ("frames", f"the last that went over the channel (P: parent, W: worker; a figure is the slot):{transcript}")
        )
    body = "".join(f"<dt>{name}</dt><dd>{text}</dd>" for name, text in rows)
    return (
        f'<section class="failure"><h3><span class="{case["status"]}">{case["status"]}</span> '
        f"{escape(target['name'])}: {escape(case['id'])}</h3><dl>{body}</dl></section>"
    )


def _about(case: str) -> str:
    """What the case does, in its own words."""
    return _abouts().get(case, "")


@cache
def _abouts() -> dict[str, str]:
    """Of each case; to read them all takes as long as to start the suite."""
    return {case.id: case.about for case in cases()}


# -------------------------------------------------------------------------------------------------- charts


def _series(target: Json, case: str) -> list[list[float]]:
    found = target["figures"].get(case, {}).values()
    return next((points for points in found if isinstance(points, list) and points), [])


def _herd(targets: Sequence[Json]) -> str:
    lines = [(target["name"], _series(target, HERD)) for target in targets if _series(target, HERD)]
    if not lines:
        return ""
    sizes = sorted({point[0] for _, points in lines for point in points})
    head = "".join(f'<th class="n">{size:g}</th>' for size in sizes)
    rows = "".join(
        f"<tr><td>{charts.key(at)}{escape(name)}</td>"
        + "".join(f'<td class="n">{_at(points, size)}</td>' for size in sizes)
        + "</tr>"
        for at, (name, points) in enumerate(lines)
    )
    return (
        "<h2>What a connection costs</h2>"
        "<p>Wake-ups of all workers together for one connection (voluntary context switches, as the kernel counts "
        "them), against the number of workers; both scales double from line to line. In a herd each connection wakes "
        "every worker: the grey line.</p>"
        f"<figure>{charts.herd(lines)}</figure>"
        f'<div class="scroll"><table><tr><th>workers</th>{head}</tr>{rows}</table></div>'
    )


def _at(points: list[list[float]], size: float) -> str:
    return next((f"{point[1]:.2f}" for point in points if point[0] == size), "")


def _load(targets: Sequence[Json]) -> str:
    figures = "".join(
        f"<figure><figcaption>{escape(target['name'])}</figcaption>{charts.load(_series(target, LOAD))}</figure>"
        for target in targets
        if _series(target, LOAD)
    )
    if not figures:
        return ""
    return (
        "<h2>The pool under load</h2><p>The connections held rise to ten, fall to none and rise again. The pool keeps "
        "one to three workers spare, within its bounds of 2 and 12.</p>"
        f"<p>{charts.key(charts.WORKERS)}workers that count &nbsp; {charts.key(charts.CONNECTIONS)}connections held</p>"
        f"{figures}"
    )


# -------------------------------------------------------------------------------------------------- matrix


def _verdicts(targets: Sequence[Json]) -> dict[tuple[str, str], str]:
    """The worst of its cases, by requirement and implementation; not-applicable only where nothing else is."""
    found: dict[tuple[str, str], str] = {}
    for target in targets:
        for case in target["cases"]:
            for name in case["requirements"]:
                # a case that fails for one requirement says nothing against its others
                status = case["status"]
                if status in ("fail", "known", "warn") and case["broke"] not in ("", name):
                    continue
                known = found.get((name, target["name"]), "not-applicable")
                found[name, target["name"]] = min(known, status, key=WORST.index)
            if case["broke"]:
                known = found.get((case["broke"], target["name"]), "not-applicable")
                found[case["broke"], target["name"]] = min(known, case["status"], key=WORST.index)
    return found


def _matrix(targets: Sequence[Json]) -> str:
    if not targets:
        return ""
    names = [target["name"] for target in targets]
    verdicts, reasons = _verdicts(targets), exclusions()
    requirements = [entry for entry in Requirements.load().values() if not entry.withdrawn]
    families = []
    for family, members in groupby(requirements, key=lambda entry: entry.id.split("-")[1]):
        ids = list(members)
        broken = any(verdicts.get((entry.id, name)) in ("fail", "error") for entry in ids for name in names)
        told = " ".join(
            f"<span>{escape(name)} {_told(verdicts.get((e.id, name)) for e in ids)}</span>" for name in names
        )
        head = "".join(f'<th class="v">{escape(name)}</th>' for name in names)
        rows = "".join(
            f"<tr><td><b>{entry.id}</b> <span class='dim'>{entry.level}</span><small>{escape(entry.text)}</small></td>"
            + "".join(_cell(verdicts.get((entry.id, name)), reasons.get(entry.id, "no case ran")) for name in names)
            + "</tr>"
            for entry in ids
        )
        families.append(
            f"<details{' open' if broken else ''}><summary><b>BC-{family}</b><span>{told}</span></summary>"
            f'<div class="scroll"><table class="matrix"><tr><th>requirement</th>{head}</tr>{rows}</table></div>'
            "</details>"
        )
    legend = f"{NOTHING}: no case ran, or there is none; the reason is in the cell. ·: not applicable."
    return f'<h2>Requirements</h2><p class="dim">{legend}</p>' + "".join(families)


def _told(statuses: Iterable[str | None]) -> str:
    found = Counter(status for status in statuses if status and status != "not-applicable")
    if not found:
        return f'<span class="none">{NOTHING}</span>'
    worst = min(found, key=WORST.index)
    text = f"{found['pass']} ✓" + "".join(f", {found[name]} {name}" for name in WORST[:5] if found[name])
    return f'<span class="{worst}">{text}</span>'


def _cell(status: str | None, why: str) -> str:
    if status is None:
        return f'<td class="v none" title="{escape(why)}">{NOTHING}</td>'
    look = "none" if status in ("not-applicable", "untestable") else status
    return f'<td class="v {look}" title="{status}">{SIGNS[status]}</td>'


# ---------------------------------------------------------------------------------------------- the rest


def _controls(targets: Sequence[Json]) -> str:
    if not targets:
        return ""
    rows = "".join(
        f"<tr><td>{escape(target['name'])}</td>"
        f'<td class="{"pass" if target["behaved"] else "fail"}">{"" if target["behaved"] else "NOT "}as it should</td>'
        f"<td>{escape(', '.join(target['must_fail']) or 'nothing: shown for comparison')}</td></tr>"
        for target in targets
    )
    return (
        "<h2>Controls</h2><p>Servers that are wrong, or ordinary, on purpose: a suite that passes them tells "
        "nothing.</p>"
        '<div class="scroll"><table class="wrap"><tr><th>control</th><th>behaved</th><th>must fail</th></tr>'
        f"{rows}</table></div>"
    )


def _left_out(targets: Sequence[Json]) -> str:
    reasons: dict[str, list[str]] = {}
    for target in targets:
        for case in target["cases"]:
            if case["status"] in ("not-applicable", "untestable"):
                reasons.setdefault(f"{target['name']}: {case['message'].partition(': ')[2]}", []).append(case["id"])
    if not reasons:
        return ""
    rows = "".join(
        f"<details><summary><b>{escape(reason)}</b><span class='dim'>{len(ids)} cases</span></summary>"
        f"<p class='dim'>{escape(', '.join(ids))}</p></details>"
        for reason, ids in reasons.items()
    )
    return f"<h2>What was not tested, and why</h2>{rows}"
