"""The planner's view of a statement, for the people who decide about it: EXPLAIN without ANALYZE, nothing runs.

It runs on a connection of its own as the target's user, in a read-only transaction with short timeouts. Planning
evaluates functions that are not volatile, under that role: so it is done only for statements whose every function is
listed as safe. Estimates are the planner's; triggers, cascades and what functions do are never in them, and the answer
says so.
"""

from __future__ import annotations

import json
import struct
import uuid
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import asyncpg

from taskgate.domain import Facts, Parameter
from taskgate.errors import TargetFault
from taskgate.sql.catalog import Catalog
from taskgate.sql.catalog_reader import CatalogReader

Impact = Mapping[str, object]

_TIMEOUT = 2_000  # milliseconds
_EXPLAINABLE = frozenset({"SELECT", "INSERT", "UPDATE", "DELETE", "MERGE"})
_CHANGES = frozenset({"sql.insert", "sql.update", "sql.delete", "sql.merge"})

_DEPENDENTS = """
select count(distinct t.oid) filter (where not t.tgisinternal)::int4 as triggers,
       count(distinct f.oid) filter (where f.confdeltype in ('c', 'n', 'd') or f.confupdtype in ('c', 'n', 'd'))::int4
         as cascades
from pg_catalog.pg_class c
left join pg_catalog.pg_trigger t on t.tgrelid = c.oid
left join pg_catalog.pg_constraint f on f.confrelid = c.oid and f.contype = 'f'
where c.oid::int8 = any ($1::int8[])
"""


async def estimate(
    reader: CatalogReader,
    text: str,
    facts: Sequence[Facts],
    parameters: Sequence[Parameter],
    search_path: Sequence[str],
    catalog: Catalog,
) -> Impact:
    """What the planner expects of `text`, as `{"rows": …, "operation": …, "relations": […], "triggers": …,
    "cascades": …, "not_counted": […]}`, or `{"unavailable": why}`. Never raises for a statement that cannot be
    estimated; raises TargetFault when the server is out of reach."""
    if len(facts) != 1 or facts[0].tag not in _EXPLAINABLE:
        return {"unavailable": "only a single SELECT, INSERT, UPDATE, DELETE or MERGE can be estimated"}
    if not facts[0].complete:
        return {"unavailable": "it calls functions that are not listed as safe"}
    if facts[0].session_objects:
        return {"unavailable": "it uses objects that only its own session knows"}
    arguments = [_literal(parameter) for parameter in parameters]
    name = f"taskgate_{uuid.uuid4().hex}"
    async with reader.connection() as connection:
        try:
            async with connection.transaction(readonly=True):
                plan = await _plan(connection, name, text, parameters, arguments, search_path)
                dependents = await _dependents(connection, facts[0], catalog)
        except asyncpg.PostgresError as error:
            if connection.is_closed():
                raise TargetFault("the server closed the connection while it was planning") from error
            return {"unavailable": f"the planner refused it (SQLSTATE {error.sqlstate})"}
        finally:
            if not connection.is_closed():
                with suppress(asyncpg.PostgresError):  # it was never prepared
                    await connection.execute(f"deallocate {name}")
    result = _summary(plan) | dependents
    if any(argument is None for argument in arguments):
        result["not_counted"] = [*result["not_counted"], "the values of some parameters"]
    return result


async def _plan(
    connection: asyncpg.Connection[Any],
    name: str,
    text: str,
    parameters: Sequence[Parameter],
    arguments: Sequence[str | None],
    search_path: Sequence[str],
) -> dict[str, Any]:
    """Through PREPARE and EXPLAIN EXECUTE, so that parameters have the types they are bound with."""
    path = ", ".join('"' + schema.replace('"', '""') + '"' for schema in search_path)
    types = ", ".join([await _type(connection, parameter.type_oid) for parameter in parameters])
    values = ", ".join("null" if argument is None else argument for argument in arguments)
    mode = "force_generic_plan" if any(argument is None for argument in arguments) else "force_custom_plan"
    for setting, value in (
        ("search_path", path),
        ("statement_timeout", str(_TIMEOUT)),
        ("lock_timeout", str(_TIMEOUT // 4)),
        ("plan_cache_mode", mode),
    ):
        await connection.execute("select pg_catalog.set_config($1, $2, true)", setting, value)
    # A parameterised call: the server takes exactly one statement, whatever the text says.
    await connection.fetch(f"prepare {name}{f' ({types})' if types else ''} as {text}")
    explained = await connection.fetchval(f"explain (format json) execute {name}{f' ({values})' if values else ''}")
    plan: dict[str, Any] = json.loads(explained)[0]["Plan"]
    return plan


async def _type(connection: asyncpg.Connection[Any], oid: int) -> str:
    if oid == 0:
        return "unknown"
    name: str | None = await connection.fetchval("select pg_catalog.format_type($1::int8::oid, null)", oid)
    return name or "unknown"


async def _dependents(connection: asyncpg.Connection[Any], facts: Facts, catalog: Catalog) -> dict[str, Any]:
    written = {pair.object for pair in facts.pairs if pair.effect in _CHANGES}
    oids = [relation.oid for relation in catalog.relations if relation.full_name in written]
    if not oids:
        return {"triggers": 0, "cascades": 0}
    row = await connection.fetchrow(_DEPENDENTS, oids)
    return {"triggers": row["triggers"], "cascades": row["cascades"]} if row else {}


def _summary(plan: dict[str, Any]) -> dict[str, Any]:
    """The rows that reach a ModifyTable node are those below it; its own count is of RETURNING."""
    relations: list[str] = []
    _relations(plan, relations)
    rows = float(plan.get("Plan Rows", 0))
    if plan.get("Node Type") == "ModifyTable":
        fed = [child for child in plan.get("Plans", ()) if child.get("Parent Relationship") in ("Outer", "Member")]
        rows = sum(float(child.get("Plan Rows", 0)) for child in fed)
    return {
        "rows": int(rows),
        "operation": plan.get("Operation") or "Select",
        "relations": sorted(set(relations)),
        "cost": float(plan.get("Total Cost", 0)),
        "not_counted": ["triggers", "cascades", "row security", "what functions do"],
    }


def _relations(plan: dict[str, Any], found: list[str]) -> None:
    if "Relation Name" in plan:
        found.append(f"{plan['Schema']}.{plan['Relation Name']}" if "Schema" in plan else plan["Relation Name"])
    for child in plan.get("Plans", ()):
        _relations(child, found)


_BINARY = {16: ">?", 20: ">q", 21: ">h", 23: ">i", 26: ">I", 700: ">f", 701: ">d"}
_TEXTUAL = frozenset({0, 19, 25, 114, 705, 1042, 1043})
_UUID = 2950


def _literal(parameter: Parameter) -> str | None:
    """A bound value as an SQL literal; None where its binary form is not known here."""
    value = parameter.value
    if value is None:
        return "null"
    try:
        if parameter.format == 0 or parameter.type_oid in _TEXTUAL:
            return _quoted(value.decode())
        if parameter.type_oid in _BINARY:
            return _quoted(str(struct.unpack(_BINARY[parameter.type_oid], value)[0]))
        if parameter.type_oid == _UUID:
            return _quoted(str(uuid.UUID(bytes=value)))
    except (UnicodeError, struct.error, ValueError):
        pass
    return None


def _quoted(text: str) -> str:
    """Standard-conforming: only the quote itself is special."""
    return "'" + text.replace("'", "''") + "'"
