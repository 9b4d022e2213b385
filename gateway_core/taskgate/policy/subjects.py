"""Principals and actions made up by hand, for table tests and `policy explain`: nothing of them is real or run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from taskgate.domain import (
    Action,
    Assurance,
    Attempt,
    AttributeValue,
    Environment,
    Facts,
    Pair,
    Parameter,
    Principal,
    PrincipalKind,
    Target,
    TaskKey,
    TlsMode,
)
from taskgate.policy.effects import EFFECTS
from taskgate.policy.problems import did_you_mean
from taskgate.sql.catalog import Catalog, Column, Relation
from taskgate.sql.postgres import analyze

DEFAULT_SEARCH_PATH = ("public",)
_UNTYPED = 0


def principal(
    kind: PrincipalKind,
    name: str,
    source: str,
    *,
    assurance: Assurance = Assurance.VERIFIED,
    attributes: Mapping[str, AttributeValue] | None = None,
    dag_id: str = "",
    task_id: str = "",
    run_id: str = "run",
    try_number: int = 1,
) -> Principal:
    """A task gets an attempt; without `dag_id` its name is taken apart at the last dot. One without a dot is a flow's,
    and stands for what that does outside its tasks."""
    attempt = None
    if kind is PrincipalKind.TASK:
        head, _, tail = name.rpartition(".") if "." in name else (name, "", "")
        task = TaskKey(source, dag_id or head, run_id, task_id if dag_id else task_id or tail)
        attempt = Attempt("00000000-0000-0000-0000-000000000000", task, try_number)
        name = task.name
    return Principal(kind, name, source, assurance, "by hand", dict(attributes or {}), attempt)


def target(name: str, *, database: str = "", labels: Mapping[str, str] | None = None) -> Target:
    """Of a target policy sees little more than its name."""
    return Target(
        name,
        "postgres",
        "127.0.0.1",
        5432,
        database or name,
        "gateway",
        "env:NONE",
        TlsMode.DISABLE,
        labels=dict(labels or {}),
    )


def catalog(
    tables: Mapping[str, Sequence[str]],
    views: Mapping[str, tuple[Sequence[str], str]] | None = None,
    functions: Sequence[str] = (),
) -> Catalog:
    """A catalogue of `schema.table` → columns, `schema.view` → (columns, query), and `schema.function`s."""
    relations = []
    for oid, (full_name, columns) in enumerate(tables.items(), start=16384):
        relations.append(_relation(oid, full_name, columns))
    for oid, (full_name, (columns, definition)) in enumerate((views or {}).items(), start=16384 + len(tables)):
        relations.append(_relation(oid, full_name, columns, definition))
    by_name: dict[str, tuple[str, ...]] = {}
    for full_name in functions:
        schema, _, name = full_name.partition(".")
        by_name[name] = (*by_name.get(name, ()), schema)
    schemas = {relation.schema for relation in relations} | Catalog().schemas
    return Catalog(relations=tuple(relations), schemas=frozenset(schemas), functions=by_name)


def _relation(oid: int, full_name: str, columns: Sequence[str], definition: str | None = None) -> Relation:
    schema, _, name = full_name.partition(".")
    numbered = tuple(Column(column, number) for number, column in enumerate(columns, start=1))
    return Relation(oid, schema, name, numbered, "r" if definition is None else "v", definition)


def statement(
    text: str,
    known: Catalog,
    *,
    search_path: Sequence[str] = DEFAULT_SEARCH_PATH,
    parameters: Sequence[str | None] | None = (),
) -> Action:
    """What PostgreSQL would be asked. `parameters` are texts without a type, None as a whole: not bound yet. Raises
    ClientFault."""
    bound = None
    if parameters is not None:
        bound = tuple(Parameter(_UNTYPED, 0, None if text is None else text.encode()) for text in parameters)
    facts = analyze(text, known, search_path)
    environment = Environment(role="gateway", search_path=", ".join(search_path), catalog_version=known.version)
    return Action("postgres", text, facts, environment, bound)


def pairs(written: Sequence[str]) -> Action:
    """An action that has just these pairs, written `sql.select public.orders`. Raises ValueError."""
    found = []
    for text in written:
        effect, _, name = text.strip().partition(" ")
        if effect not in EFFECTS:
            raise ValueError(f'unknown effect "{effect}"{did_you_mean(effect, EFFECTS)}')
        found.append(Pair(effect, name.strip()))
    protocol = (
        "postgres"
        if found and found[0].effect.startswith("sql.")
        else found[0].effect.partition(".")[0]
        if found
        else ""
    )
    complete = not any(pair.effect == "sql.unknown" for pair in found)
    return Action(
        protocol, "; ".join(written), (Facts(tuple(found), complete=complete, notes=() if complete else ("",)),)
    )
