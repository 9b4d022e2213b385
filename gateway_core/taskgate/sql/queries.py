"""Lineage of queries: SELECT, VALUES, set operations, and the data-modifying statements that can stand in a WITH."""

from __future__ import annotations

from typing import Any

from taskgate.sql import expressions, from_items, modifications, with_clause
from taskgate.sql.analysis import Analysis, string, strings
from taskgate.sql.column_names import column_name
from taskgate.sql.faults import StatementTooComplex
from taskgate.sql.scope import MOST_TARGETS, NOTHING, Columns, Scope, Shape, Sources, Value, computed, united

Node = dict[str, Any]


def query(a: Analysis, node: Node, outer: Scope | None) -> Shape:
    """The result columns of a SELECT, VALUES, TABLE, INSERT, UPDATE, DELETE or MERGE node."""
    kind, fields = next(iter(node.items()))
    if kind == "SelectStmt":
        return select(a, fields, outer)
    modification = modifications.KINDS.get(kind)
    if modification is None:
        a.unknown(kind)
        return Shape(open=True)
    return modification(a, fields, outer)


def select(a: Analysis, fields: Node, outer: Scope | None) -> Shape:
    """A SELECT of any form."""
    scope = Scope(outer)
    tables = with_clause.enter(a, fields.get("withClause"), scope)
    if fields.get("op", "SETOP_NONE") != "SETOP_NONE":
        result = _set_operation(a, fields, scope)
        _sorted(a, fields.get("sortClause"), result, None, scope)
    elif "valuesLists" in fields:
        result = _values(a, fields["valuesLists"], scope)
        _sorted(a, fields.get("sortClause"), result, None, scope)
    else:
        result = _simple(a, fields, scope)
    for limit in ("limitOffset", "limitCount"):
        expressions.used(a, fields.get(limit), scope)
    with_clause.finish(tables)
    if "intoClause" in fields:
        modifications.into(a, fields["intoClause"], result)
    return result


# --- one SELECT ---


def _simple(a: Analysis, fields: Node, scope: Scope) -> Shape:
    for entry in fields.get("fromClause", ()):
        from_items.add(a, entry, scope)
    scope.constants = _held(fields, scope)
    result = targets(a, fields.get("targetList", ()), scope)
    if "whereClause" in fields:
        expressions.used(a, fields["whereClause"], scope)
    _grouped(a, fields.get("groupClause"), result, fields, scope)
    expressions.used(a, fields.get("havingClause"), scope)
    for window in fields.get("windowClause", ()):
        window_fields = window["WindowDef"]
        for entry in ("partitionClause", "orderClause"):
            expressions.used_all(a, window_fields.get(entry), scope)
        for entry in ("startOffset", "endOffset"):
            expressions.used(a, window_fields.get(entry), scope)
    if "distinctClause" in fields:
        listed = [entry for entry in fields["distinctClause"] if entry]
        if listed:
            _grouped(a, listed, result, fields, scope)
        else:
            a.used(result.taint)
    _sorted(a, fields.get("sortClause"), result, fields.get("targetList"), scope)
    for clause in fields.get("lockingClause", ()):
        _lock(a, clause["LockingClause"], scope)
    return result


def _held(fields: Node, scope: Scope) -> dict[str, str]:
    """Columns of a single relation of `pg_catalog` that the whole WHERE holds to a constant."""
    condition = fields.get("whereClause", {}).get("A_Expr", {})
    column = condition.get("lexpr", {}).get("ColumnRef", {}).get("fields", ())
    value = expressions.constant(condition.get("rexpr", {}))
    plain = condition.get("kind") == "AEXPR_OP" and strings(condition.get("name", ())) == ["="]
    ranges = [found for item in scope.items for found in item.ranges]
    if not plain or value is None or len(column) != 1 or len(ranges) != 1 or ranges[0].schema != "pg_catalog":
        return {}
    return {string(column[0]): value}


def targets(a: Analysis, nodes: list[Node], scope: Scope) -> Shape:
    """A select list (or RETURNING list)."""
    columns: list[tuple[str, Value]] = []
    whole = True
    taint: Sources = frozenset()
    for node in nodes:
        fields = node["ResTarget"]
        expression = fields.get("val", {})
        star = _star(expression)
        if star is not None:
            shape = _expanded(a, star, scope)
            whole = whole and not shape.open
            taint |= shape.taint
            columns += [(name, expressions.referred(a, value)) for name, value in shape.columns]
            continue
        value = expressions.value(a, expression, scope)
        if _composite_star(expression):
            whole = False
            a.used(value.sources)
            value = computed(value.sources)
        columns.append((fields.get("name") or column_name(expression, a.first_column_names), value))
        if len(columns) > MOST_TARGETS:
            break
    if len(columns) > MOST_TARGETS:
        raise StatementTooComplex(f"a select list has at most {MOST_TARGETS} entries")
    return Shape.of(tuple(columns), open=not whole, taint=taint)


def _star(node: Node) -> list[str] | None:
    """`*` → [], `t.*` → ["t"], anything else → None."""
    fields = node.get("ColumnRef", {}).get("fields")
    return strings(fields[:-1]) if fields and "A_Star" in fields[-1] else None


def _composite_star(node: Node) -> bool:
    return any("A_Star" in entry for entry in node.get("A_Indirection", {}).get("indirection", ()))


def _expanded(a: Analysis, star: list[str], scope: Scope) -> Shape:
    if not star:
        shapes = [item.shape for item in scope.items]
        if len(shapes) == 1:
            return _mentioned(a, shapes[0])
        columns: Columns = tuple(column for shape in shapes for column in shape.columns)
        taint: Sources = frozenset().union(*(shape.taint for shape in shapes))
        return _mentioned(a, Shape.of(columns, open=any(shape.open for shape in shapes), taint=taint))
    owner = scope.range(star[-1], star[-2] if len(star) > 1 else None)
    if owner is not None:
        return _mentioned(a, owner.shape)
    a.incomplete(f"{'.'.join(star)}.* names nothing that the catalogue knows")
    a.missing("table", star[-1])
    return _mentioned(a, Shape(open=True, taint=scope.everything()))


def _mentioned(a: Analysis, shape: Shape) -> Shape:
    a.read |= shape.taint
    if shape.open:
        a.used(frozenset().union(*(value.sources for _, value in shape.columns if not value.bare)))
    return shape


# --- GROUP BY, DISTINCT ON, ORDER BY ---


def _grouped(a: Analysis, nodes: list[Node] | None, result: Shape, fields: Node, scope: Scope) -> None:
    """GROUP BY and DISTINCT ON: an input column, an output's name or number, or an expression."""
    if fields.get("groupDistinct"):
        a.used(result.taint if nodes else frozenset())
    for node in nodes or ():
        if "GroupingSet" in node:
            _grouped(a, node["GroupingSet"].get("content"), result, {}, scope)
        elif "RowExpr" in node:
            _grouped(a, node["RowExpr"].get("args"), result, {}, scope)
        else:
            _output_or_expression(a, node, result, scope)


def _sorted(a: Analysis, nodes: list[Node] | None, result: Shape, targets: list[Node] | None, scope: Scope) -> None:
    for node in nodes or ():
        fields = node["SortBy"]
        if "useOp" in fields:
            a.operator(fields["useOp"])
        _output_or_expression(a, fields.get("node", {}), result, scope)


def _output_or_expression(a: Analysis, node: Node, result: Shape, scope: Scope) -> None:
    if "A_Const" in node:
        a.literal_sensitive = True
        number = node["A_Const"].get("ival", {}).get("ival", 0)
        if result.open or not 0 < number <= len(result.columns):
            a.used(result.taint)
        else:
            a.used(result.columns[number - 1][1].sources)
        return
    fields = node.get("ColumnRef", {}).get("fields", ())
    if len(fields) == 1 and "String" in fields[0]:
        name = string(fields[0])
        named = result.by_name.get(name)
        if named is not None:
            a.used(named.sources)
            found = scope.column(name)
            if found is not None:
                a.used(expressions.referred(a, found).sources)
            return
    expressions.used(a, node, scope)


# --- FOR UPDATE, FOR SHARE ---


def _lock(a: Analysis, fields: Node, scope: Scope) -> None:
    """PostgreSQL asks for the UPDATE privilege, refuses it in a read-only transaction and blocks other writers: so it
    is an update of the relation to policy, though nothing durable changes."""
    named = [entry["RangeVar"]["relname"] for entry in fields.get("lockedRels", ())]
    nested = False
    for item in scope.items:
        touched = [found for found in item.ranges if not named or found.name in named]
        nested = nested or not item.ranges or any(not found.locks for found in touched)
        locks = {relation for found in touched for relation in found.locks}
        if touched or not named:
            locks.update(item.locks)
        for relation in sorted(locks):
            a.pair("update", relation, resolved=not a.is_unresolved(relation))
    if nested:  # a subquery's rows are locked where they come from: any relation read so far
        for pair in [pair for pair in a.pairs if pair.effect == "sql.select"]:
            a.pair("update", pair.object, resolved=pair.resolved)


# --- VALUES and set operations ---


def _values(a: Analysis, rows: list[Node], scope: Scope) -> Shape:
    columns: list[Value] = []
    for row in rows:
        for position, item in enumerate(row["List"].get("items", ())):
            value = NOTHING if "A_Const" in item else expressions.value(a, item, scope)
            if position == len(columns):
                columns.append(value)
            elif value.sources:
                columns[position] = united((columns[position], value))
    return Shape.of(tuple((f"column{position}", value) for position, value in enumerate(columns, 1)))


def _set_operation(a: Analysis, fields: Node, scope: Scope) -> Shape:
    """UNION ALL hands values on; the others compare them. A chain is a tree as deep as the chain is long: its left
    spine is walked in a loop."""
    arms: list[Node] = []
    compares = False
    while True:
        compares = compares or fields.get("op") != "SETOP_UNION" or not fields.get("all")
        arms.append(fields["rarg"])
        left = fields["larg"]
        plain = not left.keys() & {"withClause", "sortClause", "limitCount", "limitOffset", "lockingClause"}
        if left.get("op", "SETOP_NONE") == "SETOP_NONE" or not plain:
            arms.append(left)
            break
        fields = left
    shapes = [select(a, arm, scope) for arm in reversed(arms)]
    taint: Sources = frozenset().union(*(shape.taint for shape in shapes))
    if compares:
        a.used(taint)
        a.implied_operator("=")
    first = shapes[0]
    if any(shape.open or len(shape.columns) != len(first.columns) for shape in shapes):
        columns: Columns = tuple((name, computed(taint)) for name, _ in first.columns)
        return Shape.of(columns, open=True, taint=taint)
    return Shape.of(
        tuple(
            (name, united(shape.columns[position][1] for shape in shapes))
            for position, (name, _) in enumerate(first.columns)
        )
    )
