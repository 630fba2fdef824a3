"""Where a source in C can be made wrong: the same changes as in Python, made by tokens.

A reader of tokens is no compiler. What does not compile is no mutant, and is left out when it is tried.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from sites import Site, numbered

__all__ = ["sites_of"]

_TOKEN: Final = re.compile(
    r"(?P<skip>\s+|//[^\n]*|/\*.*?\*/|^[ \t]*\#(?:[^\n]*\\\n)*[^\n]*)"
    r'|(?P<text>"(?:\\.|[^"\\])*"|\'(?:\\.|[^\'\\])*\')'
    r"|(?P<name>[A-Za-z_]\w*)"
    r"|(?P<number>0[xX][0-9a-fA-F]+[uUlL]*|(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?[uUlLfF]*)"
    r"|(?P<sign><<=|>>=|\.\.\.|->|\+\+|--|<<|>>|<=|>=|==|!=|&&|\|\||[-+*/%&|^]=|\S)",
    re.DOTALL | re.MULTILINE,
)
_COMPARISONS: Final = {"<": "<=", "<=": "<", ">": ">=", ">=": ">", "==": "!=", "!=": "=="}
_CONNECTIVES: Final = {"&&": "||", "||": "&&"}
_ARITHMETIC: Final = {"+": "-", "-": "+", "/": "*", "%": "/", "<<": ">>", ">>": "<<", "|": "&", "&": "|"}
_ASSIGNING: Final = {"+=": "-=", "-=": "+=", "*=": "/=", "|=": "&=", "++": "--", "--": "++"}
_BEGINS: Final = frozenset({"if", "for", "while", "do", "else", "switch", "case", "default", "goto"})
_SYMMETRIC: Final = frozenset({"strcmp", "memcmp"})
"""Calls of which only the sign changes if their first two arguments change places, which nobody asks for here."""
_SILENT: Final = frozenset({"say", "fprintf", "perror", "usage", "va_start", "va_end"})
"""Statements that begin so only say something in words."""
_IN_WORDS: Final = frozenset({"say", "usage"})


@dataclass(frozen=True)
class _Token:
    kind: str
    text: str
    start: int
    end: int
    line: int


@dataclass(frozen=True)
class _Statement:
    """A statement, or the head of one that holds others."""

    function: str
    returns: str
    tokens: list[_Token]

    @property
    def text(self) -> str:
        """Its tokens, however they are laid out."""
        return " ".join(token.text for token in self.tokens)


def sites_of(module: str, source: str) -> list[Site]:
    """All sites of ``source``, in the order of its text."""
    found = {}
    for statement in _statements(_tokens(source)):
        if statement.function in _IN_WORDS or statement.tokens[0].text in _SILENT:
            continue
        for kind, first, last, new in _changes(statement, source):
            old = source[first.start : last.end]
            found[first.start, last.end, new] = Site(
                module, statement.function, statement.text, kind, first.line, first.start, last.end, old, new
            )
    return numbered(found.values())


def _tokens(source: str) -> list[_Token]:
    line, found = 1, []
    for match in _TOKEN.finditer(source):
        assert match.lastgroup
        if match.lastgroup != "skip":
            found.append(_Token(match.lastgroup, match[0], match.start(), match.end(), line))
        line += match[0].count("\n")
    return found


def _statements(tokens: list[_Token]) -> Iterator[_Statement]:
    """Cuts at semicolons and braces, and behind the head of an ``if`` or a loop and behind a label."""
    function, returns, depth, nested, part = "", "", 0, 0, list[_Token]()
    for token in tokens:
        text = token.text
        nested += (text in "([") - (text in ")]")
        if nested == 0 and text == "{" and not _open_braces(part) and (not part or part[-1].text != "="):
            if depth == 0 and part and part[-1].text == ")":
                function, returns = _signature(part)
            elif part:
                yield _Statement(function, returns, part)
            depth, part = depth + 1, []
        elif nested == 0 and text == "}" and not _open_braces(part):
            if part:
                yield _Statement(function, returns, part)
            depth, part = depth - 1, []
            if depth == 0:
                function = returns = ""
        else:
            part.append(token)
            if nested == 0 and not _open_braces(part) and _is_whole(part):
                yield _Statement(function, returns, part)
                part = []


def _open_braces(part: list[_Token]) -> int:
    """Of an initialiser."""
    return sum((token.text == "{") - (token.text == "}") for token in part)


def _is_whole(part: list[_Token]) -> bool:
    first, last = part[0].text, part[-1].text
    if last == ";" or first in ("else", "do"):
        return True
    if first in ("case", "default"):
        return last == ":"
    return first in ("if", "while", "for", "switch") and last == ")"


def _signature(part: list[_Token]) -> tuple[str, str]:
    """The name of a function, and what it returns."""
    at = next(number for number, token in enumerate(part) if token.text == "(")
    words = [token.text for token in part[: at - 1] if token.text not in ("static", "inline", "const")]
    return part[at - 1].text, " ".join(words)


def _changes(statement: _Statement, source: str) -> Iterator[tuple[str, _Token, _Token, str]]:
    tokens = statement.tokens
    head, last = tokens[0].text, tokens[-1]
    if statement.function and last.text == ";":
        yield from _whole(statement, source)
    if head in ("if", "while") and len(tokens) > 3:
        test = tokens[2 : -1 if last.text == ")" else -2]
        if not any(token.text in (*_COMPARISONS, *_CONNECTIVES, "!") for token in test):  # they have their own changes
            yield "negation", test[0], test[-1], f"!({source[test[0].start : test[-1].end]})"
    declares = _declares(tokens)
    for at, token in enumerate(tokens):
        before = tokens[at - 1] if at else None
        if token.kind == "number":
            yield from _number(tokens, at, declares)
        elif token.text in _COMPARISONS:
            yield "comparison", token, token, _COMPARISONS[token.text]
        elif token.text in _CONNECTIVES:
            yield "connective", token, token, _CONNECTIVES[token.text]
        elif token.text in _ASSIGNING:
            yield "arithmetic", token, token, _ASSIGNING[token.text]
        elif token.text in _ARITHMETIC and before and _is_operand(before) and not (declares and token.text == "&"):
            yield "arithmetic", token, token, _ARITHMETIC[token.text]
        elif token.text == "!":
            yield "negation", token, token, ""
        elif token.text == "(" and before and _is_call(before) and head not in ("case", before.text):
            yield from _arguments(tokens, at, source)
    if head not in _BEGINS and not declares and len(tokens) > 2 and tokens[1].text == "(":
        yield from _arguments(tokens, 1, source)


def _is_call(before: _Token) -> bool:
    """Whether what stands before a parenthesis is a function whose arguments may not change places."""
    return before.kind == "name" and before.text not in _SYMMETRIC


def _declares(tokens: list[_Token]) -> bool:
    """Whether it is a declaration: two names, or a name and a name behind stars, begin no expression."""
    if len(tokens) < 3 or tokens[0].kind != "name" or tokens[0].text in ("return", *_BEGINS):
        return False
    behind = next((token for token in tokens[1:] if token.text != "*"), tokens[1])
    return behind.kind == "name"


def _whole(statement: _Statement, source: str) -> Iterator[tuple[str, _Token, _Token, str]]:
    """The statement is left out, or returns something else."""
    tokens = statement.tokens
    first, last = tokens[0], tokens[-1]
    if first.text == "return":
        if len(tokens) == 2:
            yield "statement", first, last, ";"
        elif tokens[1].kind != "number" or len(tokens) > 3:  # else it is a constant like others
            value = source[tokens[1].start : tokens[-2].end]
            if "*" in statement.returns:
                yield "return", tokens[1], tokens[-2], "NULL"
            elif statement.returns in ("int", "unsigned", "double", "size_t", "ssize_t") or "int" in statement.returns:
                yield "return", tokens[1], tokens[-2], f"!({value})" if statement.returns == "int" else f"({value}) + 1"
    elif len(tokens) > 1 and first.text not in _BEGINS and not _declares(tokens):
        yield "statement", first, last, ";"


def _number(tokens: list[_Token], at: int, declares: bool) -> Iterator[tuple[str, _Token, _Token, str]]:
    """One more; the size of an array is none of a rule, and what stands in its place in an array must be in it."""
    token, text = tokens[at], tokens[at].text
    bare = text.rstrip("uUlL") if text[:2].lower() == "0x" else text.rstrip("uUlLfF")
    if tokens[at - 1].text == "[" and at:
        if not declares and len(bare) == 1 and tokens[at + 1].text == "]":
            yield "constant", token, token, str(max(int(bare) - 1, 0) if int(bare) else 1)
    elif "." in bare or ("e" in bare and bare[:2].lower() != "0x"):
        yield "constant", token, token, repr(float(bare) * 2 + 1)
    else:
        octal = len(bare) > 1 and bare.isdecimal() and bare[0] == "0"
        yield "constant", token, token, str(int(bare, 8 if octal else 0) + 1) + text[len(bare) :]


def _is_operand(token: _Token) -> bool:
    return (token.kind != "sign" and token.text != "return") or token.text in (")", "]")


def _arguments(tokens: list[_Token], at: int, source: str) -> Iterator[tuple[str, _Token, _Token, str]]:
    """The first two of the call whose bracket is at ``at`` change places."""
    depth, parts, part = 0, list[list[_Token]](), list[_Token]()
    for token in tokens[at + 1 :]:
        if depth == 0 and token.text in (",", ")"):
            parts.append(part)
            part = []
            if token.text == ")":
                break
        else:
            depth += (token.text in "([{") - (token.text in ")]}")
            part.append(token)
    if len(parts) > 1 and all(parts[:2]):
        one, other = (source[part[0].start : part[-1].end] for part in parts[:2])
        if one != other:
            yield "arguments", parts[0][0], parts[1][-1], f"{other}, {one}"
