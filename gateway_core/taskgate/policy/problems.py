"""Problems in policy files, each with its place."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass

from taskgate.errors import PolicyError


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """What is wrong (or, for a warning, doubtful) and where. `line` counts from 1; 0 is the file as a whole."""

    path: str
    line: int
    message: str
    warning: bool = False

    @property
    def place(self) -> str:
        return f"{self.path}:{self.line}" if self.line else self.path

    def __str__(self) -> str:
        return f"{self.place}: {'warning: ' if self.warning else ''}{self.message}"


def as_error(problems: Iterable[Problem]) -> PolicyError:
    """All of them in one error, in the order of files and lines."""
    found = sorted(set(problems))
    count = "1 problem" if len(found) == 1 else f"{len(found)} problems"
    return PolicyError("\n".join([f"the policy has {count}:", *(f"  {problem}" for problem in found)]))


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """` (did you mean "x"?)`, or nothing."""
    close = difflib.get_close_matches(word, sorted(known), n=1, cutoff=0.6)
    return f' (did you mean "{close[0]}"?)' if close else ""
