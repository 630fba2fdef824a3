"""Where a source can be made wrong mechanically, and what it would be then.

A *site* is one place in one module and one change of it: a comparison that becomes its neighbour, a constant that is
one more, a condition that is turned round, a statement that is left out, two arguments that are swapped. Nobody chooses
the places, so what the suite finds among them says how much it would find of what nobody thought of.

The change is made in the text, at the place that the syntax tree names, so every other line stays as it is.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

__all__ = ["Site", "sites_of"]

_COMPARISONS: Final[dict[type[ast.cmpop], type[ast.cmpop]]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}
_ARITHMETIC: Final[dict[type[ast.operator], type[ast.operator]]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.FloorDiv,
    ast.FloorDiv: ast.Mult,
    ast.Div: ast.Mult,
    ast.BitOr: ast.BitAnd,
    ast.BitAnd: ast.BitOr,
}
_FUNCTIONS: Final = {"min": "max", "max": "min", "any": "all", "all": "any"}
_SILENT: Final = frozenset({"_note", "debug", "info", "warning", "error", "exception", "print"})
"""Calls that only say something in words: leaving one out breaks no rule."""


@dataclass(frozen=True)
class Site:
    """One change: ``source[start:end]`` becomes ``new``."""

    module: str
    function: str
    kind: str
    line: int
    start: int
    end: int
    old: str
    new: str

    @property
    def id(self) -> str:
        """Names it as long as its function has this text at this place: module, function, and a digest."""
        text = f"{self.module} {self.function} {self.kind} {self.old} {self.new} {self.nth}"
        return f"{self.module}:{self.function}:{hashlib.sha256(text.encode()).hexdigest()[:8]}"

    nth: int = 0
    """Of equal changes in one function: which."""

    def apply(self, source: str) -> str:
        """``source`` with the change made."""
        return source[: self.start] + self.new + source[self.end :]

    def __str__(self) -> str:
        return f"{self.module}:{self.line} {self.function}: {_short(self.old)} -> {_short(self.new)}"


def _short(text: str) -> str:
    return text if len(text) <= 60 else f"{text[:57]}..."


def sites_of(module: str, source: str) -> list[Site]:
    """All sites of ``source``, in the order of its text. Each compiles; none changes only words or types."""
    found = list(_Visitor(module, source).sites())
    seen: dict[tuple[str, str, str, str], int] = {}
    numbered = []
    for site in sorted(found, key=lambda site: (site.start, site.end, site.kind)):
        key = (site.function, site.kind, site.old, site.new)
        seen[key] = seen.get(key, 0) + 1
        numbered.append(Site(**{**vars(site), "nth": seen[key]}))
    return numbered


class _Visitor:
    """Walks over the functions of a module; what is outside of them are tables, which other checks hold."""

    def __init__(self, module: str, source: str) -> None:
        self._module = module
        self._source = source
        self._starts = [0]
        for line in source.splitlines(keepends=True):
            self._starts.append(self._starts[-1] + len(line))
        self._lines = source.splitlines(keepends=True)
        self._tree = ast.parse(source)

    def sites(self) -> Iterator[Site]:
        yield from self._body(self._tree, "")

    def _body(self, node: ast.AST, name: str) -> Iterator[Site]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.ClassDef):
                yield from self._body(child, f"{name}{child.name}.")
            elif isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
                for statement in child.body:
                    yield from self._walk(statement, f"{name}{child.name}")

    def _walk(self, node: ast.AST, name: str) -> Iterator[Site]:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield from self._body(ast.Module([node], []), f"{name}.")
            return
        if _is_words(node):
            return
        for kind, new in _changes(node):
            yield self._site(node, name, kind, new)
        for test in _tests(node):
            yield self._site(test, name, "negation", _expression(ast.UnaryOp(ast.Not(), test)))
        for child in ast.iter_child_nodes(node):
            if not (isinstance(node, ast.AnnAssign) and child is node.annotation):
                yield from self._walk(child, name)

    def _site(self, node: ast.AST, name: str, kind: str, new: str) -> Site:
        assert isinstance(node, ast.expr | ast.stmt)
        assert node.end_lineno is not None
        assert node.end_col_offset is not None
        start = self._offset(node.lineno, node.col_offset)
        end = self._offset(node.end_lineno, node.end_col_offset)
        return Site(self._module, name, kind, node.lineno, start, end, self._source[start:end], new)

    def _offset(self, line: int, column: int) -> int:
        """Where in the text; columns of the tree count octets."""
        text = self._lines[line - 1].encode()[:column].decode()
        return self._starts[line - 1] + len(text)


def _is_words(node: ast.AST) -> bool:
    """Whether it is a docstring, a message or an assertion: no rule hangs on it."""
    if isinstance(node, ast.Assert | ast.JoinedStr | ast.Import | ast.ImportFrom):
        return True
    if isinstance(node, ast.Expr):
        if isinstance(node.value, ast.Constant):
            return True
        if isinstance(node.value, ast.Call) and _called(node.value) in _SILENT:
            return True
    return False


def _called(call: ast.Call) -> str:
    function = call.func
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


def _changes(node: ast.AST) -> Iterator[tuple[str, str]]:
    """The kinds of change at ``node``, each with the text that takes its place."""
    if isinstance(node, ast.Compare):
        for at, operator in enumerate(node.ops):
            operators = [*node.ops[:at], _COMPARISONS[type(operator)](), *node.ops[at + 1 :]]
            yield "comparison", _expression(ast.Compare(node.left, operators, node.comparators))
    elif isinstance(node, ast.BoolOp):
        other = ast.Or() if isinstance(node.op, ast.And) else ast.And()
        yield "connective", _expression(ast.BoolOp(other, node.values))
        for at in range(len(node.values)):
            rest = [*node.values[:at], *node.values[at + 1 :]]
            yield "condition", _expression(rest[0] if len(rest) == 1 else ast.BoolOp(node.op, rest))
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        yield "negation", _expression(node.operand)
    elif isinstance(node, ast.BinOp) and type(node.op) in _ARITHMETIC and not _is_text(node):
        yield "arithmetic", _expression(ast.BinOp(node.left, _ARITHMETIC[type(node.op)](), node.right))
    elif isinstance(node, ast.Constant):
        yield from _constants(node)
    elif isinstance(node, ast.Call):
        yield from _calls(node)
    elif isinstance(node, ast.stmt):
        yield from _statements(node)


def _tests(node: ast.AST) -> Iterator[ast.expr]:
    """What ``node`` decides by, where no other change turns it round."""
    if isinstance(node, ast.If | ast.While | ast.IfExp) and not isinstance(
        node.test, ast.Compare | ast.BoolOp | ast.UnaryOp | ast.Constant | ast.NamedExpr
    ):
        yield node.test


def _is_text(node: ast.BinOp) -> bool:
    return any(
        isinstance(side, ast.JoinedStr) or (isinstance(side, ast.Constant) and isinstance(side.value, str | bytes))
        for side in (node.left, node.right)
    )


def _constants(node: ast.Constant) -> Iterator[tuple[str, str]]:
    if isinstance(node.value, bool):
        yield "constant", repr(not node.value)
    elif isinstance(node.value, int):
        yield "constant", repr(node.value + 1)
    elif isinstance(node.value, float):
        yield "constant", repr(node.value * 2 + 1)


def _calls(node: ast.Call) -> Iterator[tuple[str, str]]:
    if isinstance(node.func, ast.Name) and node.func.id in _FUNCTIONS:
        yield "function", _expression(ast.Call(ast.Name(_FUNCTIONS[node.func.id]), node.args, node.keywords))
    first, *rest = node.args or [None]
    if first is not None and rest and not any(isinstance(arg, ast.Starred) for arg in (first, rest[0])):
        swapped = [rest[0], first, *rest[1:]]
        if ast.dump(first) != ast.dump(rest[0]) and _called(node) not in ("min", "max", "range", "isinstance"):
            yield "arguments", _expression(ast.Call(node.func, swapped, node.keywords))


def _statements(node: ast.stmt) -> Iterator[tuple[str, str]]:
    if isinstance(node, ast.Expr) or (isinstance(node, ast.Assign) and not _is_name(node.targets[0])):
        if not isinstance(getattr(node, "value", None), ast.Yield | ast.YieldFrom):
            yield "statement", "pass"
    elif isinstance(node, ast.AugAssign):
        yield "statement", "pass"
        if type(node.op) in _ARITHMETIC:
            other = ast.AugAssign(node.target, _ARITHMETIC[type(node.op)](), node.value)
            yield "arithmetic", ast.unparse(other)
    elif isinstance(node, ast.Raise | ast.Delete | ast.Continue):
        yield "statement", "pass"
    elif isinstance(node, ast.Break):
        yield "statement", "continue"
    elif isinstance(node, ast.Return) and node.value is None:
        yield "statement", "pass"


def _is_name(target: ast.expr) -> bool:
    """A local variable: without it the function would not run at all."""
    names = target.elts if isinstance(target, ast.Tuple) else [target]
    return any(isinstance(name, ast.Name) for name in names)


def _expression(node: ast.expr) -> str:
    return f"({ast.unparse(ast.fix_missing_locations(node))})"
