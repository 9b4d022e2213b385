"""What a view's columns are made of, from its definition by the same lineage as any query; each view once.

The definition is what `pg_get_viewdef` says under an empty search_path: every name outside `pg_catalog` is qualified.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from taskgate.domain import Pair
from taskgate.errors import TaskgateError
from taskgate.sql.scope import Columns, Shape, Sources, Value, computed

if TYPE_CHECKING:
    from taskgate.sql.catalog import Catalog, Relation


@dataclass(frozen=True, slots=True)
class ViewFacts:
    """`read`: base columns anywhere in the definition. `calls`: unlisted functions in it. `notes`: why it is not fully
    understood."""

    columns: Columns
    read: Sources
    calls: tuple[Pair, ...] = ()
    notes: tuple[str, ...] = ()


class ViewLineage:
    """The lineages of one catalogue, worked out on demand and kept. Threads may fill it at the same time: the worst
    case is the same work done twice."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._views: dict[int, ViewFacts] = {}
        self._shapes: dict[int, Shape] = {}
        self._working: set[int] = set()
        self._carriers: dict[str, tuple[str, ...]] | None = None

    def shape(self, relation: Relation) -> Shape:
        """The columns of any relation, with the columns that stand behind them."""
        shape = self._shapes.get(relation.oid)
        if shape is None:
            shape = Shape.of(self.of(relation).columns if relation.is_view else self._stored(relation))
            if relation.oid not in self._working:
                self._shapes[relation.oid] = shape
        return shape

    def of(self, relation: Relation) -> ViewFacts:
        """The lineage of a view. A definition that cannot be analysed taints every column with all it could read."""
        facts = self._views.get(relation.oid)
        if facts is None:
            if relation.oid in self._working:  # a recursive view refers to itself through WITH only; be safe
                return ViewFacts(self._own(relation), frozenset(), (), ("refers to itself",))
            self._working.add(relation.oid)
            try:
                facts = self._analysed(relation)
            finally:
                self._working.discard(relation.oid)
            self._views[relation.oid] = facts
        return facts

    def carriers(self, column: str) -> tuple[str, ...]:
        """Columns of views that `column`'s value may reach."""
        if self._carriers is None:
            found: dict[str, list[str]] = {}
            for relation in self._catalog.relations:
                if relation.is_view:
                    for name, value in self.of(relation).columns:
                        for source in value.sources:
                            found.setdefault(source, []).append(f"{relation.full_name}.{name}")
            self._carriers = {source: tuple(columns) for source, columns in found.items()}
        return self._carriers.get(column, ())

    def _stored(self, relation: Relation) -> Columns:
        ancestors = self._catalog.ancestors(relation) if relation.parents else ()
        columns = []
        for column in relation.columns:
            sources = {f"{relation.full_name}.{column.name}"}
            sources |= {f"{kin.full_name}.{column.name}" for kin in ancestors if column.name in kin.by_name}
            columns.append((column.name, Value(frozenset(sources))))
        return tuple(columns)

    def _own(self, relation: Relation) -> Columns:
        return tuple(
            (column.name, Value(frozenset({f"{relation.full_name}.{column.name}"}))) for column in relation.columns
        )

    def _analysed(self, relation: Relation) -> ViewFacts:
        from taskgate.sql.postgres import analyze_view

        own = self._own(relation)
        try:
            analysis, result = analyze_view(relation.definition or "", self._catalog)
        except TaskgateError as error:
            everything = frozenset(self._catalog.column_names)
            columns = tuple((name, computed(value.sources | everything)) for name, value in own)
            return ViewFacts(columns, everything, (), (f"its definition cannot be analysed ({error})",))
        read = frozenset(analysis.read | result.taint)
        calls = tuple(pair for pair in analysis.pairs if pair.effect == "sql.call")
        notes = tuple(analysis.notes) if not analysis.complete else ()
        if result.open or len(result.columns) != len(own):
            columns = tuple((name, computed(value.sources | read)) for name, value in own)
            return ViewFacts(columns, read, calls, (*notes, "its columns are not fully known"))
        columns = tuple(
            (name, Value(value.sources | made.sources, made.bare))
            for (name, value), (_, made) in zip(own, result.columns, strict=True)
        )
        return ViewFacts(columns, read, calls, notes)
