"""Finds what a set of detectors looks for, and replaces it inside a value.

The gate is one RE2 alternation of all patterns, run over many cells at once (`hits`); only cells that it hits are
opened (`replace`). RE2 is linear and falls back to its slower engine when memory for the fast one runs out; its `Set`
does not, it then reports no match at all: a set only ever narrows down which patterns to try, it never decides.
In a cell too short for backtracking to matter Python's `re` runs the same patterns, since calling it costs a tenth.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache, reduce
from operator import or_
from typing import NamedTuple, Protocol

import re2

from taskgate.domain import MaskKind, MaskRule
from taskgate.masking.detectors import DETECTORS, Detector
from taskgate.masking.maskers import PLACEHOLDER, mask, strictest
from taskgate.masking.validators import IBAN_LENGTHS
from taskgate.speed import EVERYTHING, JSON, JSONB, TEXT, Sieve, in_strings, views

MOST_CANDIDATES = 2_000  # looked at in one go, beyond the first few of each value: some hundredths of a second
_FREE_CANDIDATES = 8
_SHORT = 128  # bytes
_NUMBER = frozenset(b"0123456789+-.eE")
_COMMON = frozenset(b" 0123456789")  # in almost every cell


class Match(Protocol):
    def span(self) -> tuple[int, int]: ...


Search = Callable[[bytes, int], Match | None]


class Finding(NamedTuple):
    """A value found: its span in the cell, its text as it was read, the mask it gets."""

    start: int
    end: int
    text: bytes
    rule: MaskRule


class TooManyCandidates(Exception):
    """A value with so many candidates that looking at each would hold up everybody else."""


class Allowance:
    """How many candidates may be looked at before others have waited long enough; with more, whole values are masked.
    One for each batch of rows: a value full of numbers that are almost cards costs a thousand ordinary ones."""

    __slots__ = ("left",)

    def __init__(self, left: int = MOST_CANDIDATES) -> None:
        self.left = left


class Patterns:
    """The compiled patterns of some detectors; shared by all scanners that look for these."""

    def __init__(self, detectors: tuple[Detector, ...]) -> None:
        options = re2.Options()
        options.encoding = re2.Options.Encoding.LATIN1
        options.log_errors = False
        options.max_mem = 64 << 20
        self.detectors = detectors
        self.each = tuple(re2.compile(detector.pattern, options).search for detector in detectors)
        self.short = tuple(
            (index, detector.literal, re.compile(detector.pattern).search) for index, detector in enumerate(detectors)
        )
        options.never_capture = True
        self.gate = re2.compile(b"|".join(b"(?:" + detector.pattern + b")" for detector in detectors), options)
        self.set = re2.Set.SearchSet(options)
        for detector in detectors:
            self.set.Add(detector.pattern)
        self.set.Compile()
        self.sieve = _sieve(detectors)


def _sieve(detectors: tuple[Detector, ...]) -> Sieve:
    """What lets pass whatever one of the detectors may find."""
    numbers = reduce(or_, (detector.number for detector in detectors), 0)
    marks = b"".join({detector.marks for detector in detectors})
    if not all(detector.marks or detector.number for detector in detectors) or not _COMMON.isdisjoint(marks):
        numbers |= EVERYTHING  # looking would be for nothing
    return Sieve(numbers, marks, IBAN_LENGTHS)


_NOTHING = Sieve(0, b"", {})


@lru_cache(maxsize=64)
def _patterns(names: tuple[str, ...]) -> Patterns | None:
    detectors = tuple(DETECTORS[name] for name in names if DETECTORS[name].column_name is None)
    return Patterns(detectors) if detectors else None


class Scanner:
    """Detectors with the masks for what they find. A name that is no detector's raises KeyError."""

    def __init__(self, rules: Mapping[str, MaskRule], hash_key: bytes) -> None:
        self._patterns = _patterns(tuple(sorted(rules)))
        self._hash_key = hash_key
        self._rules = (
            tuple(rules[detector.name] for detector in self._patterns.detectors) if self._patterns is not None else ()
        )
        self._by_column_name = tuple(
            (DETECTORS[name].column_name or "", rule) for name, rule in rules.items() if DETECTORS[name].column_name
        )

    @classmethod
    def of(cls, rules: Mapping[str, MaskRule], hash_key: bytes) -> Scanner:
        """The same scanner for the same rules and key."""
        return _scanner(tuple(rules.items()), hash_key)

    @staticmethod
    def allowance() -> Allowance:
        """For one batch of values."""
        return Allowance()

    @property
    def searches(self) -> bool:
        """False where all detectors go by a column's name."""
        return self._patterns is not None

    @property
    def sieve(self) -> Sieve:
        """For cells: those that it holds back need not be searched."""
        return self._patterns.sieve if self._patterns is not None else _NOTHING

    def named(self, column: str) -> MaskRule | None:
        """The mask of a column by its name, for values too plain to be recognised."""
        lowered = column.lower()
        return strictest(*(rule for part, rule in self._by_column_name if part in lowered))

    def hits(self, joined: bytes) -> list[int]:
        """Offsets of candidates in cells that are joined by NUL, at most one a view, ascending."""
        found: list[int] = []
        if self._patterns is None:
            return found
        search = self._patterns.gate.search
        match = search(joined)
        while match is not None:
            start, last = match.span()
            found.append(start)
            # The rest of this view is not looked at: one long value may hold millions of candidates.
            following = joined.find(b"\0", last) + 1
            match = search(joined, following) if following else None
        return found

    def replace(
        self, cell: bytes, kind: int = TEXT, *, carries: bool = True, allowance: Allowance | None = None
    ) -> tuple[bytes | None, list[MaskRule]]:
        """The cell with everything found replaced, and the masks that did it; the same cell where nothing is found.

        `kind` says how it is read (`taskgate.speed`). With `carries` false the type has no room for a placeholder:
        any finding makes the cell NULL."""
        try:
            findings = self.find(cell, kind, allowance)
        except TooManyCandidates:
            rule = strictest(*self._rules)
            return None, [rule] if rule else []
        if not findings:
            return cell, []
        rules = [findings[0].rule] if len(findings) == 1 else list(dict.fromkeys(found.rule for found in findings))
        if not carries or any(rule.kind is MaskKind.NULL for rule in rules):
            return None, rules
        if kind in (JSON, JSONB):
            return self._replace_in_json(cell, findings, start=1 if kind == JSONB else 0), rules
        return self._replace_spans(cell, findings), rules

    def clean(self, text: bytes) -> bool:
        """Whether nothing is found in a text that is plain ASCII; of others it is not said."""
        patterns = self._patterns
        if patterns is None:
            return True
        if not text.isascii():
            return False
        if len(text) > _SHORT or b"\\" in text:
            return not self.replace(text)[1]
        for _, literal, search in patterns.short:
            if literal in text and search(text, 0) is not None:
                return not self.replace(text)[1]
        return True

    def find(self, cell: bytes, kind: int = TEXT, allowance: Allowance | None = None) -> list[Finding]:
        """What is in the cell, in order, without overlaps. Raises TooManyCandidates, ValueError (not of its kind)."""
        found: list[Finding] = []
        allowance = allowance or Allowance()
        patterns = self._patterns
        if patterns is None:
            return found
        for view, places in views(cell, kind):
            if len(view) <= _SHORT:
                for index, literal, search in patterns.short:
                    if literal in view and (match := search(view, 0)) is not None:
                        self._confirm(index, search, match, view, places, found, allowance)
            elif patterns.gate.search(view) is not None:
                for index in patterns.set.Match(view) or range(len(patterns.each)):
                    if (match := patterns.each[index](view, 0)) is not None:
                        self._confirm(index, patterns.each[index], match, view, places, found, allowance)
        return _apart(found) if len(found) > 1 else found

    def scrub(self, text: str) -> str:
        """Free text with everything found replaced."""
        replaced, rules = self.replace(text.encode("utf-8", "surrogateescape"))
        if not rules:
            return text
        return (PLACEHOLDER if replaced is None else replaced).decode("utf-8", "replace")

    def _confirm(
        self,
        index: int,
        search: Search,
        match: Match | None,
        view: bytes,
        places: Sequence[int] | None,
        found: list[Finding],
        allowance: Allowance,
    ) -> None:
        """Adds the values behind the candidates of one pattern, from its first candidate on."""
        assert self._patterns is not None
        confirm = self._patterns.detectors[index].confirm
        looked_at = 0
        while match is not None:
            looked_at += 1
            if looked_at > _FREE_CANDIDATES:
                allowance.left -= 1
                if allowance.left < 0:
                    raise TooManyCandidates
            start, end = match.span()
            span = (start, end) if confirm is None else confirm(view, start, end)
            # A candidate that is none may hide the beginning of one that is.
            following = start + 1
            if span is not None:
                first, last = span
                if places is None:
                    found.append(Finding(first, last, view[first:last], self._rules[index]))
                else:
                    found.append(Finding(places[first], places[last], view[first:last], self._rules[index]))
                following = max(last, following)
            if following >= len(view):
                return
            match = search(view, following)

    def _masked(self, finding: Finding) -> bytes:
        return mask(finding.rule.kind, finding.text, self._hash_key) or PLACEHOLDER

    def _replace_spans(self, cell: bytes, findings: list[Finding]) -> bytes:
        pieces = []
        at = 0
        for finding in findings:
            pieces += [cell[at : finding.start], self._masked(finding)]
            at = finding.end
        pieces.append(cell[at:])
        return b"".join(pieces)

    def _replace_in_json(self, cell: bytes, findings: list[Finding], start: int) -> bytes | None:
        """Inside strings as anywhere; a number becomes a string. None (NULL) where a finding is neither."""
        document = cell[start:]
        spans = [(finding.start - start, finding.end - start) for finding in findings]
        inside = in_strings(document, [offset for first, last in spans for offset in (first, last - 1)])
        pieces, at = [cell[:start]], 0
        for index, (first, last) in enumerate(spans):
            masked = self._masked(findings[index])
            if inside[2 * index] and inside[2 * index + 1] and b'"' not in document[first:last]:
                pieces += [document[at:first], masked]
            elif not inside[2 * index] and all(byte in _NUMBER for byte in document[first:last]):
                while first > at and document[first - 1] in _NUMBER:
                    first -= 1
                while last < len(document) and document[last] in _NUMBER:
                    last += 1
                pieces += [document[at:first], b'"' + masked + b'"']
            else:
                return None
            at = last
        pieces.append(document[at:])
        return b"".join(pieces)


@lru_cache(maxsize=256)
def _scanner(rules: tuple[tuple[str, MaskRule], ...], hash_key: bytes) -> Scanner:
    return Scanner(dict(rules), hash_key)


def _apart(findings: list[Finding]) -> list[Finding]:
    """Overlapping findings as one with the strictest mask, in order."""
    findings.sort(key=lambda finding: (finding.start, -finding.end))
    apart: list[Finding] = []
    for finding in findings:
        if apart and finding.start < apart[-1].end:
            last = apart[-1]
            rule = strictest(last.rule, finding.rule) or last.rule
            longer = last if last.end >= finding.end else finding
            apart[-1] = Finding(last.start, max(last.end, finding.end), longer.text, rule)
        else:
            apart.append(finding)
    return apart
