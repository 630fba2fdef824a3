"""``.. req:: BC-FRAME-01``: one normative sentence with an id, and ``:req:`BC-FRAME-01``` to refer to it.

An id that is used twice is an error, and so is a reference to one that does not exist (under ``-n``).
"""

from __future__ import annotations

from typing import Any, ClassVar

from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.application import Sphinx
from sphinx.domains import Domain
from sphinx.errors import ExtensionError
from sphinx.roles import XRefRole
from sphinx.util.docutils import SphinxDirective
from sphinx.util.nodes import make_refnode

LEVELS = ("must", "must not", "should", "should not", "may")


class Requirement(SphinxDirective):
    """The block of one requirement."""

    has_content = True
    required_arguments = 1
    option_spec: ClassVar[dict[str, Any]] = {
        "level": lambda text: directives.choice(text, tuple(level.lower() for level in LEVELS)).upper(),
        "role": directives.unchanged_required,
        "class": directives.unchanged_required,
        "since": directives.unchanged,
    }

    def run(self) -> list[nodes.Node]:
        name = self.arguments[0]
        domain = self.env.get_domain("req")
        assert isinstance(domain, RequirementDomain)
        domain.note(name, self.env.docname, self.get_location())
        tags = (
            self.options["level"],
            self.options["role"],
            self.options["class"],
            f"since {self.options.get('since', '1.0')}",
        )
        block = nodes.container(classes=["requirement"], ids=[name])
        link = nodes.reference("", name, refuri=f"#{name}", classes=["requirement-id"])
        head = nodes.paragraph("", "", link, classes=["requirement-head"])
        for tag in tags:
            head += nodes.inline("", f" {tag}", classes=["requirement-tag"])
        block += head
        self.state.nested_parse(self.content, self.content_offset, block)
        return [block]


class RequirementDomain(Domain):
    """Knows where each requirement stands."""

    name = "req"
    label = "requirements"
    roles: ClassVar[dict[str, Any]] = {"req": XRefRole(warn_dangling=True)}
    initial_data: ClassVar[dict[str, Any]] = {"places": {}}

    def note(self, name: str, docname: str, location: str) -> None:
        known = self.data["places"].get(name)
        if known is not None:
            raise ExtensionError(f"{location}: requirement {name} stands in {known} already")
        self.data["places"][name] = docname

    def clear_doc(self, docname: str) -> None:
        self.data["places"] = {name: place for name, place in self.data["places"].items() if place != docname}

    def merge_domaindata(self, docnames: set[str], otherdata: dict[str, Any]) -> None:
        self.data["places"].update(otherdata["places"])

    def resolve_xref(self, env, fromdocname, builder, typ, target, node, contnode):  # type: ignore[no-untyped-def]
        place = self.data["places"].get(target)
        if place is None:
            return None
        return make_refnode(builder, fromdocname, place, target, contnode, target)

    def resolve_any_xref(self, *_arguments: Any) -> list[Any]:
        return []

    def get_objects(self) -> Any:
        for name, place in self.data["places"].items():
            yield name, name, "requirement", place, name, 1


class ShortRole(XRefRole):
    """``:req:`` without the prefix of its domain."""

    def __call__(self, name, *arguments, **options):  # type: ignore[no-untyped-def]
        return super().__call__("req:req", *arguments, **options)


def setup(app: Sphinx) -> dict[str, Any]:
    app.add_domain(RequirementDomain)
    app.add_directive("req", Requirement)
    app.add_role("req", ShortRole(warn_dangling=True))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
