"""Lineage of INSERT, UPDATE, DELETE and MERGE: what they read, what flows where, what they return."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from taskgate.sql import expressions, from_items, queries, search_path, with_clause
from taskgate.sql.analysis import Analysis
from taskgate.sql.names import DefinitionsChanged, RelationCreated, SessionRelation
from taskgate.sql.scope import NO_SOURCES, Columns, Item, Range, Scope, Shape, Sources, Value, computed

Node = dict[str, Any]


class _Written:
    """The relation a statement writes to, and the sources of the values that flow into its columns."""

    def __init__(self, a: Analysis, name: Node, *effects: str) -> None:
        self.range = a.relation(name, *effects)
        a.modifies = True
        if effects != ("insert",):
            a.read |= self.range.shape.taint  # errors quote the whole row ("Failing row contains …")
        self._a = a
        self._into: dict[str, Sources] = {}
        for relation in self.range.locks:
            if relation == "pg_catalog.pg_settings":
                a.unknown("setting through pg_settings")  # its rule calls set_config
        for reading in a.readings(name):
            if reading.relation is not None and reading.relation.rules:
                a.incomplete(f"{reading.full_name} has rewrite rules that do more than the statement says")

    def flow(self, column: str | None, value: Value) -> None:
        """`value` is written into `column` (None: one that is not known). A column's own value handed back bare stays
        where the same masks apply."""
        if not value.sources:
            return
        own = self.range.shape.by_name.get(column or "")
        if own is None or not value.bare or value.sources != own.sources:
            self._a.flowing |= value.sources
        names = [column] if column else list(self.range.shape.by_name)
        for name in names:
            self._into[name] = self._into.get(name, NO_SOURCES) | value.sources

    def after(self) -> Shape:
        """Its columns as RETURNING sees them: a column that was written carries what flowed into it."""
        shape = self.range.shape
        if not self._into:
            return shape
        columns: Columns = tuple(
            (name, Value(value.sources | self._into.get(name, NO_SOURCES), value.bare)) for name, value in shape.columns
        )
        return Shape.of(columns, open=shape.open, taint=shape.taint.union(*self._into.values()))


def _insert(a: Analysis, fields: Node, outer: Scope | None) -> Shape:
    scope = Scope(outer)
    tables = with_clause.enter(a, fields.get("withClause"), scope)
    written = _Written(a, fields["relation"], "insert")
    named = [entry["ResTarget"]["name"] for entry in fields.get("cols", ())]
    targets = named or [name for name, _ in written.range.shape.columns]
    incoming = Shape()
    if "selectStmt" in fields:
        incoming = queries.query(a, fields["selectStmt"], scope)
        for position, (_, value) in enumerate(incoming.columns):
            known = position < len(targets) and not incoming.open and not written.range.shape.open
            written.flow(targets[position] if known else None, value)
        if incoming.open:
            written.flow(None, computed(incoming.taint))
    if "onConflictClause" in fields:
        _on_conflict(a, fields["onConflictClause"], written, incoming.taint, scope)
    with_clause.finish(tables)
    return _returning(a, fields, written, [], scope)


def _on_conflict(a: Analysis, fields: Node, written: _Written, incoming: Sources, scope: Scope) -> None:
    """The conflict target is compared with what is stored: it is used like a predicate."""
    inner = Scope(scope)
    inner.items = [Item(written.range.shape, [written.range])]
    infer = fields.get("infer", {})
    for element in infer.get("indexElems", ()):
        index = element["IndexElem"]
        if "name" in index:
            expressions.used(a, {"ColumnRef": {"fields": [{"String": {"sval": index["name"]}}]}}, inner)
        expressions.used(a, index.get("expr"), inner)
    expressions.used(a, infer.get("whereClause"), inner)
    if fields.get("action") != "ONCONFLICT_UPDATE":
        return
    for relation in written.range.locks:
        a.pair("update", relation, resolved=not a.is_unresolved(relation))
    a.read |= written.range.shape.taint
    excluded = Shape.of(
        tuple((name, Value(incoming)) for name, _ in written.range.shape.columns),
        open=written.range.shape.open,
        taint=incoming,
    )
    inner.items.append(Item(Shape(), [Range("excluded", excluded)]))
    _assigned(a, fields.get("targetList", ()), written, inner)
    expressions.used(a, fields.get("whereClause"), inner)


def _update(a: Analysis, fields: Node, outer: Scope | None) -> Shape:
    scope = Scope(outer)
    tables = with_clause.enter(a, fields.get("withClause"), scope)
    written = _Written(a, fields["relation"], "update")
    scope.items = [Item(written.range.shape, [written.range])]
    for entry in fields.get("fromClause", ()):
        from_items.add(a, entry, scope)
    _assigned(a, fields.get("targetList", ()), written, scope)
    a.wheres.append("whereClause" in fields)
    expressions.used(a, fields.get("whereClause"), scope)
    with_clause.finish(tables)
    return _returning(a, fields, written, scope.items[1:], scope)


def _delete(a: Analysis, fields: Node, outer: Scope | None) -> Shape:
    scope = Scope(outer)
    tables = with_clause.enter(a, fields.get("withClause"), scope)
    written = _Written(a, fields["relation"], "delete")
    scope.items = [Item(written.range.shape, [written.range])]
    for entry in fields.get("usingClause", ()):
        from_items.add(a, entry, scope)
    a.wheres.append("whereClause" in fields)
    expressions.used(a, fields.get("whereClause"), scope)
    with_clause.finish(tables)
    return _returning(a, fields, written, scope.items[1:], scope)


_MERGE_EFFECTS = {"CMD_INSERT": "insert", "CMD_UPDATE": "update", "CMD_DELETE": "delete"}


def _merge(a: Analysis, fields: Node, outer: Scope | None) -> Shape:
    scope = Scope(outer)
    tables = with_clause.enter(a, fields.get("withClause"), scope)
    clauses = [entry["MergeWhenClause"] for entry in fields.get("mergeWhenClauses", ())]
    effects = {_MERGE_EFFECTS[kind] for clause in clauses if (kind := clause.get("commandType")) in _MERGE_EFFECTS}
    written = _Written(a, fields["relation"], "merge", *sorted(effects))
    source = from_items.item(a, fields["sourceRelation"], scope)
    scope.items = [source, Item(written.range.shape, [written.range])]
    expressions.used(a, fields.get("joinCondition"), scope)
    a.wheres.append(True)
    for clause in clauses:
        expressions.used(a, clause.get("condition"), scope)
        if clause.get("commandType") == "CMD_INSERT":
            named = [entry["ResTarget"]["name"] for entry in clause.get("targetList", ())]
            names = named or [name for name, _ in written.range.shape.columns]
            for position, expression in enumerate(clause.get("values", ())):
                column = names[position] if position < len(names) and not written.range.shape.open else None
                written.flow(column, expressions.value(a, expression, scope))
        else:
            _assigned(a, clause.get("targetList", ()), written, scope)
    with_clause.finish(tables)
    return _returning(a, fields, written, [source], scope, ordered=False)


def _assigned(a: Analysis, nodes: Iterable[Node], written: _Written, scope: Scope) -> None:
    for node in nodes:
        fields = node["ResTarget"]
        expressions.used_all(a, fields.get("indirection"), scope)
        expression = fields.get("val", {})
        if "MultiAssignRef" in expression:  # (a, b) = (SELECT …) or ROW(…): each may get any of it
            value = expressions.value(a, expression["MultiAssignRef"]["source"], scope)
            written.flow(fields["name"], computed(value.sources))
        else:
            written.flow(fields["name"], expressions.value(a, expression, scope))


def _returning(
    a: Analysis, fields: Node, written: _Written, others: list[Item], scope: Scope, *, ordered: bool = True
) -> Shape:
    """RETURNING reads the rows it gives back, so it is a select of the relation too. `ordered` false: `*` has another
    order than we claim to know (MERGE)."""
    clause = fields.get("returningClause")
    if not clause:
        return Shape()
    for relation in written.range.locks:
        a.pair("select", relation, resolved=not a.is_unresolved(relation))
    after = written.after()
    inner = Scope(scope.parent)
    inner.tables = scope.tables
    named = Range(written.range.name, after, written.range.schema, written.range.locks, stored=True)
    inner.items = [Item(after, [named]), *others]
    hidden = []
    for option in clause.get("options", ()):
        hidden.append(option["ReturningOption"]["value"])
    versions = {"old", "new", *hidden}
    inner.items.append(Item(Shape(), [Range(name, after, stored=True) for name in sorted(versions)]))
    result = queries.targets(a, clause.get("exprs", []), inner)
    if not ordered and any("A_Star" in str(node) for node in clause.get("exprs", ())):
        return Shape.of(result.columns, open=True, taint=result.taint)
    return result


def into(a: Analysis, fields: Node, result: Shape, *, effect: str = "ddl") -> None:
    """SELECT INTO, CREATE TABLE AS, CREATE MATERIALIZED VIEW: a relation made of a query's result."""
    name = fields["rel"]
    schema, table = a.creation_name(name)
    full_name = f"{schema}.{table}" if schema else table
    a.pair(effect, full_name, resolved=bool(schema))
    a.flowing |= result.taint
    created = result.renamed([entry["String"]["sval"] for entry in fields.get("colNames", ())])
    columns = None if created.open else tuple((column, value.sources) for column, value in created.columns)
    a.name_changes.append(RelationCreated(SessionRelation(schema or search_path.TEMPORARY, table, columns)))
    a.name_changes.append(DefinitionsChanged())


KINDS: dict[str, Callable[[Analysis, Node, Scope | None], Shape]] = {
    "InsertStmt": _insert,
    "UpdateStmt": _update,
    "DeleteStmt": _delete,
    "MergeStmt": _merge,
}
