"""Type check of conditions: every name, every branch, before anything is decided with them.

Stricter than CEL itself where CEL would quietly answer false: comparing a text with a number, or with a word that the
fact can never be, is an error.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from taskgate.policy.cel_functions import FUNCTIONS, MACROS, METHODS, Overload
from taskgate.policy.cel_syntax import Call, ConditionProblem, ListOf, Literal, MapOf, Name, Node, Select
from taskgate.policy.fact_names import BOOL, DOUBLE, DURATION, DYN, INT, NULL, ROOTS, STRING, TIMESTAMP, Type
from taskgate.policy.problems import did_you_mean

_LITERALS = {"string": STRING, "int": INT, "double": DOUBLE, "bool": BOOL, "null": NULL}
_NUMBERS = ("int", "double")
_ORDERED = ("int", "double", "string", "timestamp", "duration")
#: operator → ((left, right, result), …)
_ARITHMETIC: dict[str, tuple[tuple[Type, Type, Type], ...]] = {
    "_+_": (
        (INT, INT, INT),
        (DOUBLE, DOUBLE, DOUBLE),
        (STRING, STRING, STRING),
        (TIMESTAMP, DURATION, TIMESTAMP),
        (DURATION, TIMESTAMP, TIMESTAMP),
        (DURATION, DURATION, DURATION),
    ),
    "_-_": (
        (INT, INT, INT),
        (DOUBLE, DOUBLE, DOUBLE),
        (TIMESTAMP, TIMESTAMP, DURATION),
        (TIMESTAMP, DURATION, TIMESTAMP),
        (DURATION, DURATION, DURATION),
    ),
    "_*_": ((INT, INT, INT), (DOUBLE, DOUBLE, DOUBLE)),
    "_/_": ((INT, INT, INT), (DOUBLE, DOUBLE, DOUBLE)),
    "_%_": ((INT, INT, INT),),
}


@dataclass(slots=True)
class Checked:
    """What a condition is: its type, the facts it looks at (`principal.bundle`), and the parts that can be evaluated at
    once because they are made of literals only (a regular expression, a timestamp): (start, end) in the text."""

    type: Type = DYN
    uses: set[str] = field(default_factory=set)
    constants: list[tuple[int, int]] = field(default_factory=list)
    patterns: list[tuple[int, int]] = field(default_factory=list)
    problems: list[ConditionProblem] = field(default_factory=list)


def _a(kind: Type) -> str:
    """`a string`, `an int`."""
    return f"{'an' if kind.name[0] in 'aeiou' else 'a'} {kind}"


def check(node: Node) -> Checked:
    """Check a whole condition. Every problem is in the result; nothing is raised."""
    found = Checked()
    checker = _Checker(found)
    found.type = checker.visit(node, {}, 0)
    if found.type.name != "bool" and not found.problems:
        found.problems.append(ConditionProblem(f"a condition is true or false, this is {_a(found.type)}", 0))
    return found


def _fits(left: Type, right: Type) -> bool:
    """Whether values of the two can ever be equal."""
    if "dyn" in (left.name, right.name) or "null" in (left.name, right.name):
        return True
    if left.name in _NUMBERS and right.name in _NUMBERS:
        return True
    if left.name != right.name:
        return False
    return left.of is None or right.of is None or _fits(left.of, right.of)


@dataclass(slots=True)
class _Checker:
    found: Checked

    def problem(self, offset: int, message: str) -> Type:
        self.found.problems.append(ConditionProblem(message, offset))
        return DYN

    def visit(self, node: Node, variables: dict[str, Type], depth: int) -> Type:
        """The node's type. `variables` are bound by macros around it; `depth` counts those macros."""
        match node:
            case Literal():
                return _LITERALS[node.kind]
            case Name():
                return self._name(node, variables)
            case Select():
                return self._select(node, variables, depth)
            case ListOf():
                return Type("list", self._common([self.visit(item, variables, depth) for item in node.items]))
            case MapOf():
                for key, _ in node.entries:
                    if self.visit(key, variables, depth).name not in ("string", "dyn"):
                        self.problem(key.start, "the keys of a map are texts")
                return Type("map", self._common([self.visit(value, variables, depth) for _, value in node.entries]))
            case Call():
                return self._call(node, variables, depth)

    @staticmethod
    def _common(types: list[Type]) -> Type:
        return types[0] if types and all(kind == types[0] for kind in types) else DYN

    def _name(self, node: Name, variables: dict[str, Type]) -> Type:
        if node.name in variables:
            return variables[node.name]
        if node.name in ROOTS:
            return self.problem(node.start, f'"{node.name}" has to be followed by one of its facts')
        return self.problem(node.start, f'unknown name "{node.name}"{did_you_mean(node.name, [*ROOTS, *variables])}')

    def _select(self, node: Select, variables: dict[str, Type], depth: int) -> Type:
        if isinstance(node.operand, Name) and node.operand.name in ROOTS and node.operand.name not in variables:
            root = node.operand.name
            known = ROOTS[root].get(node.field)
            if known is None:
                return self.problem(
                    node.at, f'unknown fact "{root}.{node.field}"{did_you_mean(node.field, ROOTS[root])}'
                )
            self.found.uses.add(f"{root}.{node.field}")
            return known.type
        operand = self.visit(node.operand, variables, depth)
        if operand.name == "map":
            return operand.of or DYN
        if operand.name == "dyn":
            return DYN
        return self.problem(node.at, f'{_a(operand)} has no field "{node.field}"')

    def _call(self, node: Call, variables: dict[str, Type], depth: int) -> Type:
        name = node.function
        if node.target is None and name == "has":
            return self._has(node, variables, depth)
        if node.target is not None and name in MACROS:
            return self._macro(node, variables, depth)
        if name.startswith("_") or name in ("!_", "-_"):
            return self._operator(node, [self.visit(part, variables, depth) for part in node.arguments])
        return self._function(node, variables, depth)

    def _has(self, node: Call, variables: dict[str, Type], depth: int) -> Type:
        if len(node.arguments) != 1 or not isinstance(node.arguments[0], Select):
            self.problem(node.at, "has() takes a fact, such as has(principal.bundle)")
        else:
            self.visit(node.arguments[0], variables, depth)
        return BOOL

    def _macro(self, node: Call, variables: dict[str, Type], depth: int) -> Type:
        assert node.target is not None
        operand = self.visit(node.target, variables, depth)
        if operand.name not in ("list", "map", "dyn"):
            return self.problem(node.at, f"{node.function}() goes over a list, not {_a(operand)}")
        if depth:
            return self.problem(node.at, f"{node.function}() may not stand inside another one: its cost has no bound")
        if len(node.arguments) != 2 or not isinstance(node.arguments[0], Name):
            return self.problem(node.at, f"{node.function}() takes a name and an expression")
        variable = node.arguments[0].name
        if variable in ROOTS:
            return self.problem(node.arguments[0].start, f'"{variable}" is already the name of facts')
        element = STRING if operand.name == "map" else operand.of or DYN
        body = self.visit(node.arguments[1], {**variables, variable: element}, depth + 1)
        if node.function == "map":
            return Type("list", body)
        if body.name not in ("bool", "dyn"):
            self.problem(node.arguments[1].start, f"{node.function}() needs true or false, not {_a(body)}")
        return Type("list", element) if node.function == "filter" else BOOL

    def _operator(self, node: Call, types: list[Type]) -> Type:
        match node.function:
            case "_&&_" | "_||_" | "!_":
                for part, kind in zip(node.arguments, types, strict=True):
                    if kind.name not in ("bool", "dyn"):
                        self.problem(part.start, f"{node.function.strip('_')} needs true or false, not {_a(kind)}")
                return BOOL
            case "_?_:_":
                if types[0].name not in ("bool", "dyn"):
                    self.problem(node.arguments[0].start, f"? needs true or false, not {_a(types[0])}")
                if not _fits(types[1], types[2]):
                    return self.problem(node.at, f"? gives {_a(types[1])} or {_a(types[2])}: both have to be the same")
                return types[1] if types[1] == types[2] else DYN
            case "_==_" | "_!=_":
                return self._equality(node, types[0], types[1])
            case "_<_" | "_<=_" | "_>_" | "_>=_":
                kinds = {types[0].name, types[1].name} - {"dyn"}
                if not kinds <= set(_ORDERED) or (len(kinds) > 1 and not kinds <= set(_NUMBERS)):
                    self.problem(node.at, f"{_a(types[0])} and {_a(types[1])} cannot be put in order")
                return BOOL
            case "_in_":
                return self._membership(node, types[0], types[1])
            case "-_":
                if types[0].name not in (*_NUMBERS, "dyn"):
                    return self.problem(node.at, f"- needs a number, not {_a(types[0])}")
                return types[0]
            case "_[_]":
                return self._index(node, types[0], types[1])
        return self._arithmetic(node, types[0], types[1])

    def _equality(self, node: Call, left: Type, right: Type) -> Type:
        if not _fits(left, right):
            self.problem(node.at, f"{_a(left)} never equals {_a(right)}")
        for kind, other in ((left, node.arguments[1]), (right, node.arguments[0])):
            self._word(kind, other)
        return BOOL

    def _word(self, kind: Type, other: Node) -> None:
        if kind.values and isinstance(other, Literal) and other.value is not None and other.value not in kind.values:
            known = ", ".join(kind.values)
            self.problem(other.start, f'"{other.value}" is none of {known}{did_you_mean(other.value, kind.values)}')

    def _membership(self, node: Call, left: Type, right: Type) -> Type:
        if right.name not in ("list", "map", "dyn"):
            self.problem(node.at, f"in needs a list, not {_a(right)}")
        elif right.of is not None and not _fits(left, STRING if right.name == "map" else right.of):
            self.problem(node.at, f"{_a(left)} is never in {_a(right)}")
        if isinstance(node.arguments[1], ListOf):
            for item in node.arguments[1].items:
                self._word(left, item)
        return BOOL

    def _index(self, node: Call, operand: Type, index: Type) -> Type:
        wanted = {"list": "int", "map": "string"}.get(operand.name)
        if wanted is None and operand.name != "dyn":
            return self.problem(node.at, f"{_a(operand)} has no elements")
        if wanted is not None and index.name not in (wanted, "dyn"):
            return self.problem(node.at, f"{_a(operand)} is indexed by {wanted}, not by {index}")
        return operand.of or DYN

    def _arithmetic(self, node: Call, left: Type, right: Type) -> Type:
        if left.name == right.name == "list" and node.function == "_+_":
            return left if left == right else Type("list", DYN)
        if "dyn" in (left.name, right.name):
            return DYN
        for one, two, result in _ARITHMETIC[node.function]:
            if (left.name, right.name) == (one.name, two.name):
                return result
        return self.problem(node.at, f"{node.function.strip('_')} is not defined for {_a(left)} and {_a(right)}")

    def _function(self, node: Call, variables: dict[str, Type], depth: int) -> Type:
        table = FUNCTIONS if node.target is None else METHODS
        overloads = table.get(node.function)
        operands = [*([] if node.target is None else [node.target]), *node.arguments]
        types = [self.visit(operand, variables, depth) for operand in operands]
        if overloads is None:
            return self.problem(node.at, f'unknown function "{node.function}"{did_you_mean(node.function, table)}')
        for overload in overloads:
            if len(types) == len(overload.takes) and all(
                "dyn" in (given.name, wanted.name) or given.name == wanted.name
                for given, wanted in zip(types, overload.takes, strict=True)
            ):
                self._constant(node, operands, overload)
                return overload.gives
        given = ", ".join(map(str, types))
        return self.problem(node.at, f"{node.function}() does not take ({given})")

    def _constant(self, node: Call, operands: list[Node], overload: Overload) -> None:
        argument = operands[-1]
        if overload.literal and not isinstance(argument, Literal):
            self.problem(argument.start, f"{node.function}() takes a text written out here")
        elif node.function == "matches":
            self.found.patterns.append((argument.start, argument.end))
        elif len(operands) == 1 and isinstance(argument, Literal):
            self.found.constants.append((node.start, node.end))
