"""A result on its way to the client: what its columns are described as, fetched as, and what becomes of its rows.

Masked columns are described as `text` and fetched as text, so that every mask has text to work on; text has the same
bytes in both formats, so the client gets the format it asked for. (A column that becomes NULL always keeps its type.)
Where detectors search, a column whose type nobody can read in binary is described and fetched as text as well.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from taskgate.domain import MaskKind, MaskRule
from taskgate.errors import ClientFault, TargetFault
from taskgate.protocols.postgres import types
from taskgate.protocols.postgres.arrays import replace_elements
from taskgate.protocols.postgres.fields import Field
from taskgate.protocols.postgres.types import NOT_SEARCHED, OPAQUE_TEXT, TEXT_OID, Reading
from taskgate.speed import Sieve, count_rows, replace_cells, sift_rows

if TYPE_CHECKING:
    from taskgate.masking.plan import MaskAction, MaskPlan
    from taskgate.masking.scanner import Allowance, Scanner

UNSEARCHABLE = "unsearchable"  # counts cells that became NULL because nobody could look inside
_MOST_RECIPES = 16  # a client may ask for any mix of formats
_ADDRESS_DETECTORS = frozenset({"ipv4", "ipv6", "mac"})


def insist_on_rows(frames: bytes) -> None:
    """For rows that nothing is done to: all of one shape, every cell inside its row. Raises TargetFault."""
    try:
        count_rows(frames, int.from_bytes(frames[5:7], "big"))
    except ValueError as error:
        raise TargetFault(f"the target sent malformed rows: {error}") from None


class ResultMasker:
    """What a mask plan means for a result with these fields (as the server describes them).

    Raises MaskingFault where plan and result do not fit together."""

    def __init__(self, plan: MaskPlan, fields: Sequence[Field]) -> None:
        self._plan = plan
        self._fields = tuple(fields)
        origins = [(field.table_oid, field.attnum) if field.table_oid else None for field in fields]
        names = [field.name.decode("utf-8", "replace") for field in fields]
        self._rules = plan.column_rules(list(zip(names, origins, strict=True)))
        self._spared = plan.spared_columns(origins)
        scanner = plan.scanner
        self._scanner = scanner if scanner is not None and scanner.searches else None
        self._addresses = not _ADDRESS_DETECTORS.isdisjoint(plan.detectors)
        self._as_text = tuple(
            rule.kind is not MaskKind.NULL if rule else self._scanner is not None and self._reading(index, True) is None
            for index, rule in enumerate(self._rules)
        )
        self._recipes: dict[tuple[int, ...], Recipe] = {}
        self.identity = not any(self._rules) and (
            self._scanner is None
            or all(self._reading(index, True) is NOT_SEARCHED for index in range(len(self._fields)))
        )
        """Rows and their description pass as they are."""

    def described(self, asked: Sequence[int] | None = None) -> tuple[Field, ...]:
        """The fields as the client sees them. `asked`: the format codes of its Bind, when a portal is described."""
        formats = None if asked is None else self._codes(asked)
        described = []
        for index, field in enumerate(self._fields):
            seen = field if formats is None else replace(field, format=formats[index])
            if self._rules[index] is not None:
                seen = replace(seen, table_oid=0, attnum=0)
            if self._as_text[index]:
                seen = replace(seen, type_oid=TEXT_OID, typlen=-1, typmod=-1)
            described.append(seen)
        return tuple(described)

    def fetch_formats(self, asked: Sequence[int]) -> list[int]:
        """The format codes for the Bind to the server, for the client's (none, one for all, or one a column)."""
        if not any(self._as_text):
            return list(asked)
        return [0 if text else code for text, code in zip(self._as_text, self._codes(asked), strict=True)]

    def rewriter(self, formats: Sequence[int]) -> RowRewriter:
        """For rows that the server sends in these formats: the codes of the Bind it got, or each field's where it
        answers a simple query."""
        key = tuple(formats)
        recipe = self._recipes.get(key)
        if recipe is None:
            recipe = self._recipe(key)
            if len(self._recipes) < _MOST_RECIPES:
                self._recipes[key] = recipe
        return RowRewriter(recipe)

    def _recipe(self, formats: tuple[int, ...]) -> Recipe:
        codes = self._codes(formats)
        actions: list[MaskAction | None] = []
        readings: list[Reading] = []
        names: list[str] = []
        for index, (field, rule) in enumerate(zip(self._fields, self._rules, strict=True)):
            binary = codes[index] != 0
            found = NOT_SEARCHED if rule or self._scanner is None else self._reading(index, binary)
            if rule is not None:
                actions.append(self._action(rule, field, binary))
            else:
                actions.append(None if found is not None else True)
            readings.append(found or NOT_SEARCHED)
            names.append(rule.id if rule else UNSEARCHABLE)
        return Recipe.of(tuple(actions), tuple(names), tuple(readings), self._scanner)

    def _action(self, rule: MaskRule, field: Field, binary: bool) -> MaskAction:
        action = self._plan.action(rule)
        if binary and callable(action) and field.type_oid not in types.TEXT_LIKE:
            # A binary cursor: there is no text to show a part of, or to hash as everywhere else.
            return self._plan.action(replace(rule, kind=MaskKind.REDACT))
        return action

    def _reading(self, index: int, binary: bool) -> Reading | None:
        """How the cells of a column are searched; None where nobody can look inside."""
        field = self._fields[index]
        if self._spared[index] or (field.type_oid in types.ADDRESSES and not self._addresses):
            return NOT_SEARCHED
        found = types.reading(field.type_oid, binary)
        return OPAQUE_TEXT if found is None and not binary else found

    def _codes(self, codes: Sequence[int]) -> list[int]:
        if len(codes) == len(self._fields):
            return list(codes)
        if len(codes) > 1:
            raise ClientFault(f"bind message has {len(codes)} result formats but query has {len(self._fields)} columns")
        return list(codes or (0,)) * len(self._fields)


_CLOSED = Sieve(0, b"", {})


@dataclass(frozen=True, slots=True)
class Recipe:
    """What becomes of each column's cells: the part of a rewriter that all results of a statement share."""

    actions: tuple[MaskAction | None, ...] | None  # None: no column is masked as a whole
    names: tuple[str, ...]  # what to count a masked cell of each column under
    readings: tuple[Reading, ...]
    kinds: bytes
    scanner: Scanner | None  # None: no column is searched
    sieve: Sieve

    @classmethod
    def of(
        cls,
        actions: tuple[MaskAction | None, ...],
        names: tuple[str, ...],
        readings: tuple[Reading, ...],
        scanner: Scanner | None,
    ) -> Recipe:
        kinds = bytes(reading.kind for reading in readings)
        masks = actions if any(action is not None for action in actions) else None
        searching = scanner if any(kinds) else None
        return cls(masks, names, readings, kinds, searching, searching.sieve if searching else _CLOSED)


class RowRewriter:
    """Rewrites the rows of one result, batch by batch. `counts`: masked cells by mask or detector."""

    __slots__ = ("_found", "_masked", "_recipe")

    def __init__(self, recipe: Recipe) -> None:
        self._recipe = recipe
        self._masked = [0] * len(recipe.names)
        self._found: dict[str, int] | None = None

    @property
    def counts(self) -> dict[str, int]:
        counts = dict(self._found or {})
        for name, masked in zip(self._recipe.names, self._masked, strict=True):
            if masked:
                counts[name] = counts.get(name, 0) + masked
        return counts

    def rewrite(self, frames: bytes) -> bytes:
        """Whole DataRow messages in, whole DataRow messages out; the same object where nothing in them changes.

        Raises TargetFault on rows that are not what the server announced: then nothing of them may go on."""
        recipe = self._recipe
        try:
            if recipe.scanner is None and recipe.actions is None:
                count_rows(frames, len(recipe.readings))
                return frames
            frames, joined, ends, cells = sift_rows(frames, recipe.actions, self._masked, recipe.kinds, recipe.sieve)
            if recipe.scanner is not None and joined:
                hits = recipe.scanner.hits(joined)
                return self._opened(recipe.scanner, frames, ends, cells, hits) if hits else frames
        except ValueError as error:
            raise TargetFault(f"the target sent malformed rows: {error}") from None
        return frames

    def _opened(
        self, scanner: Scanner, frames: bytes, ends: Sequence[int], cells: Sequence[int], hits: list[int]
    ) -> bytes:
        """The rows with what is found replaced. `ends`, `cells`: of `sift_rows`; `hits`: offsets in what it joined."""
        edits: list[tuple[int, bytes | None]] = []
        allowance = scanner.allowance()
        counts = self._found = {} if self._found is None else self._found
        looked_at = 0  # so many bytes of what is joined belong to cells that have been opened
        index = 0
        for hit in hits:
            if hit < looked_at:
                continue  # another view of the same cell
            index = bisect_right(ends, hit, index)
            looked_at, at, column = ends[index], cells[2 * index], cells[2 * index + 1]
            begin = at + 4
            cell = frames[begin : begin + int.from_bytes(frames[at:begin], "big")]
            replaced, rules = self._replaced(scanner, cell, self._recipe.readings[column], allowance)
            if rules:
                edits.append((at, replaced))
                for rule in rules:
                    counts[rule.id] = counts.get(rule.id, 0) + 1
        return replace_cells(frames, edits) if edits else frames

    def _replaced(
        self, scanner: Scanner, cell: bytes, reading: Reading, allowance: Allowance
    ) -> tuple[bytes | None, list[MaskRule]]:
        if not reading.elements:
            return scanner.replace(cell, reading.kind, carries=reading.carries, allowance=allowance)
        found: dict[MaskRule, None] = {}

        def element(value: bytes) -> bytes | None:
            replaced, rules = scanner.replace(value, allowance=allowance)
            found.update(dict.fromkeys(rules))
            return replaced

        return replace_elements(cell, element), list(found)
