"""Where a Python source can be made wrong.

In functions: a comparison becomes its neighbour, a condition is turned round or left out, a constant is one more, a
statement is left out, two arguments change places, another value is returned. Outside of them: a constant is one more,
a table or a set has one entry less.

What breaks no rule is no site: words, logs, types and what is there for a type checker.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from copy import copy
from typing import Final, NamedTuple

from sites import Site, numbered

__all__ = ["sites_of"]

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
    ast.Mod: ast.FloorDiv,
    ast.Div: ast.Mult,
    ast.Pow: ast.Mult,
    ast.BitOr: ast.BitAnd,
    ast.BitAnd: ast.BitOr,
    ast.LShift: ast.RShift,
    ast.RShift: ast.LShift,
}
_FUNCTIONS: Final = {"min": "max", "max": "min", "any": "all", "all": "any"}
_SYMMETRIC: Final = frozenset({"min", "max", "isinstance", "cast", "getattr", "Violation", "violated", "note"})
"""Calls whose arguments do not change places: nothing would come of it, but another word in a log."""
_EMPTY: Final = {"list": "[]", "tuple": "()", "dict": "{}", "set": "set()", "frozenset": "frozenset()", "bytes": "b''"}
_SILENT: Final = frozenset({"_note", "note", "Note", "debug", "info", "warning", "error", "exception", "print"})
"""Calls that only say something in words: leaving one out breaks no rule."""
_IN_WORDS: Final = frozenset({"__repr__", "__str__"})
_FOR_TYPES: Final = {"isinstance": 1, "cast": 0}
"""Calls that have a type among their arguments, and where."""


class _Place(NamedTuple):
    """Where a node is."""

    function: str = ""
    returns: str = ""
    """What the function returns, as its annotation has it."""
    statement: str = ""


class _Change(NamedTuple):
    """One change: ``node`` becomes ``new``."""

    kind: str
    node: ast.AST
    new: str


def sites_of(module: str, source: str) -> list[Site]:
    """All sites of ``source``, in the order of its text. Each compiles; none changes only words or types."""
    text = _Text(source)
    found = {}
    for change, place in _within(ast.parse(source).body, _Place()):
        start, end, line = text.span(change.node)
        old = source[start:end]
        if old != change.new:
            found[start, end, change.new] = Site(
                module, place.function, place.statement, change.kind, line, start, end, old, change.new
            )
    return numbered(found.values())


class _Text:
    """Where the nodes of a syntax tree are in the text: their columns count octets."""

    def __init__(self, source: str) -> None:
        self._lines = source.splitlines(keepends=True)
        self._starts = [0]
        for line in self._lines:
            self._starts.append(self._starts[-1] + len(line))

    def span(self, node: ast.AST) -> tuple[int, int, int]:
        """Where ``node`` begins and ends, and its line."""
        assert isinstance(node, ast.expr | ast.stmt)
        assert node.end_lineno is not None
        assert node.end_col_offset is not None
        start, end = self._at(node.lineno, node.col_offset), self._at(node.end_lineno, node.end_col_offset)
        return start, end, node.lineno

    def _at(self, line: int, column: int) -> int:
        return self._starts[line - 1] + len(self._lines[line - 1].encode()[:column].decode())


# ------------------------------------------------------------------------------------------------------ where to look


def _within(body: Sequence[ast.stmt], place: _Place) -> Iterator[tuple[_Change, _Place]]:
    """What can be changed in a module or a class, and in its functions."""
    for node in body:
        if isinstance(node, ast.ClassDef):
            yield from _within(node.body, place._replace(function=_dotted(place.function, node.name)))
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield from _function(node, place)
        elif isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
            target = node.targets[0] if isinstance(node, ast.Assign) else node.target
            if not (isinstance(target, ast.Name) and target.id.startswith("__")):
                here = place._replace(statement=ast.unparse(target))
                yield from ((change, here) for part in ast.walk(node.value) for change in _table(part))


def _function(node: ast.FunctionDef | ast.AsyncFunctionDef, place: _Place) -> Iterator[tuple[_Change, _Place]]:
    if node.name in _IN_WORDS:
        return
    returns = ast.unparse(node.returns) if node.returns else ""
    here = _Place(_dotted(place.function, node.name), returns, "def")
    for default in (*node.args.defaults, *node.args.kw_defaults):
        if isinstance(default, ast.Constant):
            yield from ((change, here) for change in _constants(default))
    for statement in node.body:
        yield from _walk(statement, here)


def _walk(node: ast.AST, place: _Place) -> Iterator[tuple[_Change, _Place]]:
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        yield from _function(node, place)
        return
    if _is_words(node):
        return
    if isinstance(node, ast.stmt):
        place = place._replace(statement=_head(node))
    elif isinstance(node, ast.match_case):
        place = place._replace(statement=f"case {ast.unparse(node.pattern)}")
    for change in (*_changes(node), *_negations(node), *_table(node)):
        yield change, place
    if isinstance(node, ast.Return):
        yield from ((change, place) for change in _returns(node, place.returns))
    for child in _children(node):
        yield from _walk(child, place)


def _head(node: ast.stmt) -> str:
    """The statement, without what is in it."""
    head = copy(node)
    for part in ("body", "orelse", "finalbody", "handlers", "cases"):
        if hasattr(head, part):
            setattr(head, part, [])
    return ast.unparse(head)


def _dotted(outer: str, name: str) -> str:
    return f"{outer}.{name}" if outer else name


def _children(node: ast.AST) -> Iterator[ast.AST]:
    """Its parts, without types."""
    skipped: ast.AST | None = None
    if isinstance(node, ast.AnnAssign):
        skipped = node.annotation
    elif isinstance(node, ast.Call) and len(node.args) > (at := _FOR_TYPES.get(_called(node), 9)):
        skipped = node.args[at]
    return (child for child in ast.iter_child_nodes(node) if child is not skipped)


def _is_words(node: ast.AST) -> bool:
    """Whether it is a docstring, a message or an assertion: no rule hangs on it."""
    if isinstance(node, ast.Assert | ast.JoinedStr | ast.Import | ast.ImportFrom):
        return True
    if isinstance(node, ast.Expr):
        call = node.value
        if isinstance(call, ast.Call) and _called(call) == "append" and len(call.args) == 1:
            (call,) = call.args
        return isinstance(call, ast.Constant) or (isinstance(call, ast.Call) and _called(call) in _SILENT)
    return False


def _called(call: ast.Call) -> str:
    function = call.func
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


# ----------------------------------------------------------------------------------------------------- what to change


def _changes(node: ast.AST) -> Iterator[_Change]:
    """Of ``node`` itself."""
    if isinstance(node, ast.Compare):
        for at, operator in enumerate(node.ops):
            operators = [*node.ops[:at], _COMPARISONS[type(operator)](), *node.ops[at + 1 :]]
            yield _Change("comparison", node, _expression(ast.Compare(node.left, operators, node.comparators)))
    elif isinstance(node, ast.BoolOp):
        other = ast.Or() if isinstance(node.op, ast.And) else ast.And()
        yield _Change("connective", node, _expression(ast.BoolOp(other, node.values)))
        for at in range(len(node.values)):
            rest = [*node.values[:at], *node.values[at + 1 :]]
            yield _Change("condition", node, _expression(rest[0] if len(rest) == 1 else ast.BoolOp(node.op, rest)))
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not | ast.USub):
        kind = "negation" if isinstance(node.op, ast.Not) else "arithmetic"
        yield _Change(kind, node, _expression(node.operand))
    elif isinstance(node, ast.BinOp) and type(node.op) in _ARITHMETIC and not _is_text(node):
        yield _Change("arithmetic", node, _expression(ast.BinOp(node.left, _ARITHMETIC[type(node.op)](), node.right)))
    elif isinstance(node, ast.Constant):
        yield from _constants(node)
    elif isinstance(node, ast.Call):
        yield from _calls(node)
    elif isinstance(node, ast.Lambda) and isinstance(node.body, ast.Tuple) and len(node.body.elts) > 1:
        first, second, *rest = node.body.elts  # the key of a choice: what is looked at first
        yield _Change("arguments", node.body, _expression(ast.Tuple([second, first, *rest], ast.Load())))
    elif isinstance(node, ast.stmt):
        yield from _statements(node)


def _negations(node: ast.AST) -> Iterator[_Change]:
    """What ``node`` decides by, where no other change turns it round."""
    tests: list[ast.expr] = []
    if isinstance(node, ast.If | ast.While | ast.IfExp):
        tests = [node.test]
    elif isinstance(node, ast.comprehension):
        tests = node.ifs
    elif isinstance(node, ast.match_case) and node.guard:
        tests = [node.guard]
    for test in tests:
        if not isinstance(test, ast.Compare | ast.BoolOp | ast.UnaryOp | ast.Constant):
            yield _Change("negation", test, _expression(ast.UnaryOp(ast.Not(), test)))


def _constants(node: ast.Constant) -> Iterator[_Change]:
    if isinstance(node.value, bool):
        yield _Change("constant", node, repr(not node.value))
    elif isinstance(node.value, int):
        yield _Change("constant", node, repr(node.value + 1))
    elif isinstance(node.value, float):
        yield _Change("constant", node, repr(node.value * 2 + 1))


def _table(node: ast.AST) -> Iterator[_Change]:
    """A number, or one entry less."""
    if isinstance(node, ast.Constant):
        yield from _constants(node)
    elif isinstance(node, ast.Set) and len(node.elts) > 1:
        for at in range(len(node.elts)):
            yield _Change("entry", node, ast.unparse(ast.Set([*node.elts[:at], *node.elts[at + 1 :]])))
    elif isinstance(node, ast.Dict) and len(node.keys) > 1:
        for at in range(len(node.keys)):
            keys, values = [*node.keys[:at], *node.keys[at + 1 :]], [*node.values[:at], *node.values[at + 1 :]]
            yield _Change("entry", node, ast.unparse(ast.Dict(keys, values)))


def _calls(node: ast.Call) -> Iterator[_Change]:
    name = _called(node)
    if isinstance(node.func, ast.Name) and name in _FUNCTIONS:
        yield _Change("function", node, _expression(ast.Call(ast.Name(_FUNCTIONS[name]), node.args, node.keywords)))
    if name in _SYMMETRIC:
        return
    for at, (one, other) in enumerate(zip(node.args, node.args[1:], strict=False)):
        if not isinstance(one, ast.Starred) and not isinstance(other, ast.Starred) and _differ(one, other):
            swapped = [*node.args[:at], other, one, *node.args[at + 2 :]]
            yield _Change("arguments", node, _expression(ast.Call(node.func, swapped, node.keywords)))
    for at, (left, right) in enumerate(zip(node.keywords, node.keywords[1:], strict=False)):
        if left.arg and right.arg and _differ(left.value, right.value):
            pair = [ast.keyword(left.arg, right.value), ast.keyword(right.arg, left.value)]
            keywords = [*node.keywords[:at], *pair, *node.keywords[at + 2 :]]
            yield _Change("arguments", node, _expression(ast.Call(node.func, node.args, keywords)))


def _statements(node: ast.stmt) -> Iterator[_Change]:
    if isinstance(node, ast.Expr) or (isinstance(node, ast.Assign) and not _is_name(node.targets[0])):
        if not isinstance(node.value, ast.Yield | ast.YieldFrom):  # without it the function may be no generator
            yield _Change("statement", node, "pass")
    elif isinstance(node, ast.AugAssign):
        yield _Change("statement", node, "pass")
        if type(node.op) in _ARITHMETIC:
            other = ast.AugAssign(node.target, _ARITHMETIC[type(node.op)](), node.value)
            yield _Change("arithmetic", node, ast.unparse(other))
    elif isinstance(node, ast.Raise | ast.Delete | ast.Continue):
        yield _Change("statement", node, "pass")
    elif isinstance(node, ast.Break):
        yield _Change("statement", node, "continue")
    elif isinstance(node, ast.Return) and node.value is None:
        yield _Change("statement", node, "pass")


def _returns(node: ast.Return, annotation: str) -> Iterator[_Change]:
    """Another value of the same type."""
    value = node.value
    if value is None or isinstance(value, ast.Constant):
        return
    if annotation.endswith("| None"):
        yield _Change("return", value, "None")
    elif annotation == "bool":
        if not isinstance(value, ast.Compare | ast.BoolOp | ast.UnaryOp):  # they have changes of their own
            yield _Change("return", value, _expression(ast.UnaryOp(ast.Not(), value)))
    elif annotation in ("int", "float"):
        yield _Change("return", value, _expression(ast.BinOp(value, ast.Add(), ast.Constant(1))))
    elif (empty := _EMPTY.get(annotation.partition("[")[0])) is not None:
        yield _Change("return", value, empty)


def _is_text(node: ast.BinOp) -> bool:
    return any(
        isinstance(side, ast.JoinedStr) or (isinstance(side, ast.Constant) and isinstance(side.value, str | bytes))
        for side in (node.left, node.right)
    )


def _is_name(target: ast.expr) -> bool:
    """A local variable: without it the function would not run at all."""
    names = target.elts if isinstance(target, ast.Tuple) else [target]
    return any(isinstance(name, ast.Name) for name in names)


def _differ(one: ast.expr, other: ast.expr) -> bool:
    return ast.dump(one) != ast.dump(other)


def _expression(node: ast.expr) -> str:
    return f"({ast.unparse(ast.fix_missing_locations(node))})"
