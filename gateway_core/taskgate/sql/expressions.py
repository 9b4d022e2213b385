"""Conservative lineage of expressions: which table columns an expression's value may come from, and whether it is such
a column bare.

Only what keeps a column bare is told apart: the column itself, a scalar subquery of it, COALESCE of bare values, a
listed function of it. Every other construct, known to this module or not, is walked through and all columns in it are
used outside the output. So a construct that a new grammar adds is handled strictly without a change here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from taskgate.sql import functions, queries, set_statement
from taskgate.sql.analysis import Analysis, string, strings
from taskgate.sql.scope import NO_SOURCES, NOTHING, SYSTEM_COLUMNS, Scope, Sources, Value, computed, united

Node = dict[str, Any]


def value(a: Analysis, node: Node, scope: Scope) -> Value:
    """The origin of an expression that stands where its value is handed on as it is."""
    for kind, fields in node.items():
        special = _SPECIAL.get(kind)
        if special is not None:
            return special(a, fields, scope)
        return computed(_inside(a, fields, scope))
    return NOTHING


def used(a: Analysis, node: Node | None, scope: Scope) -> Sources:
    """An expression that decides or computes something: all its columns are used outside the output."""
    if not node:
        return NO_SOURCES
    sources = value(a, node, scope).sources
    a.used(sources)
    return sources


def used_all(a: Analysis, nodes: list[Node] | None, scope: Scope) -> Sources:
    sources = NO_SOURCES
    for node in nodes or ():
        sources |= used(a, node, scope)
    return sources


def _inside(a: Analysis, fields: Any, scope: Scope) -> Sources:
    """Everything inside a construct that needs no rule of its own."""
    sources = NO_SOURCES
    if isinstance(fields, list):
        for entry in fields:
            sources |= _inside(a, entry, scope)
    elif isinstance(fields, dict):
        for key, entry in fields.items():
            if key[:1].isupper():
                sources |= used(a, {key: entry}, scope)
            elif key == "typeName":
                a.type(entry)
            elif isinstance(entry, dict | list):
                sources |= _inside(a, entry, scope)
    return sources


# --- columns ---


def _column(a: Analysis, fields: Node, scope: Scope) -> Value:
    parts = fields["fields"]
    if "A_Star" in parts[-1]:
        return _whole_row(a, strings(parts[:-1]), scope)
    names = strings(parts)
    if len(names) == 1:
        found = scope.column(names[0])
        if found is None:
            return _not_a_column(a, names[0], scope)
        return referred(a, found)
    table, name = names[-2], names[-1]
    owner = scope.range(table, names[-3] if len(names) > 2 else None)
    if owner is None:
        return _unresolved(a, ".".join(names), scope, table=table)
    known = owner.shape.by_name.get(name)
    if known is not None:
        return referred(a, known)
    if owner.shape.open:
        if name in a.catalog.functions:
            a.call((name,))
        return referred(a, computed(owner.shape.taint))
    if owner.stored and name in SYSTEM_COLUMNS:
        return NOTHING
    if name not in functions.SAFE and name not in a.catalog.functions:
        a.missing("column", f"{table}.{name}")
    a.call((name,))  # `t.f` is `f(t)` where t has no column f
    return _row(a, owner.shape.taint)


def _not_a_column(a: Analysis, name: str, scope: Scope) -> Value:
    owner = scope.range(name)
    if owner is not None:
        return _row(a, owner.shape.taint)
    if name in SYSTEM_COLUMNS and scope.has_stored():
        return NOTHING
    return _unresolved(a, name, scope)


def _whole_row(a: Analysis, table: list[str], scope: Scope) -> Value:
    if not table:
        return _row(a, scope.everything())
    owner = scope.range(table[-1], table[-2] if len(table) > 1 else None)
    if owner is None:
        return _unresolved(a, ".".join(table), scope, table=table[-1])
    return _row(a, owner.shape.taint)


def _unresolved(a: Analysis, name: str, scope: Scope, *, table: str | None = None) -> Value:
    """A column of nothing in FROM; `table`: it is the qualifier that nothing there has."""
    a.incomplete(f"{name} is not a column that the catalogue knows")
    a.missing("column" if table is None else "table", table or name)
    return _row(a, scope.everything())


def _row(a: Analysis, sources: Sources) -> Value:
    a.read |= sources
    a.used(sources)
    return computed(sources)


def referred(a: Analysis, found: Value) -> Value:
    """A column is mentioned."""
    if found.sources:
        a.read |= found.sources
        if not found.bare:
            a.used(found.sources)
    return found


# --- constructs with rules of their own ---


def _function(a: Analysis, fields: Node, scope: Scope) -> Value:
    parts = strings(fields["funcname"])
    name = parts[-1]
    arguments = fields.get("args", [])
    if name == "set_config":
        set_statement.set_config(a, arguments, scope)
        used_all(a, arguments, scope)
        return NOTHING
    listed = a.call(parts)
    plain = listed and not fields.keys() & {"agg_filter", "over", "agg_order", "agg_distinct", "func_variadic"}
    if plain and name in functions.COUNTING and len(arguments) == 1 and "ColumnRef" in arguments[0]:
        return _counted(a, arguments[0], scope)
    if plain and name in functions.MASKED_WHOLE and len(arguments) == 1:
        return value(a, arguments[0], scope)
    sources = used_all(a, arguments, scope)
    for entry in ("agg_filter", "agg_order", "over"):
        if entry in fields:
            sources |= _inside(a, fields[entry], scope) if entry != "agg_filter" else used(a, fields[entry], scope)
    return computed(sources)


def _counted(a: Analysis, argument: Node, scope: Scope) -> Value:
    """`count(column)`, `count(t)`, `count(t.*)`: read, but nothing of the values is in the result."""
    outside = set(a.outside)
    value(a, argument, scope)
    a.outside = outside
    return NOTHING


def _sublink(a: Analysis, fields: Node, scope: Scope) -> Value:
    result = queries.query(a, fields["subselect"], scope)
    kind = fields.get("subLinkType")
    if kind == "EXISTS_SUBLINK":
        return NOTHING
    if kind == "EXPR_SUBLINK":
        if result.open:
            a.used(result.taint)
            return computed(result.taint)
        if result.columns:
            a.first_column_names[id(fields)] = result.columns[0][0]
        return united(found for _, found in result.columns)
    sources = result.taint
    a.used(sources)
    if "testexpr" in fields:
        a.call(strings(fields["operName"]), "operator") if "operName" in fields else a.implied_operator("=")
        sources |= used(a, fields["testexpr"], scope)
    return computed(sources)


def _subquery(a: Analysis, fields: Node, scope: Scope) -> Value:
    result = queries.query(a, {"SelectStmt": fields}, scope)
    a.used(result.taint)
    return computed(result.taint)


_IMPLIED = {
    "AEXPR_BETWEEN": (">=", "<="),
    "AEXPR_NOT_BETWEEN": ("<", ">"),
    "AEXPR_BETWEEN_SYM": (">=", "<="),
    "AEXPR_NOT_BETWEEN_SYM": ("<", ">"),
}


def _operator(a: Analysis, fields: Node, scope: Scope) -> Value:
    """A chain `x op y op z …` is a tree as deep as the chain is long: its left spine is walked in a loop."""
    sources = NO_SOURCES
    while True:
        implied = _IMPLIED.get(fields.get("kind", ""))
        if implied:
            for name in implied:
                a.implied_operator(name)
        else:
            a.operator(fields.get("name", ()))
        sources |= used(a, fields.get("rexpr"), scope)
        left = fields.get("lexpr")
        if left is None or "A_Expr" not in left:
            return computed(sources | used(a, left, scope))
        fields = left["A_Expr"]


def _case(a: Analysis, fields: Node, scope: Scope) -> Value:
    if "arg" in fields:
        a.implied_operator("=")
    return computed(_inside(a, fields, scope))


def _cast(a: Analysis, fields: Node, scope: Scope) -> Value:
    a.type(fields["typeName"])
    return computed(used(a, fields.get("arg"), scope))


def _coalesce(a: Analysis, fields: Node, scope: Scope) -> Value:
    return united([value(a, argument, scope) for argument in fields.get("args", ())])


def _sort(a: Analysis, fields: Node, scope: Scope) -> Value:
    if "useOp" in fields:
        a.operator(fields["useOp"])
    return computed(used(a, fields.get("node"), scope))


def _nothing(a: Analysis, fields: Node, scope: Scope) -> Value:
    return NOTHING


_SPECIAL: dict[str, Callable[[Analysis, Node, Scope], Value]] = {
    "ColumnRef": _column,
    "A_Const": _nothing,
    "ParamRef": _nothing,
    "SetToDefault": _nothing,
    "SQLValueFunction": _nothing,
    "String": _nothing,
    "CurrentOfExpr": _nothing,
    "FuncCall": _function,
    "SubLink": _sublink,
    "SelectStmt": _subquery,
    "A_Expr": _operator,
    "CaseExpr": _case,
    "TypeCast": _cast,
    "CoalesceExpr": _coalesce,
    "SortBy": _sort,
}


def constant(node: Node) -> str | None:
    """The text of a constant, None for anything else. A cast of a string constant to text counts as one."""
    if "TypeCast" in node:
        names = strings(node["TypeCast"].get("typeName", {}).get("names", ()))
        return constant(node["TypeCast"]["arg"]) if names[-1:] in (["text"], ["bool"]) else None
    fields = node.get("A_Const")
    if fields is None or fields.get("isnull"):
        return None
    if "sval" in fields:
        return str(fields["sval"].get("sval", ""))
    if "ival" in fields:
        return str(fields["ival"].get("ival", 0))
    if "fval" in fields:
        return str(fields["fval"].get("fval", ""))
    if "boolval" in fields:
        return "true" if fields["boolval"].get("boolval") else "false"
    return None


__all__ = ["constant", "referred", "string", "used", "used_all", "value"]
