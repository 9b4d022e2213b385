"""SET, RESET and `set_config()`: which setting changes, and whether it is one that decides how texts are read."""

from __future__ import annotations

from typing import Any

from taskgate.sql import expressions, settings
from taskgate.sql.analysis import Analysis
from taskgate.sql.facts import StatementFacts
from taskgate.sql.scope import Scope

Node = dict[str, Any]


def variable_set(a: Analysis, fields: Node) -> StatementFacts:
    kind = fields.get("kind", "")
    name = fields.get("name", "").lower()
    if kind == "VAR_RESET_ALL":
        a.pair("session", "reset all")
        return a.facts("RESET")
    if kind == "VAR_SET_MULTI":
        _transaction(a, fields.get("name", ""), fields.get("args", []))
        return a.facts("SET")
    if kind in ("VAR_RESET", "VAR_SET_DEFAULT"):
        _reset(a, name)
        return a.facts("RESET" if kind == "VAR_RESET" else "SET")
    if kind == "VAR_SET_VALUE":
        values = [expressions.constant(argument) for argument in fields.get("args", ())]
        assigned(a, name, values[0] if len(values) == 1 else None)
        return a.facts("SET")
    a.unknown(f"setting {name}")  # FROM CURRENT: not a statement of its own
    return a.facts("SET")


def set_config(a: Analysis, arguments: list[Node], scope: Scope) -> None:
    """`set_config(name, value, is_local)` is a SET that any SELECT can carry."""
    a.literal_sensitive = True
    name = _name(arguments[0], scope) if len(arguments) == 3 else None
    if name is None:
        a.unknown("setting with a name that is not a constant")
        return
    assigned(a, name.lower(), expressions.constant(arguments[1]))


def _name(argument: Node, scope: Scope) -> str | None:
    """A constant, or a column that WHERE holds to one: pg_dump asks `set_config(name, …) FROM pg_settings WHERE name =
    '…'`, so that an older server without the setting does nothing."""
    fields = argument.get("ColumnRef", {}).get("fields", ())
    if len(fields) == 1 and "String" in fields[0]:
        return scope.constants.get(fields[0]["String"]["sval"])
    return expressions.constant(argument)


def assigned(a: Analysis, name: str, value: str | None) -> None:
    """A setting gets a value (None: one that is not known)."""
    if name in settings.PINNED:
        if settings.pinned_value_kept(name, value):
            a.pair("set", name)
        else:
            a.unknown(f"setting {name}")
    elif name in settings.READ_ONLY:
        scope = "set" if name == "transaction_read_only" else "session"
        a.pair("transaction", f"{scope} read {'only' if settings.is_true(value) else 'write'}")
    else:
        a.pair("set", name)


def _reset(a: Analysis, name: str) -> None:
    """Back to the value at session start: for pinned settings that is the pinned one."""
    if name == "transaction_read_only":
        a.pair("transaction", "set read write")
    else:
        a.pair("set", name)


def modes(options: list[Node]) -> str:
    """Transaction modes as words, in one order: `isolation level serializable, read only`."""
    words: list[str] = []
    for option in options:
        fields = option["DefElem"]
        name, value = fields.get("defname", ""), expressions.constant(fields.get("arg", {}))
        if name == "transaction_isolation":
            words.append(f"isolation level {value}")
        elif name == "transaction_read_only":
            words.append("read only" if settings.is_true(value) else "read write")
        elif name == "transaction_deferrable":
            words.append("deferrable" if settings.is_true(value) else "not deferrable")
        else:
            words.append(name)
    return ", ".join(sorted(words))


def _transaction(a: Analysis, form: str, options: list[Node]) -> None:
    if form == "TRANSACTION":
        a.pair("transaction", f"set {modes(options)}")
    elif form == "SESSION CHARACTERISTICS":
        a.pair("transaction", f"session {modes(options)}")
    elif form == "TRANSACTION SNAPSHOT":
        a.pair("transaction", "set snapshot")
    else:
        a.unknown(f"SET {form}")
