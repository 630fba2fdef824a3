"""What mechanical mutants say of the suite: ``.. power-scores::``, ``.. power-survivors::``, ``.. power-equivalent::``.

Read from the reports under ``conformance/mutation/results`` and from the reasons beside them, by the code that wrote
them. A later measurement refreshes the page by replacing a report.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

MUTATION = Path(__file__).parents[2] / "conformance" / "mutation"
sys.path.insert(0, str(MUTATION))

from targets import PARTS, TARGETS, all_sites  # noqa: E402
from verdicts import KILLED, RESULTS, SURVIVED, Report, Verdict, excuses, survivors  # noqa: E402


def verdicts() -> list[Verdict]:
    """Of all reports, those whose sites are still in the sources and have no excuse."""
    here = {site.id for site in all_sites(list(TARGETS))} - set(excuses())
    found: dict[str, Verdict] = {}
    for path in sorted(RESULTS.glob("*.json")):
        report = Report(path)
        report.load()
        report.keep(here)
        found |= report.verdicts
    return list(found.values())


class Power(SphinxDirective):
    """What they have in common: they are read anew each time, since their sources are no pages."""

    def run(self) -> list[nodes.Node]:
        self.env.note_reread()
        return self.show()

    def show(self) -> list[nodes.Node]:
        raise NotImplementedError

    def reasoned(self, rows: list[tuple[str, str, str]], head: str) -> list[nodes.Node]:
        """A change and what is said of it."""
        found = []
        for module, what, why in rows:
            change = nodes.paragraph("", "", nodes.literal("", module), nodes.Text(" "), nodes.literal("", what))
            texts, _ = self.state.inline_text(why, self.lineno)
            found.append([change, nodes.paragraph("", "", *texts)])
        return [_table([55, 45], ["change", head], found)] if found else [nodes.paragraph("", "None.")]


class Scores(Power):
    """For each part and each of its modules: how many of the judged were killed."""

    def show(self) -> list[nodes.Node]:
        every, rows = verdicts(), []
        for part in PARTS:
            modules = [name for name, target in TARGETS.items() if target.part == part]
            rows += [_score(name, [name], every) for name in modules]
            rows.append(_score(f"all of {part}", modules, every, strong=True))
        heads = ["module", "sites", "equivalent", "judged", "killed", "share"]
        return [_table([40, 10, 12, 12, 12, 14], heads, rows)]


class Survivors(Power):
    """What survives, and which check is missing."""

    def show(self) -> list[nodes.Node]:
        known = survivors()
        found = sorted((verdict for verdict in verdicts() if verdict.verdict == SURVIVED), key=lambda v: v.what)
        rows = [
            (*_words(verdict.what), known[verdict.site].why if verdict.site in known else "not looked at yet")
            for verdict in found
        ]
        return self.reasoned(rows, "what is missing")


class Equivalent(Power):
    """What nothing outside can tell from the reference, and why."""

    def show(self) -> list[nodes.Node]:
        every = {site.id: site for site in all_sites(list(TARGETS))}
        rows = [(*_words(str(every[name])), excuse.why) for name, excuse in sorted(excuses().items())]
        return self.reasoned(rows, "why nothing outside can tell")


def _words(what: str) -> tuple[str, str]:
    """Where it is, without the line, and the change."""
    where, _, change = what.partition(": ")
    place, _, function = where.partition(" ")
    return f"{place.rpartition(':')[0]} {function}".strip(), change


def _score(name: str, modules: list[str], every: list[Verdict], *, strong: bool = False) -> list[nodes.Node]:
    mine = [verdict for verdict in every if verdict.module in modules and verdict.verdict in (KILLED, SURVIVED)]
    killed = sum(verdict.verdict == KILLED for verdict in mine)
    sites = len(all_sites(modules))
    excused = sum(excuse.site.partition(":")[0] in modules for excuse in excuses().values())
    share = f"{100 * killed / len(mine):.1f} %" if mine else "not measured"
    cells = [name, str(sites), str(excused), str(len(mine)), str(killed), share]
    if strong:
        return [nodes.paragraph("", "", nodes.strong("", cell)) for cell in cells]
    return [nodes.paragraph("", "", nodes.literal("", name)), *(nodes.paragraph("", cell) for cell in cells[1:])]


def _table(widths: list[int], heads: list[str], rows: list[list[nodes.Node]]) -> nodes.table:
    group = nodes.tgroup(cols=len(widths))
    group += [nodes.colspec(colwidth=width) for width in widths]
    group += nodes.thead("", nodes.row("", *(nodes.entry("", nodes.paragraph("", head)) for head in heads)))
    group += nodes.tbody("", *(nodes.row("", *(nodes.entry("", cell) for cell in row)) for row in rows))
    return nodes.table("", group)


def setup(app: Sphinx) -> dict[str, Any]:
    app.add_directive("power-scores", Scores)
    app.add_directive("power-survivors", Survivors)
    app.add_directive("power-equivalent", Equivalent)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
