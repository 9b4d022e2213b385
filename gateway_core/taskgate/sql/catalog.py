"""The target's catalogue as an immutable snapshot: what names mean.

A snapshot is built once and looked up many times; every index is a dictionary made at construction, or the first time
it is asked for. It can be made from plain values (tests, `policy explain` without a server: `catalog_json.py`) or read
from a server (`catalog_reader.py`). Functions, operators, types and casts are those outside `pg_catalog` only: what
PostgreSQL ships is known by `functions.py`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from taskgate.sql import search_path as paths

if TYPE_CHECKING:
    from taskgate.sql.views import ViewLineage

VIEWS = frozenset({"v", "m"})


@dataclass(frozen=True, slots=True)
class Column:
    """`number` is the attribute number of the row description; `type` a schema-qualified type name."""

    name: str
    number: int
    type: str = "pg_catalog.text"
    generated: bool = False


@dataclass(frozen=True)
class Relation:
    """A table, partitioned table, view, materialised view, foreign table or sequence (`kind` as in `pg_class.relkind`).

    `definition` is the query of a view; `parents` the oids it inherits from or is a partition of; `rules` is true when
    it has rewrite rules beside a view's own."""

    oid: int
    schema: str
    name: str
    columns: tuple[Column, ...] = ()
    kind: str = "r"
    definition: str | None = None
    parents: tuple[int, ...] = ()
    rules: bool = False

    @cached_property
    def full_name(self) -> str:
        return f"{self.schema}.{self.name}"

    @cached_property
    def by_name(self) -> dict[str, Column]:
        return {column.name: column for column in self.columns}

    @property
    def is_view(self) -> bool:
        return self.definition is not None and self.kind in VIEWS


@dataclass(frozen=True)
class Catalog:
    """Everything the analysis knows about one database. Equal contents have equal `version`s (a digest), so that a
    version stays the same across restarts and processes."""

    version: int = 0
    database: str = ""
    server_version: int = 180000
    relations: tuple[Relation, ...] = ()
    schemas: frozenset[str] = frozenset({"public", "pg_catalog", "information_schema"})
    functions: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # name → schemas
    operators: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # name → schemas
    types: Mapping[str, Mapping[str, str]] = field(default_factory=dict)  # name → schema → pg_type.typtype
    casts: Mapping[str, str] = field(default_factory=dict)  # target type → function, where the function is a user's

    @cached_property
    def _by_name(self) -> dict[str, dict[str, Relation]]:
        index: dict[str, dict[str, Relation]] = {}
        for relation in self.relations:
            index.setdefault(relation.schema, {})[relation.name] = relation
        return index

    @cached_property
    def _by_oid(self) -> dict[int, Relation]:
        return {relation.oid: relation for relation in self.relations}

    @cached_property
    def _children(self) -> dict[int, list[Relation]]:
        index: dict[int, list[Relation]] = {}
        for relation in self.relations:
            for parent in relation.parents:
                index.setdefault(parent, []).append(relation)
        return index

    @cached_property
    def view_lineage(self) -> ViewLineage:
        """What each view's columns are made of; worked out when a view is first asked for."""
        from taskgate.sql.views import ViewLineage

        return ViewLineage(self)

    def by_oid(self, oid: int) -> Relation | None:
        return self._by_oid.get(oid)

    def named(self, schema: str, name: str) -> Relation | None:
        relations = self._by_name.get(schema)
        return relations.get(name) if relations else None

    def resolve(self, parts: Sequence[str], search_path: Sequence[str]) -> Relation | None:
        """The relation that `parts` (`name`, `schema.name` or `database.schema.name`) means under `search_path` (as
        set, without the implicit schemas). Temporary relations belong to sessions and are never found here."""
        if len(parts) == 3:
            if self.database and parts[0] != self.database:
                return None
            parts = parts[1:]
        if len(parts) == 2:
            return self.named(parts[0], parts[1])
        name = parts[-1]
        for schema in paths.effective(tuple(search_path)):
            relation = self.named(schema, name)
            if relation is not None:
                return relation
        return None

    def origin(self, column: str) -> tuple[int, int] | None:
        """(table oid, attribute number) of `schema.table.column`, as a RowDescription carries it."""
        found = self._columns.get(column)
        return found if found is None else (found[0].oid, found[1].number)

    @cached_property
    def _columns(self) -> dict[str, tuple[Relation, Column]]:
        return {
            f"{relation.full_name}.{column.name}": (relation, column)
            for relation in self.relations
            for column in relation.columns
        }

    @cached_property
    def column_names(self) -> frozenset[str]:
        """Every `schema.table.column`."""
        return frozenset(self._columns)

    def ancestors(self, relation: Relation) -> tuple[Relation, ...]:
        """Every relation through which rows of `relation` can be read too: its parents and theirs."""
        found: dict[int, Relation] = {}
        waiting = list(relation.parents)
        while waiting:
            parent = self._by_oid.get(waiting.pop())
            if parent is not None and parent.oid not in found:
                found[parent.oid] = parent
                waiting.extend(parent.parents)
        return tuple(found.values())

    def closure(self, columns: Iterable[str]) -> frozenset[str]:
        """Every column that carries values of these, themselves included: the same column of parents, partitions and
        children, and outputs of views and materialised views over any of them."""
        reached: set[str] = set()
        waiting = list(columns)
        while waiting:
            column = waiting.pop()
            if column in reached:
                continue
            reached.add(column)
            found = self._columns.get(column)
            if found is not None:
                relation, attribute = found
                for kin in (*self._children.get(relation.oid, ()), *self.ancestors(relation)):
                    if attribute.name in kin.by_name:
                        waiting.append(f"{kin.full_name}.{attribute.name}")
            waiting.extend(self.view_lineage.carriers(column))
        return frozenset(reached)

    def shadowed(self, kind: Mapping[str, tuple[str, ...]], name: str, search_path: Sequence[str]) -> tuple[str, ...]:
        """Schemas of the path that have a user's function (or operator) of this name. PostgreSQL chooses among all of
        them by argument types before it looks at their order, so any of them may be the one that runs."""
        schemas = kind.get(name)
        if not schemas:
            return ()
        return tuple(schema for schema in schemas if schema in search_path and schema != paths.SYSTEM)
