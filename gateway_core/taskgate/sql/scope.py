"""What names mean inside one query: the things in FROM, their columns, and which table columns stand behind each.

PostgreSQL's rules (backend/parser/parse_relation.c): a column name is looked for in the innermost query first and then
outwards; only when it is a column nowhere can it be a whole row.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from taskgate.sql.faults import StatementTooComplex

if TYPE_CHECKING:
    from taskgate.sql.with_clause import CommonTable

Sources = frozenset[str]
NO_SOURCES: Sources = frozenset()

MOST_TARGETS = 1664  # PostgreSQL's MaxTupleAttributeNumber
MOST_COLUMNS = 250_000  # that one text may give names to: a tenth of a second's work

SYSTEM_COLUMNS = frozenset({"ctid", "xmin", "xmax", "cmin", "cmax", "tableoid"})


class Value(NamedTuple):
    """An expression's origin. `sources`: every table column whose value may reach it. `bare`: it is such a column
    itself, so that masking the cell hides the value."""

    sources: Sources = NO_SOURCES
    bare: bool = True


NOTHING = Value()


def computed(sources: Sources) -> Value:
    """The result of an expression over `sources`."""
    return Value(sources, bare=not sources)


Columns = tuple[tuple[str, Value], ...]


class _Effort(threading.local):
    """What is left of the columns a text may give names to. A few words can mean many: each query of
    `WITH b AS (SELECT x.*, y.* FROM a x, a y), c AS …` has twice the columns of the one before."""

    left = MOST_COLUMNS


_effort = _Effort()


@contextmanager
def effort() -> Iterator[None]:
    """Within, shapes of `MOST_COLUMNS` columns in all can be made; then StatementTooComplex is raised."""
    before, _effort.left = _effort.left, MOST_COLUMNS
    try:
        yield
    finally:
        _effort.left = before


def united(values: Iterable[Value]) -> Value:
    """A place where any of `values` may stand."""
    sources: Sources = NO_SOURCES
    bare = True
    for value in values:
        if value.sources:
            sources |= value.sources
        bare = bare and value.bare
    return Value(sources, bare)


@dataclass(slots=True)
class Shape:
    """Columns of something that rows come from, in order. `open`: it may have others, unknown to us, that carry `taint`
    (and then the positions of the known ones are not known either)."""

    columns: Columns = ()
    open: bool = False
    taint: Sources = NO_SOURCES
    by_name: dict[str, Value] = field(default_factory=dict)

    @classmethod
    def of(cls, columns: Columns, *, open: bool = False, taint: Sources = NO_SOURCES) -> Shape:  # noqa: A002
        _effort.left -= len(columns) + 1
        if _effort.left < 0:
            raise StatementTooComplex("the statement's queries have too many columns to be analysed")
        by_name: dict[str, Value] = {}
        for name, value in columns:
            by_name[name] = value if name not in by_name else united((by_name[name], value))
        whole = taint.union(*(value.sources for _, value in columns)) if columns else taint
        return cls(columns, open, whole, by_name)

    def renamed(self, names: list[str]) -> Shape:
        """With a column alias list; a list longer than what is known names unknown columns."""
        if not names:
            return self
        if self.open:
            return Shape.of(tuple((name, computed(self.taint)) for name in names), open=True, taint=self.taint)
        kept = [(names[i] if i < len(names) else name, value) for i, (name, value) in enumerate(self.columns)]
        return Shape.of(tuple(kept), taint=self.taint)


OPEN = Shape(open=True)


@dataclass(slots=True)
class Range:
    """A named thing in FROM. `schema` is set where the table's own name can be qualified. `locks` are the relations
    that FOR UPDATE of it locks."""

    name: str
    shape: Shape
    schema: str | None = None
    locks: tuple[str, ...] = ()
    stored: bool = False  # has system columns


@dataclass(slots=True)
class Item:
    """One entry of FROM, a join included: what `*` and unqualified names see of it, and the ranges inside it."""

    shape: Shape
    ranges: list[Range]
    locks: tuple[str, ...] = ()


class Scope:
    """The names one query sees; `parent` is the query around it. `tables` are its WITH queries by name."""

    __slots__ = ("constants", "items", "parent", "tables")

    def __init__(self, parent: Scope | None = None) -> None:
        self.parent = parent
        self.items: list[Item] = []
        self.tables: dict[str, CommonTable] = {}
        self.constants: dict[str, str] = {}  # columns that WHERE holds to one value

    def chain(self) -> Iterator[Scope]:
        scope: Scope | None = self
        while scope is not None:
            yield scope
            scope = scope.parent

    def common_table(self, name: str) -> CommonTable | None:
        for scope in self.chain():
            if name in scope.tables:
                return scope.tables[name]
        return None

    def column(self, name: str) -> Value | None:
        """An unqualified column; None where nothing visible can have it. The union where several can; where none is
        certain (only things of unknown columns may have it), a row of that name is one of them."""
        candidates: list[Value] = []
        for scope in self.chain():
            known = [item.shape.by_name[name] for item in scope.items if name in item.shape.by_name]
            if known:
                return known[0] if len(known) == 1 and not candidates else united([*candidates, *known])
            candidates += [computed(item.shape.taint) for item in scope.items if item.shape.open]
        if not candidates:
            return None
        row = self.range(name)
        return united([*candidates, computed(row.shape.taint)] if row else candidates)

    def range(self, name: str, schema: str | None = None) -> Range | None:
        """The thing in FROM that a qualifier means. With a schema it means a relation that has no alias, wherever it is
        (one whose schema is not certain only if there is no other)."""
        uncertain: Range | None = None
        for scope in self.chain():
            for item in scope.items:
                for found in item.ranges:
                    if found.name == name:
                        if schema is None or found.schema == schema:
                            return found
                        if found.schema is None:
                            uncertain = uncertain or found
        return uncertain

    def has_stored(self) -> bool:
        return any(found.stored for scope in self.chain() for item in scope.items for found in item.ranges)

    def everything(self) -> Sources:
        """Whatever a name that we do not understand could stand for."""
        taints = [item.shape.taint for scope in self.chain() for item in scope.items]
        return NO_SOURCES.union(*taints)
