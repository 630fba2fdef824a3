"""``.. coverage::``: every requirement, what checks it (cases, vectors, steps of generated histories), and the controls
and mutants that fail those cases.

Read from the specification's ledger, from what the checks say themselves, from the exclusions, and from the manifests
of controls and mutants: by the same code that fails the tests when they do not fit
(:mod:`backchannel_conformance.coverage`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from backchannel_conformance.coverage import Check, by_requirement, checks, exclusions, killers
from backchannel_conformance.requirements import Requirement, Requirements
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

CONFORMANCE = Path(__file__).parents[2] / "conformance"


class Coverage(SphinxDirective):
    """One table for each page of the specification that has requirements."""

    option_spec: ClassVar[dict[str, Any]] = {}

    def run(self) -> list[nodes.Node]:
        self.env.note_reread()  # its sources are not pages
        by_id = by_requirement(checks())
        killed = killers([CONFORMANCE / "controls", CONFORMANCE / "mutants"])
        excluded = exclusions()
        pages: dict[str, list[nodes.row]] = {}
        for requirement in Requirements.load().values():
            row = self.row(requirement, by_id.get(requirement.id, []), killed, excluded)
            pages.setdefault(requirement.page, []).append(row)
        found: list[nodes.Node] = []
        for page, rows in pages.items():
            found += [nodes.rubric("", "", nodes.literal("", page)), _table(rows)]
        return found

    def row(
        self, requirement: Requirement, checked: list[Check], killed: dict[str, list[str]], excluded: dict[str, str]
    ) -> nodes.row:
        where = nodes.paragraph()
        [link], _ = self.state.inline_text(f":req:`{requirement.id}`", self.lineno)
        where += link
        where += nodes.inline("", f" {requirement.level}", classes=["requirement-tag"])
        if not checked:
            reason = excluded.get(requirement.id, "no check is needed" if not requirement.binds else "")
            cell: nodes.Node = nodes.paragraph("", "", nodes.inline("", reason, classes=["none"]))
        else:
            cell = nodes.line_block("", *(_check(one) for one in checked))
        broken = sorted({name for check in checked for name in killed.get(check.id, [])})
        return nodes.row("", *(nodes.entry("", part) for part in (where, cell, _lines(broken))))


def _lines(names: list[str]) -> nodes.line_block:
    return nodes.line_block("", *(nodes.line("", "", nodes.literal("", name)) for name in names))


def _check(check: Check) -> nodes.line:
    """A case by its name; a vector by its file and name; a generated step by its role and what is compared in it."""
    match check.kind:
        case "case":
            return nodes.line("", "", nodes.literal("", check.id))
        case "vector":
            return nodes.line("", "", nodes.inline("", f"vector in {check.id}"))
        case _:
            return nodes.line("", "", nodes.inline("", f"each step, role {check.role}: {check.id}"))


def _table(rows: list[nodes.row]) -> nodes.table:
    group = nodes.tgroup(cols=3)
    group += [nodes.colspec(colwidth=width) for width in (25, 45, 30)]
    heads = ("requirement", "checked by", "controls and mutants that fail them")
    group += nodes.thead("", nodes.row("", *(nodes.entry("", nodes.paragraph("", head)) for head in heads)))
    group += nodes.tbody("", *rows)
    return nodes.table("", group, classes=["coverage"])


def setup(app: Sphinx) -> dict[str, Any]:
    app.add_directive("coverage", Coverage)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
