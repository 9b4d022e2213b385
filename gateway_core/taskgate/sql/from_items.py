"""FROM: tables, subqueries, functions and joins, each as the columns it adds to a scope."""

from __future__ import annotations

from typing import Any

from taskgate.sql import expressions, queries
from taskgate.sql.analysis import Analysis, string, strings
from taskgate.sql.scope import NOTHING, Columns, Item, Range, Scope, Shape, Sources, Value, computed, united

Node = dict[str, Any]

_ONE_COLUMN = {
    "generate_series": None,
    "generate_subscripts": None,
    "unnest": None,
    "regexp_split_to_table": None,
    "string_to_table": None,
    "json_array_elements": "value",
    "jsonb_array_elements": "value",
    "json_array_elements_text": "value",
    "jsonb_array_elements_text": "value",
    "json_object_keys": None,
    "jsonb_object_keys": None,
}
"""Set-returning functions with one column of a plain type, and its name (None: the alias, else the function's name)."""

_SAMPLING = frozenset({"system", "bernoulli"})


def add(a: Analysis, node: Node, scope: Scope) -> None:
    """Add one entry of a FROM list to `scope`."""
    scope.items.append(item(a, node, scope))


def item(a: Analysis, node: Node, scope: Scope) -> Item:
    """One FROM entry; what is LATERAL in it sees the items already in `scope`."""
    kind, fields = next(iter(node.items()))
    if kind == "RangeVar":
        return table(a, fields, scope)
    if kind == "JoinExpr":
        return _join(a, fields, scope)
    if kind == "RangeSubselect":
        around = scope if fields.get("lateral") else _around(scope)
        shape = queries.query(a, fields["subquery"], around)
        return _named(fields.get("alias"), shape)
    if kind == "RangeFunction":
        return _function(a, fields, scope)
    if kind == "RangeTableSample":
        if string(fields["method"][-1]) not in _SAMPLING:
            a.incomplete("a sampling method that is not PostgreSQL's own")
        expressions.used_all(a, fields.get("args"), scope)
        expressions.used(a, fields.get("repeatable"), scope)
        return item(a, fields["relation"], scope)
    if kind == "RangeTableFunc":
        return _computed(a, fields, scope, [entry["RangeTableFuncCol"]["colname"] for entry in fields["columns"]])
    if kind == "JsonTable":
        return _computed(a, fields, scope, _json_columns(fields.get("columns", ())))
    a.incomplete(f"FROM {kind} is not understood")
    sources = expressions.used(a, node, scope)
    return _named(fields.get("alias"), Shape(open=True, taint=sources | scope.everything()))


def _around(scope: Scope) -> Scope:
    """What a subquery that is not LATERAL sees: not its neighbours, but the WITH queries beside them."""
    around = Scope(scope.parent)
    around.tables = scope.tables
    return around


def table(a: Analysis, fields: Node, scope: Scope) -> Item:
    """A table, view or WITH query by name."""
    if "schemaname" not in fields:
        common = scope.common_table(fields["relname"])
        if common is not None:
            alias = fields.get("alias") or {"aliasname": fields["relname"]}
            return _named(alias, common.shape())
    found = a.relation(fields, "select")
    return Item(found.shape, [found])


def _named(alias: Node | None, shape: Shape) -> Item:
    if alias is None:
        return Item(shape, [])
    shape = shape.renamed(strings(alias.get("colnames", ())))
    return Item(shape, [Range(alias["aliasname"], shape)])


# --- functions ---


def _function(a: Analysis, fields: Node, scope: Scope) -> Item:
    """Functions in FROM are always LATERAL. Their columns are computed: all arguments are used."""
    sources: Sources = frozenset()
    called: list[str] = []
    for entry in fields.get("functions", ()):
        call, definitions = entry["List"]["items"][0], entry["List"]["items"][1:]
        sources |= expressions.used(a, call, scope)
        called.append(strings(call["FuncCall"]["funcname"])[-1] if "FuncCall" in call else "")
        for definition in definitions:
            for column in definition.get("List", {}).get("items", ()):
                a.type(column["ColumnDef"]["typeName"])
    value = computed(sources)
    alias = fields.get("alias") or {}
    name = alias.get("aliasname") or (called[0] if called else "")
    defined = [column["ColumnDef"] for column in fields.get("coldeflist", ())]
    for column in defined:
        a.type(column["typeName"])
    one = len(called) == 1 and called[0] in _ONE_COLUMN and not fields.get("is_rowsfrom")
    if one and called[0] == "unnest":
        one = _plain_array(fields["functions"][0]["List"]["items"][0]["FuncCall"].get("args", []))
    columns: Columns = ()
    unknown = False
    if defined and not fields.get("is_rowsfrom"):
        columns = tuple((column["colname"], value) for column in defined)
    elif one:
        columns = (((_ONE_COLUMN[called[0]] or name), value),)
    else:
        unknown = True
    if fields.get("ordinality"):
        columns = (*columns, ("ordinality", NOTHING))
    shape = Shape.of(columns, open=unknown, taint=sources).renamed(strings(alias.get("colnames", ())))
    return Item(shape, [Range(name, shape)])


_PLAIN_TYPES = frozenset({"text", "uuid", "bytea", "date", "timestamptz", "json", "jsonb", "inet", "oid", "regclass"})


def _plain_array(arguments: list[Node]) -> bool:
    """Whether `unnest` of these gives one column: an array of rows would give as many as a row has."""
    if len(arguments) != 1:
        return False
    argument = arguments[0]
    if "TypeCast" in argument:
        parts = strings(argument["TypeCast"]["typeName"].get("names", ()))
        return parts[:1] == ["pg_catalog"] or (len(parts) == 1 and parts[0] in _PLAIN_TYPES)
    return all("A_Const" in element for element in argument.get("A_ArrayExpr", {}).get("elements", ({},)))


def _computed(a: Analysis, fields: Node, scope: Scope, names: list[str]) -> Item:
    """XMLTABLE and JSON_TABLE: every column computed from every argument."""
    alias = fields.get("alias")
    rest = {key: entry for key, entry in fields.items() if key not in ("alias", "lateral")}
    sources = expressions.used(a, {"Computed": rest}, scope)
    return _named(alias, Shape.of(tuple((name, computed(sources)) for name in names)))


def _json_columns(nodes: list[Node]) -> list[str]:
    names: list[str] = []
    for node in nodes:
        fields = node["JsonTableColumn"]
        if fields.get("coltype") == "JTC_NESTED":
            names += _json_columns(fields.get("columns", ()))
        else:
            names.append(fields["name"])
    return names


# --- joins ---


def _join(a: Analysis, fields: Node, scope: Scope) -> Item:
    left = item(a, fields["larg"], scope)
    inner = Scope(scope.parent)  # the right side may refer to the left one
    inner.tables = scope.tables
    inner.items = [*scope.items, left]
    right = item(a, fields["rarg"], inner)
    inner.items.append(right)
    using = strings(fields.get("usingClause", ()))
    if fields.get("isNatural"):
        using = [name for name, _ in left.shape.columns if name in right.shape.by_name]
        if left.shape.open or right.shape.open:
            a.used(left.shape.taint | right.shape.taint)
    shape = _joined(a, left.shape, right.shape, using)
    expressions.used(a, fields.get("quals"), inner)
    ranges = [*left.ranges, *right.ranges]
    if "join_using_alias" in fields:
        merged = Shape.of(shape.columns[: len(using)])
        ranges.append(Range(fields["join_using_alias"]["aliasname"], merged))
    alias = fields.get("alias")
    if alias is None:
        return Item(shape, ranges, (*left.locks, *right.locks))
    named = _named(alias, shape)
    locks = tuple(relation for found in ranges for relation in found.locks)
    return Item(named.shape, named.ranges, (*left.locks, *right.locks, *locks))


def _joined(a: Analysis, left: Shape, right: Shape, using: list[str]) -> Shape:
    """JOIN USING and NATURAL show the merged columns first; merging compares them."""
    merged: list[tuple[str, Value]] = []
    for name in using:
        sides = [shape.by_name.get(name) or computed(shape.taint) for shape in (left, right)]
        both = united(expressions.referred(a, side) for side in sides)
        a.used(both.sources)
        merged.append((name, both))
    if using:
        a.implied_operator("=")
    hidden = set(using)
    rest = [column for shape in (left, right) for column in shape.columns if column[0] not in hidden]
    return Shape.of((*merged, *rest), open=left.open or right.open, taint=left.taint | right.taint)
