"""Tables made from data: ``.. state-table:: slot`` and ``.. defaults-table::`` from ``spec/1.0/protocol.toml``,
``.. model-results:: verify`` from ``spec/1.0/model/variants.toml``.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

PROTOCOL = Path(__file__).parents[2] / "spec" / "1.0" / "protocol.toml"
MODELS = PROTOCOL.parent / "model" / "variants.toml"


def table(head: list[str], rows: list[list[str]]) -> nodes.table:
    group = nodes.tgroup(cols=len(head))
    group += [nodes.colspec(colwidth=1) for _ in head]
    group += nodes.thead("", row(head))
    group += nodes.tbody("", *map(row, rows))
    return nodes.table("", group)


def row(cells: list[str]) -> nodes.row:
    entries = [nodes.entry("", nodes.paragraph("", "", *([nodes.literal("", cell)] if cell else []))) for cell in cells]
    return nodes.row("", *entries)


class FromProtocol(SphinxDirective):
    def protocol(self) -> dict[str, Any]:
        self.env.note_dependency(str(PROTOCOL))
        return tomllib.loads(PROTOCOL.read_text())


class StateTable(FromProtocol):
    """A machine: a row for each state and event; a row for each event and a column for each state, if all have all."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        machine = self.protocol()[self.arguments[0]]
        first, *others = map(list, machine.values())
        if all(other == first for other in others):
            rows = [[event, *(events[event] for events in machine.values())] for event in first]
            return [table(["event", *machine], rows)]
        rows = [[state, event, after] for state, events in machine.items() for event, after in events.items()]
        return [table(["state", "event", "next state"], rows)]


class DefaultsTable(FromProtocol):
    """All settings."""

    def run(self) -> list[nodes.Node]:
        protocol = self.protocol()
        rows = [[name, str(value)] for part in ("defaults", "scaling") for name, value in protocol[part].items()]
        return [table(["setting", "default"], rows)]


class ModelResults(SphinxDirective):
    """What the models verify, or what fails without each rule."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        self.env.note_dependency(str(MODELS))
        entries = tomllib.loads(MODELS.read_text())[self.arguments[0]]
        if self.arguments[0] == "verify":
            items = [nodes.list_item("", nodes.paragraph("", entry["name"])) for entry in entries]
            return [nodes.bullet_list("", *items)]
        group = nodes.tgroup(cols=3)
        group += [nodes.colspec(colwidth=width) for width in (36, 16, 48)]
        heads = ("left out", "rule", "what happened")
        group += nodes.thead("", nodes.row("", *(nodes.entry("", nodes.paragraph("", head)) for head in heads)))
        body = nodes.tbody("")
        for entry in entries:
            [link], _ = self.state.inline_text(f":req:`{entry['requirement']}`", self.lineno)
            cells: list[nodes.Node] = [nodes.paragraph("", entry["left_out"]), nodes.paragraph("", "", link)]
            cells.append(nodes.paragraph("", entry["happened"]))
            body += nodes.row("", *(nodes.entry("", cell) for cell in cells))
        group += body
        return [nodes.table("", group)]


def setup(app: Sphinx) -> dict[str, Any]:
    app.add_directive("state-table", StateTable)
    app.add_directive("defaults-table", DefaultsTable)
    app.add_directive("model-results", ModelResults)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
