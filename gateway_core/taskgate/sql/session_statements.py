"""Statements about the session, transactions, maintenance and code blocks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from taskgate.sql import expressions, set_statement
from taskgate.sql.analysis import Analysis, strings
from taskgate.sql.facts import StatementFacts
from taskgate.sql.names import CursorClosed, Deallocated, DefinitionsChanged, TemporaryDiscarded
from taskgate.sql.scope import NOTHING, Scope, Shape

Node = dict[str, Any]

_ACCESS_SHARE = 1

_TRANSACTIONS = {
    "TRANS_STMT_BEGIN": "begin",
    "TRANS_STMT_START": "begin",
    "TRANS_STMT_COMMIT": "commit",
    "TRANS_STMT_ROLLBACK": "rollback",
    "TRANS_STMT_SAVEPOINT": "savepoint",
    "TRANS_STMT_RELEASE": "release",
    "TRANS_STMT_ROLLBACK_TO": "rollback to",
}
_TWO_PHASE = {
    "TRANS_STMT_PREPARE": "PREPARE TRANSACTION",
    "TRANS_STMT_COMMIT_PREPARED": "COMMIT PREPARED",
    "TRANS_STMT_ROLLBACK_PREPARED": "ROLLBACK PREPARED",
}


def _transaction(a: Analysis, fields: Node) -> StatementFacts:
    """The object says which: `begin` is a bare BEGIN, `begin read write` and the like carry their modes."""
    kind = fields.get("kind", "")
    word = _TRANSACTIONS.get(kind)
    if word is None:
        what = _TWO_PHASE.get(kind, "a transaction statement")
        a.unknown(what)
        return a.facts(what, changes=True)
    words = [word]
    if fields.get("options"):
        words.append(set_statement.modes(fields["options"]))
    if fields.get("chain"):
        words.append("and chain")
    a.pair("transaction", " ".join(words))
    return a.facts(word.split()[0].upper())


def _show(a: Analysis, fields: Node) -> StatementFacts:
    a.pair("session", "show")
    name = fields.get("name", "")
    names = ("name", "setting", "description") if name == "all" else (name,)
    return a.facts("SHOW", Shape.of(tuple((column, NOTHING) for column in names)), returns_rows=True)


_DISCARDS = {
    "DISCARD_ALL": "discard all",
    "DISCARD_PLANS": "discard plans",
    "DISCARD_SEQUENCES": "discard sequences",
    "DISCARD_TEMP": "discard temp",
}


def _discard(a: Analysis, fields: Node) -> StatementFacts:
    target = fields.get("target", "")
    word = _DISCARDS.get(target)
    if word is None:
        a.unknown(target)
        return a.facts("DISCARD", changes=True)
    a.pair("session", word)
    if target == "DISCARD_ALL":
        a.name_changes += [Deallocated(None), CursorClosed(None), TemporaryDiscarded()]
    elif target == "DISCARD_TEMP":
        a.name_changes.append(TemporaryDiscarded())
    return a.facts("DISCARD")


def _deallocate(a: Analysis, fields: Node) -> StatementFacts:
    a.pair("session", "deallocate")
    a.name_changes.append(Deallocated(None if fields.get("isall") else fields.get("name")))
    return a.facts("DEALLOCATE")


def _close(a: Analysis, fields: Node) -> StatementFacts:
    a.pair("session", "close")
    a.name_changes.append(CursorClosed(fields.get("portalname")))
    return a.facts("CLOSE CURSOR")


def _constraints(a: Analysis, fields: Node) -> StatementFacts:
    a.pair("transaction", "set constraints")
    return a.facts("SET CONSTRAINTS")


def _channel(tag: str) -> Callable[[Analysis, Node], StatementFacts]:
    def facts(a: Analysis, fields: Node) -> StatementFacts:
        a.pair("listen", fields.get("conditionname", "*"))
        return a.facts(tag)

    return facts


def _unlisten(a: Analysis, fields: Node) -> StatementFacts:
    """Hearing less is nobody's business but the session's."""
    a.pair("session", "unlisten")
    return a.facts("UNLISTEN")


def _do(a: Analysis, fields: Node) -> StatementFacts:
    a.pair("do")
    a.incomplete("a code block can do anything its role may do")
    a.name_changes.append(DefinitionsChanged())
    return a.facts("DO", changes=True)


def _call(a: Analysis, fields: Node) -> StatementFacts:
    call = fields["funccall"]
    a.call(strings(call["funcname"]))
    a.incomplete("a procedure can do anything its role may do")
    expressions.used_all(a, call.get("args"), Scope())
    a.name_changes.append(DefinitionsChanged())
    return replace(a.facts("CALL", changes=True, returns_rows=True), outputs=None)


def _truncate(a: Analysis, fields: Node) -> StatementFacts:
    for entry in fields.get("relations", ()):
        a.relation(entry["RangeVar"], "truncate")
    return a.facts("TRUNCATE TABLE", changes=True)


def _lock(a: Analysis, fields: Node) -> StatementFacts:
    """ACCESS SHARE is what any SELECT takes; a stronger mode holds up others."""
    effect = "select" if fields.get("mode") == _ACCESS_SHARE else "maintenance"
    for entry in fields.get("relations", ()):
        a.relation(entry["RangeVar"], effect)
    return a.facts("LOCK TABLE")


def _maintenance(tag: str) -> Callable[[Analysis, Node], StatementFacts]:
    def facts(a: Analysis, fields: Node) -> StatementFacts:
        named = [entry["VacuumRelation"]["relation"] for entry in fields.get("rels", ())]
        named += [fields["relation"]] if "relation" in fields else []
        for name in named:
            a.read |= a.relation(name, "maintenance").shape.taint
        if not named:
            a.pair("maintenance", fields.get("name", ""))
        return a.facts(tag if tag != "VACUUM" or fields.get("is_vacuumcmd") else "ANALYZE", changes=True)

    return facts


KINDS: dict[str, Callable[[Analysis, Node], StatementFacts]] = {
    "TransactionStmt": _transaction,
    "VariableSetStmt": set_statement.variable_set,
    "VariableShowStmt": _show,
    "DiscardStmt": _discard,
    "DeallocateStmt": _deallocate,
    "ClosePortalStmt": _close,
    "ConstraintsSetStmt": _constraints,
    "ListenStmt": _channel("LISTEN"),
    "UnlistenStmt": _unlisten,
    "NotifyStmt": _channel("NOTIFY"),
    "DoStmt": _do,
    "CallStmt": _call,
    "TruncateStmt": _truncate,
    "LockStmt": _lock,
    "VacuumStmt": _maintenance("VACUUM"),
    "ClusterStmt": _maintenance("CLUSTER"),
    "ReindexStmt": _maintenance("REINDEX"),
    "CheckPointStmt": _maintenance("CHECKPOINT"),
    "RefreshMatViewStmt": _maintenance("REFRESH MATERIALIZED VIEW"),
}
