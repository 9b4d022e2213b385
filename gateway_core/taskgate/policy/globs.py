"""Globs over names: `*` is any run of characters, dots included; `?` is one character; everything else is literal."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from functools import lru_cache

Matcher = Callable[[str], bool]


def _found(part: str, name: str, start: int, end: int) -> int:
    """Where `part` (in which `?` is any character) first stands in `name[start:end]`; -1 where it does not."""
    if "?" not in part:
        return name.find(part, start, end)
    for at in range(start, end - len(part) + 1):
        if all(wanted in ("?", name[at + offset]) for offset, wanted in enumerate(part)):
            return at
    return -1


def _in_order(parts: list[str]) -> Matcher:
    """Matches names that are these parts with anything in between. Each part is taken where it first stands, which
    never has to be reconsidered: the cost is at most the length of the name times that of the glob."""
    first, *middle, last = parts

    def matches(name: str) -> bool:
        start, end = len(first), len(name) - len(last)
        if end < start or _found(first, name, 0, start) != 0 or _found(last, name, end, len(name)) != end:
            return False
        for part in middle:
            at = _found(part, name, start, end)
            if at < 0:
                return False
            start = at + len(part)
        return True

    return matches


def is_literal(pattern: str) -> bool:
    return "*" not in pattern and "?" not in pattern


def names_everything(pattern: str) -> bool:
    """True for globs that name nothing in particular: `*`, `*.*`, `?*`."""
    return not pattern.strip("*?.")


@lru_cache(maxsize=8192)
def matcher(pattern: str) -> Matcher:
    """A function that says whether a whole name matches. Equal patterns have the same one."""
    if is_literal(pattern):
        return pattern.__eq__
    body = pattern.strip("*")
    if is_literal(body) and "?" not in pattern:
        head, tail = pattern.startswith("*"), pattern.endswith("*")
        if not body:
            return lambda name: True
        if head and tail:
            return lambda name: body in name
        if tail:
            return lambda name: name.startswith(body)
        return lambda name: name.endswith(body)
    parts = re.split(r"\*+", pattern)
    if len(parts) == 1:
        return lambda name: len(name) == len(pattern) and _found(pattern, name, 0, len(name)) == 0
    return _in_order(parts)


class GlobSet:
    """Matches a name that any of its patterns matches."""

    __slots__ = ("everything", "globs", "literals", "patterns")

    def __init__(self, patterns: Iterable[str]) -> None:
        self.patterns = tuple(dict.fromkeys(patterns))
        self.literals = frozenset(pattern for pattern in self.patterns if is_literal(pattern))
        self.globs = tuple(matcher(pattern) for pattern in self.patterns if not is_literal(pattern))
        self.everything = any(not pattern.strip("*") for pattern in self.patterns)

    def __repr__(self) -> str:
        return f"GlobSet({list(self.patterns)})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, GlobSet) and self.patterns == other.patterns

    def __hash__(self) -> int:
        return hash(self.patterns)

    def matches(self, name: str) -> bool:
        return self.everything or name in self.literals or any(glob(name) for glob in self.globs)
