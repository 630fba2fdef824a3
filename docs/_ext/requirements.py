"""``.. req:: BC-FRAME-01``: one normative sentence with an id, and ``:req:`BC-FRAME-01``` to refer to it.

An id that is used twice is an error, and so is a reference to one that does not exist (under ``-n``). This makes the
blocks readable on the page; what they may say is checked by ``spec/ledger.py``, which writes the ledger from them. When
all pages have been read, what was found must be what the ledger lists.
"""

from __future__ import annotations

from typing import Any, ClassVar

from backchannel_conformance.requirements import Requirements
from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.application import Sphinx
from sphinx.domains import Domain
from sphinx.environment import BuildEnvironment
from sphinx.errors import ExtensionError
from sphinx.roles import XRefRole
from sphinx.util.docutils import SphinxDirective
from sphinx.util.nodes import make_refnode

SPEC = "spec/1.0/"


class Requirement(SphinxDirective):
    """The block of one requirement."""

    has_content = True
    required_arguments = 1
    option_spec: ClassVar[dict[str, Any]] = {
        "level": directives.unchanged_required,
        "role": directives.unchanged_required,
        "class": directives.unchanged_required,
        "since": directives.unchanged,
        "withdrawn": directives.unchanged_required,
    }

    def run(self) -> list[nodes.Node]:
        name = self.arguments[0]
        domain = self.env.get_domain("req")
        assert isinstance(domain, RequirementDomain)
        domain.note(name, self.env.docname, self.options["level"], self.get_location())
        tags = (
            self.options["level"],
            self.options["role"],
            self.options["class"],
            f"since {self.options.get('since', '1.0')}",
        )
        withdrawn = self.options.get("withdrawn")
        classes = ["requirement", "withdrawn"] if withdrawn else ["requirement"]
        block = nodes.container(classes=classes, ids=[name])
        link = nodes.reference("", name, refuri=f"#{name}", classes=["requirement-id"])
        head = nodes.paragraph("", "", link, classes=["requirement-head"])
        for tag in tags:
            head += nodes.inline("", f" {tag}", classes=["requirement-tag"])
        if withdrawn:
            head += nodes.inline("", f" withdrawn: {withdrawn}", classes=["requirement-tag"])
        block += head
        self.state.nested_parse(self.content, self.content_offset, block)
        return [block]


class RequirementDomain(Domain):
    """Knows where each requirement stands."""

    name = "req"
    label = "requirements"
    roles: ClassVar[dict[str, Any]] = {"req": XRefRole(warn_dangling=True)}
    initial_data: ClassVar[dict[str, Any]] = {"places": {}}

    @property
    def places(self) -> dict[str, tuple[str, str]]:
        """Page and level, by id."""
        places: dict[str, tuple[str, str]] = self.data["places"]
        return places

    def note(self, name: str, docname: str, level: str, location: str) -> None:
        if name in self.places:
            raise ExtensionError(f"{location}: requirement {name} stands in {self.places[name][0]} already")
        self.places[name] = docname, level

    def clear_doc(self, docname: str) -> None:
        self.data["places"] = {name: place for name, place in self.places.items() if place[0] != docname}

    def merge_domaindata(self, docnames: set[str], otherdata: dict[str, Any]) -> None:
        self.places.update(otherdata["places"])

    def resolve_xref(self, env, fromdocname, builder, typ, target, node, contnode):  # type: ignore[no-untyped-def]
        if target not in self.places:
            return None
        return make_refnode(builder, fromdocname, self.places[target][0], target, contnode, target)

    def resolve_any_xref(self, *_arguments: Any) -> list[Any]:
        return []

    def get_objects(self) -> Any:
        for name, (place, _) in self.places.items():
            yield name, name, "requirement", place, name, 1


class ShortRole(XRefRole):
    """``:req:`` without the prefix of its domain."""

    def __call__(self, name, *arguments, **options):  # type: ignore[no-untyped-def]
        return super().__call__("req:req", *arguments, **options)


def compare(app: Sphinx, env: BuildEnvironment) -> None:
    """What Sphinx read is what the ledger lists."""
    domain = env.get_domain("req")
    assert isinstance(domain, RequirementDomain)
    read = {name: (page, level) for name, (page, level) in domain.places.items() if page.startswith(SPEC)}
    listed = {entry.id: (SPEC + entry.page, entry.level) for entry in Requirements.load().values()}
    if read != listed:
        wrong = sorted(name for name in read.keys() | listed.keys() if read.get(name) != listed.get(name))
        raise ExtensionError(f"{', '.join(wrong)}: pages and ledger differ; run python spec/ledger.py")


def setup(app: Sphinx) -> dict[str, Any]:
    app.add_domain(RequirementDomain)
    app.add_directive("req", Requirement)
    app.add_role("req", ShortRole(warn_dangling=True))
    app.connect("env-check-consistency", compare)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
