"""The name PostgreSQL gives an output column that has none (backend/parser/parse_target.c, FigureColname).

It matters because outer queries refer to it: `SELECT upper FROM (SELECT upper(ssn) FROM users) s`."""

from __future__ import annotations

from typing import Any

from taskgate.sql.analysis import string

Node = dict[str, Any]

_FIXED = {
    "GroupingFunc": "grouping",
    "MergeSupportFunc": "merge_action",
    "A_ArrayExpr": "array",
    "RowExpr": "row",
    "CoalesceExpr": "coalesce",
    "XmlSerialize": "xmlserialize",
    "JsonParseExpr": "json",
    "JsonScalarExpr": "json_scalar",
    "JsonSerializeExpr": "json_serialize",
    "JsonObjectConstructor": "json_object",
    "JsonArrayConstructor": "json_array",
    "JsonArrayQueryConstructor": "json_array",
    "JsonObjectAgg": "json_objectagg",
    "JsonArrayAgg": "json_arrayagg",
}
_XML = {
    "IS_XMLCONCAT": "xmlconcat",
    "IS_XMLELEMENT": "xmlelement",
    "IS_XMLFOREST": "xmlforest",
    "IS_XMLPARSE": "xmlparse",
    "IS_XMLPI": "xmlpi",
    "IS_XMLROOT": "xmlroot",
    "IS_XMLSERIALIZE": "xmlserialize",
}
_JSON = {"JSON_EXISTS_OP": "json_exists", "JSON_QUERY_OP": "json_query", "JSON_VALUE_OP": "json_value"}


def column_name(node: Node, first_column_names: dict[int, str]) -> str:
    """`first_column_names`: by the id of a scalar subquery's SubLink fields, the name of the subquery's column."""
    return _figure(node, first_column_names)[0] or "?column?"


def _figure(node: Node, subqueries: dict[int, str]) -> tuple[str | None, int]:
    """(name, strength): 2 a good name, 1 a type's or CASE's, 0 none."""
    if not node:
        return None, 0
    kind, fields = next(iter(node.items()))
    if kind in _FIXED:
        return _FIXED[kind], 2
    if kind in ("ColumnRef", "A_Indirection"):
        parts = fields.get("fields") if kind == "ColumnRef" else fields.get("indirection", ())
        names = [string(part) for part in parts or () if "String" in part]
        if names:
            return names[-1], 2
        return _figure(fields.get("arg", {}), subqueries) if kind == "A_Indirection" else (None, 0)
    if kind == "FuncCall":
        return string(fields["funcname"][-1]), 2
    if kind == "A_Expr":
        return ("nullif", 2) if fields.get("kind") == "AEXPR_NULLIF" else (None, 0)
    if kind == "TypeCast":
        name, strength = _figure(fields.get("arg", {}), subqueries)
        type_names = fields.get("typeName", {}).get("names")
        return (string(type_names[-1]), 1) if strength <= 1 and type_names else (name, strength)
    if kind == "CollateClause":
        return _figure(fields.get("arg", {}), subqueries)
    if kind == "CaseExpr":
        name, strength = _figure(fields.get("defresult", {}), subqueries)
        return ("case", 1) if strength <= 1 else (name, strength)
    if kind == "SubLink":
        return _sublink(fields, subqueries)
    if kind == "MinMaxExpr":
        return ("least" if fields.get("op") == "IS_LEAST" else "greatest"), 2
    if kind == "SQLValueFunction":
        return fields["op"].removeprefix("SVFOP_").removesuffix("_N").lower(), 2
    if kind == "XmlExpr":
        name = _XML.get(fields.get("op", ""))
        return name, 2 if name else 0
    if kind == "JsonFuncExpr":
        return _JSON.get(fields.get("op", "")), 2
    return None, 0


def _sublink(fields: Node, subqueries: dict[int, str]) -> tuple[str | None, int]:
    link = fields.get("subLinkType")
    if link in ("EXISTS_SUBLINK", "ARRAY_SUBLINK"):
        return ("exists" if link == "EXISTS_SUBLINK" else "array"), 2
    if link == "EXPR_SUBLINK":
        return subqueries.get(id(fields)), 2
    return None, 0
