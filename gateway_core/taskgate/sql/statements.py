"""One statement → its facts: queries and data modification here, everything else by its own table.

A kind of statement that no table names is `sql.unknown`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from taskgate.domain import Facts, OutputColumn, Pair
from taskgate.sql import copy_statement, definitions, expressions, modifications, queries, session_statements
from taskgate.sql.analysis import Analysis
from taskgate.sql.facts import StatementFacts
from taskgate.sql.names import CursorOpened, Prepared
from taskgate.sql.scope import Scope, Shape, Value

Node = dict[str, Any]

_MOST_NESTED = 8  # EXPLAIN EXECUTE and the like; a prepared statement can name itself over the protocol
_CURSOR_BINARY = 1


def statement(a: Analysis, node: Node) -> StatementFacts:
    """The facts of a raw statement node (`{"SelectStmt": {…}}`)."""
    kind, fields = next(iter(node.items()), ("empty statement", {}))
    handler = KINDS.get(kind) if a.depth < _MOST_NESTED else None
    if handler is None:
        a.unknown(kind)
        return replace(a.facts(kind.upper(), changes=True, returns_rows=True), outputs=None)
    return handler(a, fields)


def _select(a: Analysis, fields: Node) -> StatementFacts:
    result = queries.select(a, fields, None)
    if not a.wheres:
        a.wheres.append("whereClause" in fields)
    if not a.pairs:
        a.pair("select")
    made = bool(a.name_changes)  # SELECT INTO
    if made:
        return a.facts("SELECT INTO", changes=True)
    return a.facts("SELECT", result, returns_rows=True, changes=a.modifies, literal_sensitive=False)


def _modification(kind: str, tag: str) -> Callable[[Analysis, Node], StatementFacts]:
    def facts(a: Analysis, fields: Node) -> StatementFacts:
        result = modifications.KINDS[kind](a, fields, None)
        returns = "returningClause" in fields
        return a.facts(tag, result if returns else None, returns_rows=returns, changes=True, literal_sensitive=False)

    return facts


def _create_table_as(a: Analysis, fields: Node) -> StatementFacts:
    if "ExecuteStmt" in fields["query"]:
        inner = statement(a.child(), fields["query"])
        a.include(inner)
        result = _shape(inner)
    else:
        result = queries.query(a, fields["query"], None)
    modifications.into(a, fields["into"], result)
    return a.facts("CREATE TABLE AS", changes=True)


def _shape(facts: Facts) -> Shape:
    if facts.outputs is None:
        return Shape(open=True, taint=facts.columns_read)
    return Shape.of(tuple((column.name, Value(column.sources, column.bare)) for column in facts.outputs))


# --- EXPLAIN ---


def _explain(a: Analysis, fields: Node) -> StatementFacts:
    """EXPLAIN plans: it reads the catalogue and statistics of what it names, and runs functions to estimate. EXPLAIN
    ANALYZE runs the statement. The plan's text may quote values, so it carries all columns read."""
    inner = statement(a.child(), fields["query"])
    analyzed = any(_switched_on(option["DefElem"], "analyze") for option in fields.get("options", ()))
    pairs: dict[Pair, None] = {}
    for pair in inner.pairs:
        if pair.effect in _ON_RELATIONS:
            pairs[Pair("sql.explain", pair.object, pair.resolved)] = None
            pairs[Pair("sql.select", pair.object, pair.resolved)] = None
    if analyzed:
        pairs |= dict.fromkeys(inner.pairs)
    else:
        pairs |= dict.fromkeys(pair for pair in inner.pairs if pair.effect not in _ON_RELATIONS)
    if not any(pair.effect == "sql.explain" for pair in pairs):
        pairs[Pair("sql.explain")] = None
    return replace(
        inner,
        pairs=tuple(pairs),
        tag="EXPLAIN",
        returns_rows=True,
        outputs=(OutputColumn("QUERY PLAN", inner.columns_read, bare=True),),
        columns_flowing=inner.columns_flowing if analyzed else frozenset(),
        changes=inner.changes if analyzed else not inner.complete,
        literal_sensitive=True,
        name_changes=inner.name_changes if analyzed else (),
    )


_ON_RELATIONS = frozenset({"sql.select", "sql.insert", "sql.update", "sql.delete", "sql.merge", "sql.ddl"})


def _switched_on(option: Node, name: str) -> bool:
    if option.get("defname") != name:
        return False
    argument = option.get("arg")
    if argument is None:
        return True
    text = next((str(next(iter(fields.values()), "0")) for fields in argument.values()), "")
    return text.lower() not in ("false", "off", "0", "no")


# --- prepared statements and cursors ---


def _prepare(a: Analysis, fields: Node) -> StatementFacts:
    """Judged as what it will run; nothing runs yet."""
    for type_name in fields.get("argtypes", ()):
        a.type(type_name["TypeName"])
    inner = a.include(statement(a.child(), fields["query"]))
    name_changes = (Prepared(fields["name"], fields["query"]),)
    return replace(
        inner,
        tag="PREPARE",
        returns_rows=False,
        outputs=(),
        changes=False,
        literal_sensitive=True,
        name_changes=name_changes,
    )


def _execute(a: Analysis, fields: Node) -> StatementFacts:
    for parameter in fields.get("params", ()):
        expressions.used(a, parameter, Scope())
    name = fields.get("name", "")
    queries_of_it = a.names.prepared(name)
    if not queries_of_it:
        a.unknown(f"EXECUTE {name}: no such statement was prepared in this session")
        return replace(a.facts("EXECUTE", changes=True, returns_rows=True), outputs=None, session_objects=True)
    parts = [statement(a.child(), query) for query in queries_of_it]
    return replace(merged(a, parts), tag="EXECUTE", literal_sensitive=True, session_objects=True, name_changes=())


def _declare(a: Analysis, fields: Node) -> StatementFacts:
    inner = statement(a.child(), fields["query"])
    if fields.get("options", 0) & _CURSOR_BINARY:
        notes = (*inner.notes, "a binary cursor")
        inner = replace(inner, complete=False, notes=notes)
    opened = CursorOpened(fields["portalname"], inner)
    return replace(
        inner,
        tag="DECLARE CURSOR",
        returns_rows=False,
        outputs=(),
        literal_sensitive=True,
        name_changes=(opened,),
    )


def _fetch(a: Analysis, fields: Node) -> StatementFacts:
    name = fields.get("portalname", "")
    moves = bool(fields.get("ismove"))
    tag = "MOVE" if moves else "FETCH"
    found = a.names.cursors(name)
    if not found:
        a.unknown(f"{tag} {name}: no such cursor was opened in this session")
        return replace(a.facts(tag, changes=True, returns_rows=True), outputs=None, session_objects=True)
    facts = merged(a, list(found))
    outputs = () if moves else facts.outputs
    return replace(
        facts,
        tag=tag,
        returns_rows=not moves,
        outputs=outputs,
        literal_sensitive=True,
        session_objects=True,
        name_changes=(),
    )


def merged(a: Analysis, parts: list[Any]) -> StatementFacts:
    """One of several readings, not known which: everything any of them does."""
    for part in parts:
        a.include(part)
    outputs = parts[0].outputs
    for part in parts[1:]:
        if outputs is None or part.outputs is None or len(outputs) != len(part.outputs):
            outputs = None
        else:
            outputs = tuple(
                OutputColumn(one.name, one.sources | other.sources, one.bare and other.bare)
                for one, other in zip(outputs, part.outputs, strict=True)
            )
    return replace(
        a.facts("", changes=any(part.changes for part in parts)),
        outputs=outputs,
        returns_rows=any(part.returns_rows for part in parts),
        has_where=all(part.has_where for part in parts),
    )


KINDS: dict[str, Callable[[Analysis, Node], StatementFacts]] = {
    "SelectStmt": _select,
    "InsertStmt": _modification("InsertStmt", "INSERT"),
    "UpdateStmt": _modification("UpdateStmt", "UPDATE"),
    "DeleteStmt": _modification("DeleteStmt", "DELETE"),
    "MergeStmt": _modification("MergeStmt", "MERGE"),
    "CreateTableAsStmt": _create_table_as,
    "ExplainStmt": _explain,
    "PrepareStmt": _prepare,
    "ExecuteStmt": _execute,
    "DeclareCursorStmt": _declare,
    "FetchStmt": _fetch,
    "CopyStmt": copy_statement.copy,
    **session_statements.KINDS,
    **definitions.KINDS,
}
