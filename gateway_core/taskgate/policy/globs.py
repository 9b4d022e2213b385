"""Globs over names: `*` is any run of characters, dots included; `?` is one character; everything else is literal."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from functools import lru_cache

Matcher = Callable[[str], bool]


def _regex(pattern: str) -> re.Pattern[str]:
    """Runs of `*` are folded into one, so that matching stays linear for the globs people write."""
    folded = re.sub(r"\*+", "*", pattern)
    parts = {"*": ".*", "?": "."}
    return re.compile("".join(parts.get(char) or re.escape(char) for char in folded), re.DOTALL)


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
    fullmatch = _regex(pattern).fullmatch
    return lambda name: fullmatch(name) is not None


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
