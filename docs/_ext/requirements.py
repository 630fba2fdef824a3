"""The specification's own markup.

``.. req:: ID`` is one normative requirement, and ``:req:`ID``` refers to it. All of them are kept in
the build environment, whole, as ``env.get_domain("bc").requirements``: an extractor needs no
parser of its own. ``.. state-table:: WHO`` and ``.. defaults-table::`` show parts of the
protocol.toml that stands beside the page.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Set
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.builders import Builder
from sphinx.domains import Domain, ObjType
from sphinx.environment import BuildEnvironment
from sphinx.roles import XRefRole
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective
from sphinx.util.nodes import make_refnode

logger = logging.getLogger(__name__)

LEVELS = ("MUST", "MUST NOT", "SHOULD", "SHOULD NOT", "MAY")
ROLES = ("parent", "worker", "pool")


class Requirement(NamedTuple):
    id: str
    level: str
    roles: tuple[str, ...]
    classes: tuple[str, ...]
    since: str
    text: str  # as written, in reStructuredText
    docname: str
    line: int
    anchor: str


def level(argument: str) -> str:
    return directives.choice(argument.upper(), LEVELS)


def words(argument: str) -> tuple[str, ...]:
    found = tuple(directives.unchanged_required(argument).split())
    if len(found) != len(set(found)):
        raise ValueError("a word stands there twice")
    return found


def roles(argument: str) -> tuple[str, ...]:
    found = words(argument)
    if unknown := set(found) - set(ROLES):
        raise ValueError(f"unknown: {', '.join(sorted(unknown))}; there are {', '.join(ROLES)}")
    return found


class RequirementDirective(SphinxDirective):
    required_arguments = 1
    has_content = True
    option_spec: ClassVar[dict[str, Any]] = {
        "level": level,
        "role": roles,
        "class": words,
        "since": directives.unchanged_required,
    }

    def run(self) -> list[nodes.Node]:
        ident = self.arguments[0]
        if not re.fullmatch(r"BC(-[A-Z][A-Z0-9]*)+-[0-9]{2,}", ident):
            raise self.error(f"requirement {ident!r}: not an id such as BC-FRAME-01")
        if missing := {"level", "role", "class"} - self.options.keys():
            raise self.error(f"requirement {ident}: without {', '.join(sorted(missing))}")
        self.assert_has_content()
        requirement = Requirement(
            id=ident,
            level=self.options["level"],
            roles=self.options["role"],
            classes=self.options["class"],
            since=self.options.get("since", "1.0"),
            text="\n".join(self.content),
            docname=self.env.docname,
            line=self.lineno,
            anchor=nodes.make_id(ident),
        )
        domain = self.env.get_domain("bc")
        assert isinstance(domain, RequirementDomain)
        domain.note(requirement)

        slug = requirement.level.lower().replace(" ", "-")
        block = nodes.container(ids=[requirement.anchor], classes=["req", f"req-{slug}"])
        head = nodes.paragraph(classes=["req-head"])
        head += nodes.reference("", ident, internal=True, refid=requirement.anchor)
        head += nodes.Text(" · ")
        head += nodes.inline("", requirement.level, classes=["req-level"])
        facts = (*requirement.roles, *(f"class {name}" for name in requirement.classes))
        head += nodes.Text(f" · {', '.join(facts)} · since {requirement.since}")
        block += head
        block += self.parse_content_to_nodes()
        self.set_source_info(block)
        return [block]


class RequirementRole(XRefRole):
    """``:req:`` without a prefix, though the target is in a domain of its own."""

    def process_link(
        self,
        env: BuildEnvironment,
        refnode: nodes.Element,
        has_explicit_title: bool,
        title: str,
        target: str,
    ) -> tuple[str, str]:
        refnode["refdomain"] = "bc"
        return title, target


class RequirementDomain(Domain):
    name = "bc"
    label = "backchannel requirements"
    object_types: ClassVar[dict[str, ObjType]] = {"req": ObjType("requirement", "req")}
    initial_data: ClassVar[dict[str, Any]] = {"requirements": {}}
    dangling_warnings: ClassVar[dict[str, str]] = {"req": "there is no requirement %(target)s"}
    data_version = 1

    @property
    def requirements(self) -> dict[str, Requirement]:
        return self.data["requirements"]

    def note(self, requirement: Requirement) -> None:
        if other := self.requirements.get(requirement.id):
            logger.warning(
                "requirement %s is already in %s, line %d",
                requirement.id,
                other.docname,
                other.line,
                location=(requirement.docname, requirement.line),
                type="req",
                subtype="duplicate",
            )
            return
        self.requirements[requirement.id] = requirement

    def clear_doc(self, docname: str) -> None:
        for ident in [r.id for r in self.requirements.values() if r.docname == docname]:
            del self.requirements[ident]

    def merge_domaindata(self, docnames: Set[str], otherdata: dict[str, Any]) -> None:
        for requirement in otherdata["requirements"].values():
            if requirement.docname in docnames:
                self.note(requirement)

    def resolve_xref(
        self,
        env: BuildEnvironment,
        fromdocname: str,
        builder: Builder,
        typ: str,
        target: str,
        node: pending_xref,
        contnode: nodes.Element,
    ) -> nodes.reference | None:
        found = self.requirements.get(target)
        if found is None:
            return None
        title = f"{found.level}: {' '.join(found.text.split())}"
        return make_refnode(builder, fromdocname, found.docname, found.anchor, contnode, title)

    def resolve_any_xref(
        self,
        env: BuildEnvironment,
        fromdocname: str,
        builder: Builder,
        target: str,
        node: pending_xref,
        contnode: nodes.Element,
    ) -> list[tuple[str, nodes.reference]]:
        found = self.resolve_xref(env, fromdocname, builder, "req", target, node, contnode)
        return [("bc:req", found)] if found else []

    def get_objects(self) -> Iterator[tuple[str, str, str, str, str, int]]:
        for r in self.requirements.values():
            yield r.id, r.id, "req", r.docname, r.anchor, 1


class ProtocolTable(SphinxDirective):
    """A table made from the protocol.toml beside the page."""

    def read(self) -> tuple[str, dict[str, Any]]:
        path = Path(self.env.doc2path(self.env.docname)).parent / "protocol.toml"
        self.env.note_dependency(str(path))
        source = path.read_text("utf-8")
        return source, tomllib.loads(source)

    def table(self, *rows: tuple[str, ...]) -> list[nodes.Node]:
        lines = [".. list-table::", "   :header-rows: 1", ""]
        for row in rows:
            starts = ["   * -", *["     -"] * (len(row) - 1)]
            lines += [f"{start} {cell}" for start, cell in zip(starts, row, strict=True)]
        return self.parse_text_to_nodes("\n".join(lines))


class StateTable(ProtocolTable):
    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        who = self.arguments[0]
        machine = self.read()[1].get(who)
        if not machine:
            raise self.error(f"protocol.toml has no machine {who!r}")
        rows = [
            (state, ", ".join(f"``{event}`` → {then}" for event, then in events.items()))
            for state, events in machine.items()
        ]
        return self.table(("State", "Events, and the next state"), *rows)


class DefaultsTable(ProtocolTable):
    TABLES = ("defaults", "scaling")

    def run(self) -> list[nodes.Node]:
        source, data = self.read()
        result: list[nodes.Node] = []
        for table in self.TABLES:
            body = re.split(r"(?m)^\[", source.split(f"\n[{table}]\n")[1])[0]
            notes = dict(re.findall(r"(?m)^(\w+) *= *[^#\n]*# *(.*)$", body))
            rows = [(f"*{key}*", f"{value}", notes.get(key, "")) for key, value in data[table].items()]
            result += self.table((f"``[{table}]``", "Default", "Meaning"), *rows)
        return result


def setup(app: Sphinx) -> dict[str, Any]:
    app.add_domain(RequirementDomain)
    app.add_directive("req", RequirementDirective)
    app.add_role("req", RequirementRole(warn_dangling=True))
    app.add_directive("state-table", StateTable)
    app.add_directive("defaults-table", DefaultsTable)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
