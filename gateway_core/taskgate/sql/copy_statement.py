"""COPY: a read or a write of a relation as a stream; with a program or a file it is the server's administration."""

from __future__ import annotations

from typing import Any

from taskgate.sql import expressions, queries
from taskgate.sql.analysis import Analysis, strings
from taskgate.sql.facts import StatementFacts
from taskgate.sql.scope import Item, Range, Scope, Shape, Value

Node = dict[str, Any]

_OPTIONS = frozenset({
    "format", "delimiter", "null", "header", "quote", "escape", "force_quote", "force_not_null", "force_null", "freeze",
    "default", "on_error", "log_verbosity", "reject_limit", "encoding",
})  # fmt: skip


def copy(a: Analysis, fields: Node) -> StatementFacts:
    _options(a, fields.get("options", ()))
    if fields.get("is_program") or "filename" in fields:
        a.pair("admin", "copy program" if fields.get("is_program") else "copy file")
    if fields.get("is_from"):
        found = a.relation(fields["relation"], "copy_in", "insert")
        scope = Scope()
        scope.items = [Item(found.shape, [found])]
        expressions.used(a, fields.get("whereClause"), scope)
        return a.facts("COPY", changes=True)
    if "relation" in fields:
        found = a.relation(fields["relation"], "copy_out", "select")
        outputs = _columns(a, fields, found)
    else:
        outputs = queries.query(a, fields["query"], None)
        read = [pair for pair in a.pairs if pair.effect == "sql.select"]
        for pair in read:
            a.pair("copy_out", pair.object, resolved=pair.resolved)
        if not read:
            a.pair("copy_out")
    changes = any(pair.effect not in ("sql.select", "sql.copy_out") for pair in a.pairs)
    return a.facts("COPY", outputs, returns_rows=True, changes=changes)


def _columns(a: Analysis, fields: Node, found: Range) -> Shape:
    """What `COPY table TO` sends: the columns named, else all but generated ones, in the table's order."""
    shape = found.shape
    named = strings(fields.get("attlist", ()))
    if named:
        columns = tuple((name, shape.by_name.get(name) or Value(shape.taint, bare=False)) for name in named)
        result = Shape.of(columns, open=any(name not in shape.by_name for name in named), taint=frozenset())
    else:
        relation = next((reading.relation for reading in a.readings(fields["relation"])), None)
        generated = {column.name for column in relation.columns if column.generated} if relation else set()
        kept = tuple(column for column in shape.columns if column[0] not in generated)
        result = Shape.of(kept, open=shape.open, taint=shape.taint if shape.open else frozenset())
    for _, value in result.columns:
        expressions.referred(a, value)
    return result


def _options(a: Analysis, nodes: list[Node]) -> None:
    for node in nodes:
        fields = node["DefElem"]
        name = fields.get("defname", "")
        if name not in _OPTIONS:
            a.unknown(f"COPY option {name}")
        elif name == "encoding":
            value = fields.get("arg", {}).get("String", {}).get("sval", "")
            if value.lower().replace("-", "") != "utf8":
                a.unknown(f"COPY encoding {value}")
        elif name == "format" and fields.get("arg", {}).get("String", {}).get("sval") == "binary":
            a.notes["binary format"] = None
