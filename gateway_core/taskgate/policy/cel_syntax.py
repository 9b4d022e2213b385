"""The grammar of conditions: CEL without messages, bytes and unsigned numbers.

Conditions are evaluated by cel-rust, whose binding shows no syntax tree and, because `&&` and `||` forgive errors,
finds a misspelt name only when it is reached. So the text is read here as well, for `cel_types` to check every branch
when policy loads.
What this grammar does not know is refused, even where cel-rust would take it.

Grammar: https://github.com/google/cel-spec/blob/master/doc/langdef.md#syntax
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

LONGEST = 2000  # characters; cel-rust's parser recurses and a tower of operators would exhaust the stack
_DEEPEST = 40
_LONGEST_CHAIN = 100

_STRING = "|".join(
    [
        r'"{3}(?:[^\\]|\\.)*?"{3}',
        r"'{3}(?:[^\\]|\\.)*?'{3}",
        r'"(?:[^"\\\r\n]|\\.)*"',
        r"'(?:[^'\\\r\n]|\\.)*'",
    ]
)
_TOKEN = re.compile(
    rf"""(?P<space>(?:[ \t\r\n\f]|//[^\n]*)+)
      | (?P<string>[rR]?(?:{_STRING}))
      | (?P<double>[0-9]+\.[0-9]+(?:[eE][-+]?[0-9]+)?|[0-9]+[eE][-+]?[0-9]+|\.[0-9]+(?:[eE][-+]?[0-9]+)?)
      | (?P<int>0[xX][0-9a-fA-F]+|[0-9]+)(?![A-Za-z_0-9])
      | (?P<name>[A-Za-z_][A-Za-z0-9_]*)
      | (?P<operator>&&|\|\||==|!=|<=|>=|[-+*/%<>!?:.,()\[\]{{}}])""",
    re.VERBOSE | re.DOTALL,
)
_RESERVED = frozenset(
    "as break const continue else for function if import let loop package namespace return var void while".split()
)
_RELATIONS = frozenset({"==", "!=", "<", "<=", ">", ">=", "in"})


class ConditionProblem(Exception):
    """What is wrong with a condition, and at which character (from 0)."""

    def __init__(self, message: str, offset: int) -> None:
        super().__init__(message)
        self.message = message
        self.offset = offset


@dataclass(frozen=True, slots=True)
class Literal:
    """`kind` is string, int, double, bool or null; `value` is None for a string with escapes (its value is cel's)."""

    kind: str
    value: str | None
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Name:
    name: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Select:
    operand: Node
    field: str
    start: int
    end: int
    at: int  # where the field's name starts


@dataclass(frozen=True, slots=True)
class Call:
    """A function, a method (`target`), an operator (`_&&_`, `!_`, `_?_:_`, `_[_]`, …) or a macro."""

    function: str
    target: Node | None
    arguments: tuple[Node, ...]
    start: int
    end: int
    at: int


@dataclass(frozen=True, slots=True)
class ListOf:
    items: tuple[Node, ...]
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class MapOf:
    entries: tuple[tuple[Node, Node], ...]
    start: int
    end: int


Node = Literal | Name | Select | Call | ListOf | MapOf


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str
    start: int
    end: int


def _tokens(text: str) -> list[_Token]:
    found: list[_Token] = []
    at = 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            raise ConditionProblem(f"unexpected character {text[at]!r}", at)
        if match.lastgroup != "space":
            assert match.lastgroup is not None
            kind = "operator" if match[0] == "in" else match.lastgroup
            found.append(_Token(kind, match[0], match.start(), match.end()))
        at = match.end()
    found.append(_Token("end", "the end", len(text), len(text)))
    return found


@dataclass(slots=True)
class _Parser:
    tokens: list[_Token]
    at: int = 0
    depth: int = field(default=0)

    @property
    def token(self) -> _Token:
        return self.tokens[self.at]

    def take(self) -> _Token:
        token = self.token
        self.at += 1
        return token

    def accept(self, *operators: str) -> _Token | None:
        if self.token.kind == "operator" and self.token.text in operators:
            return self.take()
        return None

    def expect(self, operator: str) -> _Token:
        token = self.accept(operator)
        if token is None:
            raise ConditionProblem(f'expected "{operator}" instead of {_shown(self.token)}', self.token.start)
        return token

    def expression(self) -> Node:
        self.depth += 1
        if self.depth > _DEEPEST:
            raise ConditionProblem(f"nested more than {_DEEPEST} deep", self.token.start)
        node = self.binary(0)
        if mark := self.accept("?"):
            then = self.binary(0)
            self.expect(":")
            other = self.expression()
            node = Call("_?_:_", None, (node, then, other), node.start, other.end, mark.start)
        self.depth -= 1
        return node

    _LEVELS = (("||",), ("&&",), tuple(_RELATIONS), ("+", "-"), ("*", "/", "%"))

    def binary(self, level: int) -> Node:
        if level == len(self._LEVELS):
            return self.unary()
        left = self.binary(level + 1)
        count = 0
        while mark := self.accept(*self._LEVELS[level]):
            count += 1
            if count > _LONGEST_CHAIN:
                raise ConditionProblem(f"more than {_LONGEST_CHAIN} operators in a row", mark.start)
            right = self.binary(level + 1)
            left = Call(f"_{mark.text}_", None, (left, right), left.start, right.end, mark.start)
        return left

    def unary(self) -> Node:
        marks = []
        while mark := self.accept("!", "-"):
            marks.append(mark)
        if len(marks) > _DEEPEST or len({mark.text for mark in marks}) > 1:
            raise ConditionProblem("too many signs in a row", marks[0].start)
        node = self.member()
        for mark in reversed(marks):
            node = Call(f"{mark.text}_", None, (node,), mark.start, node.end, mark.start)
        return node

    def member(self) -> Node:
        node = self.primary()
        for _ in range(_DEEPEST):
            if self.accept("."):
                name = self.name()
                if self.accept("("):
                    arguments, end = self.items(")")
                    node = Call(name.text, node, arguments, node.start, end, name.start)
                else:
                    node = Select(node, name.text, node.start, name.end, name.start)
            elif mark := self.accept("["):
                index = self.expression()
                end = self.expect("]").end
                node = Call("_[_]", None, (node, index), node.start, end, mark.start)
            else:
                return node
        raise ConditionProblem(f"more than {_DEEPEST} members in a row", self.token.start)

    def name(self) -> _Token:
        if self.token.kind != "name":
            raise ConditionProblem(f"expected a name instead of {_shown(self.token)}", self.token.start)
        return self.take()

    def primary(self) -> Node:
        token = self.take()
        match token.kind:
            case "string":
                plain = token.text[1:-1]
                raw = token.text[0] in "rR" or token.text[:3] in ('"""', "'''") or "\\" in plain
                return Literal("string", None if raw else plain, token.start, token.end)
            case "int" | "double":
                return Literal(token.kind, token.text, token.start, token.end)
            case "name" if token.text in ("true", "false"):
                return Literal("bool", token.text, token.start, token.end)
            case "name" if token.text == "null":
                return Literal("null", None, token.start, token.end)
            case "name" if token.text in _RESERVED:
                raise ConditionProblem(f'"{token.text}" is a reserved word', token.start)
            case "name":
                if self.accept("("):
                    arguments, end = self.items(")")
                    return Call(token.text, None, arguments, token.start, end, token.start)
                return Name(token.text, token.start, token.end)
        match token.text:
            case "(":
                node = self.expression()
                self.expect(")")
                return node
            case "[":
                items, end = self.items("]")
                return ListOf(items, token.start, end)
            case "{":
                return self.mapping(token)
        raise ConditionProblem(f"unexpected {_shown(token)}", token.start)

    def items(self, closing: str) -> tuple[tuple[Node, ...], int]:
        found: list[Node] = []
        while not (end := self.accept(closing)):
            if found:
                self.expect(",")
            found.append(self.expression())
        return tuple(found), end.end

    def mapping(self, opening: _Token) -> Node:
        entries: list[tuple[Node, Node]] = []
        while not (end := self.accept("}")):
            if entries:
                self.expect(",")
            key = self.expression()
            self.expect(":")
            entries.append((key, self.expression()))
        return MapOf(tuple(entries), opening.start, end.end)


def _shown(token: _Token) -> str:
    return token.text if token.kind == "end" else f'"{token.text}"'


def parse(text: str) -> Node:
    """The syntax tree of a condition. Raises ConditionProblem."""
    if len(text) > LONGEST:
        raise ConditionProblem(f"longer than {LONGEST:,} characters", LONGEST)
    parser = _Parser(_tokens(text))
    node = parser.expression()
    if parser.token.kind != "end":
        raise ConditionProblem(f"unexpected {_shown(parser.token)}", parser.token.start)
    return node
