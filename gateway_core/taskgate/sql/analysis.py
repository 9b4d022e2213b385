"""One statement's findings while its tree is walked, and the look-ups that the walk needs.

`Analysis` only ever adds: a pair, a column read, a reason why the statement is not fully understood. Every construct
that is not recognised ends in `incomplete`, so that forgetting a case makes the answer stricter.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from taskgate.domain import Facts, Missing, OutputColumn, Pair
from taskgate.sql import functions, search_path
from taskgate.sql.catalog import Catalog, Relation
from taskgate.sql.facts import StatementFacts
from taskgate.sql.names import NameChange, SessionNames
from taskgate.sql.scope import OPEN, Range, Shape, Sources, Value

Node = dict[str, Any]
FactsT = TypeVar("FactsT", bound=Facts)


@dataclass(frozen=True, slots=True)
class Reading:
    """One thing a relation's name may mean."""

    full_name: str
    shape: Shape
    relation: Relation | None = None
    resolved: bool = True


def string(node: Node) -> str:
    """The text of a `String` node."""
    value: str = node.get("String", {}).get("sval", "")
    return value


def strings(nodes: Iterable[Node]) -> list[str]:
    return [string(node) for node in nodes]


class Analysis:
    """Findings of one statement. `shapes` are the view lineages of the catalogue."""

    def __init__(self, catalog: Catalog, path: tuple[str, ...], names: SessionNames, depth: int = 0) -> None:
        self.depth = depth
        self.catalog = catalog
        self.path = path
        self.names = names
        self.pairs: dict[Pair, None] = {}
        self.notes: dict[str, None] = {}
        self.complete = True
        self.read: set[str] = set()
        self.outside: set[str] = set()
        self.flowing: set[str] = set()
        self.functions: set[str] = set()
        self.wheres: list[bool] = []
        self.literal_sensitive = False
        self.modifies = False  # rows are written, by the statement itself or in a WITH
        self.name_changes: list[NameChange] = []
        self._missing: dict[Missing, None] = {}
        self._unresolved: set[str] = set()
        self.first_column_names: dict[int, str] = {}  # of scalar subqueries, by the identity of their node
        self._changed = names.definitions_changed

    def child(self) -> Analysis:
        """For a statement inside this one (EXPLAIN, PREPARE, …)."""
        return Analysis(self.catalog, self.path, self.names, self.depth + 1)

    def include(self, facts: FactsT) -> FactsT:
        """Everything an inner statement does, this one does too."""
        self.pairs |= dict.fromkeys(facts.pairs)
        self.notes |= dict.fromkeys(facts.notes)
        self.complete = self.complete and facts.complete
        self.read |= facts.columns_read
        self.outside |= facts.columns_outside_output
        self.flowing |= facts.columns_flowing
        self.functions |= facts.functions
        self._missing |= dict.fromkeys(facts.missing)
        return facts

    # --- adding ---

    def pair(self, effect: str, target: str = "", *, resolved: bool = True) -> None:
        self.pairs[Pair(f"sql.{effect}", target, resolved)] = None

    def incomplete(self, note: str) -> None:
        self.complete = False
        self.notes[note] = None

    def missing(self, kind: str, name: str) -> None:
        """A name that nothing in the catalogue has."""
        self._missing[Missing(kind, name)] = None

    def unknown(self, what: str) -> None:
        """Something that no effect describes."""
        self.pair("unknown", what)
        self.incomplete(f"not understood: {what}")

    def used(self, sources: Sources) -> None:
        """These stand outside a bare output position."""
        if sources:
            self.outside |= sources

    # --- names ---

    def readings(self, name: Node) -> list[Reading]:
        """Everything the RangeVar may mean: what the catalogue says, and what this session may have created."""
        table: str = name["relname"]
        schema: str | None = name.get("schemaname")
        database: str | None = name.get("catalogname")
        found: list[Reading] = []
        if self.names.has_objects:
            schemas = search_path.effective(self.path) if schema is None else (schema,)
            for candidate in schemas:
                for created in self.names.relations(candidate, table):
                    found.append(Reading(f"{candidate}.{table}", _created_shape(candidate, table, created.columns)))
            if self._changed.renamed:
                self.incomplete("this session has renamed things since the catalogue was read")
        parts = [part for part in (database, schema, table) if part is not None]
        relation = self.catalog.resolve(parts, self.path)
        if relation is not None:
            found.append(Reading(relation.full_name, self.catalog.view_lineage.shape(relation), relation))
        if not found:
            self.notes[f"{'.'.join(parts)} is not in the catalogue"] = None
            self.missing("relation", ".".join(parts))
            self._unresolved.add(".".join(parts))
            found.append(Reading(".".join(parts), OPEN, resolved=False))
        return found

    def is_unresolved(self, full_name: str) -> bool:
        """Whether a reading's name stands for something the catalogue does not know."""
        return full_name in self._unresolved

    def knows(self, name: Node) -> bool:
        """Whether the RangeVar means something that the catalogue has or this session may have made."""
        parts = [name[key] for key in ("catalogname", "schemaname", "relname") if name.get(key)]
        schemas = (name["schemaname"],) if name.get("schemaname") else search_path.effective(self.path)
        return self.catalog.resolve(parts, self.path) is not None or any(
            self.names.relations(schema, name["relname"]) for schema in schemas
        )

    def places(self, name: Node) -> tuple[str, ...]:
        """Every full name that the RangeVar has if it is anything at all; none where that cannot be told. For what may
        rightly not be there (DROP … IF EXISTS), so that a rule about the name can speak about it."""
        table, schema = name["relname"], name.get("schemaname")
        if self._changed.renamed or name.get("catalogname") not in (None, self.catalog.database):
            return ()
        schemas = [schema] if schema else [each for each in self.path if each in self.catalog.schemas]
        return tuple(f"{each}.{table}" for each in schemas if each not in search_path.SYSTEM_SCHEMAS)

    def relation(self, name: Node, *effects: str) -> Range:
        """The relation of a RangeVar as a range, with a pair for every effect on everything it may mean."""
        readings = self.readings(name)
        for reading in readings:
            for effect in effects:
                self.pair(effect, reading.full_name, resolved=reading.resolved)
            if reading.relation is not None and reading.relation.is_view:
                self._view(reading.relation)
        alias = name.get("alias")
        shape = _either([reading.shape for reading in readings])
        if alias:
            shape = shape.renamed(strings(alias.get("colnames", ())))
        locks = tuple(reading.full_name for reading in readings)
        schema = readings[0].full_name.rpartition(".")[0] if len(readings) == 1 else None
        return Range(alias["aliasname"] if alias else name["relname"], shape, None if alias else schema, locks, True)

    def _view(self, relation: Relation) -> None:
        """What reading a view does beside returning its columns: it reads everything in its definition."""
        lineage = self.catalog.view_lineage.of(relation)
        self.read |= lineage.read
        for pair in lineage.calls:
            self.pairs[pair] = None
        for note in lineage.notes:
            self.incomplete(f"view {relation.full_name}: {note}")

    def creation_name(self, name: Node) -> tuple[str, str]:
        """(schema, name) of what a CREATE with this RangeVar makes."""
        table: str = name["relname"]
        if name.get("relpersistence") == "t":
            return search_path.TEMPORARY, table
        schema = name.get("schemaname") or search_path.creation_schema(self.path, self.catalog.schemas)
        return schema or "", table

    # --- code that a statement calls ---

    def call(self, parts: Sequence[str], kind: str = "function") -> bool:
        """A function (or operator) by its name. True when nothing but a listed one can be meant."""
        name = parts[-1]
        index = self.catalog.operators if kind == "operator" else self.catalog.functions
        if len(parts) > 1:
            schema = parts[-2]
            if schema == search_path.SYSTEM and (kind == "operator" or name in functions.SAFE):
                self.functions.add(f"{schema}.{name}")
                return True
            if kind != "operator" and functions.is_safe(schema, name):
                self.functions.add(f"{schema}.{name}")
                return True
            self._unlisted(f"{schema}.{name}", kind, resolved=schema in index.get(name, ()))
            return False
        if self._changed.code:
            self.incomplete(f"this session has changed functions or types: what {kind} {name} is, is uncertain")
        shadows = self.catalog.shadowed(index, name, self.path)
        for schema in shadows:
            self._unlisted(f"{schema}.{name}", kind, resolved=True)
        if kind == "operator" or name in functions.SAFE:
            if kind != "operator":
                self.functions.add(f"pg_catalog.{name}")
            return not shadows
        if search_path.SYSTEM in index.get(name, ()):
            self._unlisted(f"pg_catalog.{name}", kind, resolved=True)
        elif not shadows:
            self._unlisted(name, kind, resolved=False)
        return False

    def _unlisted(self, name: str, kind: str, *, resolved: bool) -> None:
        if not resolved and kind == "function":
            self.missing("function", name)
        self.functions.add(name)
        self.pair("call", name, resolved=resolved)
        self.incomplete(f"calls {kind} {name}, which is not listed as safe")

    def operator(self, nodes: Iterable[Node]) -> None:
        self.call(strings(nodes), "operator")

    def implied_operator(self, name: str) -> None:
        """An operator that the grammar implies (IN, CASE x WHEN, USING …): resolved like a written one."""
        if self.catalog.operators or self._changed.code:
            self.call((name,), "operator")

    def type(self, type_name: Node) -> None:
        """A type that something is cast to: its conversion may be a user's function."""
        parts = strings(type_name.get("names", ()))
        if not parts:
            return
        name = parts[-1]
        schemas = self.catalog.types.get(name)
        if len(parts) > 1:
            candidates = [parts[-2]]
        else:
            candidates = [search_path.SYSTEM]
            if schemas:
                candidates += [schema for schema in self.path if schema in schemas]
            if self._changed.code:
                self.incomplete(f"this session has changed types: what {name} is, is uncertain")
        for schema in candidates:
            full_name = f"{schema}.{name}"
            function = self.catalog.casts.get(full_name)
            if function is not None:
                self._unlisted(function, "cast function", resolved=True)
            elif schema != search_path.SYSTEM and (schemas or {}).get(schema) not in ("e", "d", "c"):
                self.incomplete(f"a cast to {full_name} may run its own code")

    # --- the end ---

    def facts(
        self,
        tag: str,
        outputs: Shape | None = None,
        *,
        returns_rows: bool = False,
        changes: bool = False,
        literal_sensitive: bool = True,
    ) -> StatementFacts:
        """`outputs` None: nothing comes back."""
        columns: tuple[OutputColumn, ...] | None = ()
        if outputs is not None:
            self.read |= outputs.taint
            columns = None if outputs.open else tuple(_output(name, value) for name, value in outputs.columns)
        return StatementFacts(
            pairs=tuple(self.pairs),
            complete=self.complete,
            notes=tuple(self.notes),
            tag=tag,
            returns_rows=returns_rows,
            outputs=columns,
            columns_read=frozenset(self.read),
            columns_outside_output=frozenset(self.outside),
            columns_flowing=frozenset(self.flowing),
            functions=frozenset(self.functions),
            has_where=bool(self.wheres) and all(self.wheres),
            changes=changes or not self.complete,
            literal_sensitive=literal_sensitive or self.literal_sensitive,
            session_objects=self.names.has_objects,
            missing=tuple(self._missing),
            name_changes=tuple(self.name_changes),
        )


def _output(name: str, value: Value) -> OutputColumn:
    return OutputColumn(name, value.sources, value.bare)


def _created_shape(schema: str, table: str, columns: tuple[tuple[str, Sources], ...] | None) -> Shape:
    if columns is None:
        return OPEN
    return Shape.of(tuple((name, Value(sources | {f"{schema}.{table}.{name}"})) for name, sources in columns))


def _either(shapes: list[Shape]) -> Shape:
    """Something that has one of these shapes, not known which."""
    if len(shapes) == 1:
        return shapes[0]
    columns = tuple(column for shape in shapes for column in shape.columns)
    taint: Sources = frozenset().union(*(shape.taint for shape in shapes))
    return Shape.of(columns, open=True, taint=taint)
