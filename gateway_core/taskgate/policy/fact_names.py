"""Every name a condition may use, with its type and where its value comes from.

docs/policy.md lists these for people; a test compares.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from taskgate.domain import Assurance, PrincipalKind


@dataclass(frozen=True, slots=True)
class Type:
    """A CEL type. `of` is what a list or map holds; `values` are the only texts it can be, where those are known."""

    name: str
    of: Type | None = None
    values: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.name}({self.of})" if self.of else self.name


STRING = Type("string")
INT = Type("int")
DOUBLE = Type("double")
BOOL = Type("bool")
TIMESTAMP = Type("timestamp")
DURATION = Type("duration")
NULL = Type("null")
DYN = Type("dyn")
STRINGS = Type("list", STRING)

WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")


class Origin(StrEnum):
    """Who decides what the value is."""

    PLATFORM = "platform"
    AUTHOR = "author"  # anybody who writes a DAG or flow can choose it
    SCOPE = "scope"  # says which kind or source of principals is meant, and tells none of them apart


@dataclass(frozen=True, slots=True)
class Fact:
    """`volatile`: not determined by the statement's text, its types, the target and the principal's attributes, so that
    no decision that looked at it may be remembered."""

    type: Type
    meaning: str
    origin: Origin = Origin.PLATFORM
    volatile: bool = False


_AUTHOR = Origin.AUTHOR

PRINCIPAL: Mapping[str, Fact] = {
    "kind": Fact(Type("string", values=tuple(PrincipalKind)), "task, user or service", Origin.SCOPE),
    "name": Fact(STRING, "of a task dag_id.task_id, of anybody else the account's name", _AUTHOR),
    "source": Fact(STRING, "which Airflow, which Prefect, which identity provider", Origin.SCOPE),
    "assurance": Fact(Type("string", values=tuple(Assurance)), "verified, delegated or asserted", Origin.SCOPE),
    "verified_by": Fact(STRING, "what verified it"),
    "groups": Fact(STRINGS, "the groups of a user or service; empty where there are none"),
    "bundle": Fact(STRING, "the DAG bundle the code came from"),
    "bundle_version": Fact(STRING, "the bundle's version (a commit)"),
    "dag_version": Fact(INT, "the DAG's version, as Airflow counts them"),
    "run_type": Fact(STRING, "scheduled, manual, backfill, asset_triggered"),
    "triggering_user": Fact(STRING, "who triggered the run"),
    "deployment": Fact(STRING, "the Prefect deployment, as flow/deployment"),
    "work_pool": Fact(STRING, "the Prefect work pool"),
    "job_variables": Fact(STRINGS, "job variables that a Prefect flow run sets other than its deployment does"),
    "task_assurance": Fact(
        Type("string", values=tuple(Assurance)), "how well it is known which task of a Prefect flow run asks"
    ),
    "try_number": Fact(INT, "1 for the first try", volatile=True),
    "logical_date": Fact(
        STRING, "the run's logical date, as 2024-07-01T00:00:00+00:00; a run by hand may have none", volatile=True
    ),
    "dag_id": Fact(STRING, "the DAG (of a Prefect flow run: the flow)", _AUTHOR),
    "task_id": Fact(STRING, "the task in it", _AUTHOR),
    "run_id": Fact(STRING, "the run", _AUTHOR, volatile=True),
    "map_index": Fact(
        INT, "which of a mapped task's instances; -1 for a task that is not mapped", _AUTHOR, volatile=True
    ),
    "queue": Fact(STRING, "the queue that the task instance runs on", _AUTHOR),
    "owner": Fact(STRING, "the DAG's owner, as its author wrote it", _AUTHOR),
    "tags": Fact(STRINGS, "the DAG's tags", _AUTHOR),
    "flow": Fact(STRING, "the Prefect flow's name", _AUTHOR),
    "attributes": Fact(Type("map", DYN), "every attribute by name, those not listed here as well", _AUTHOR),
}

TARGET: Mapping[str, Fact] = {
    "name": Fact(STRING, "the target's name"),
    "protocol": Fact(STRING, "postgres, …"),
    "host": Fact(STRING, "its host, as configured"),
    "port": Fact(INT, "its port"),
    "database": Fact(STRING, "the database"),
    "user": Fact(STRING, "the role the gateway logs in as"),
    "labels": Fact(Type("map", STRING), "the labels of its configuration"),
}

ACTION: Mapping[str, Fact] = {
    "protocol": Fact(STRING, "postgres, …"),
    "effects": Fact(STRINGS, "every effect it has"),
    "objects": Fact(STRINGS, "every object it has an effect on"),
    "tag": Fact(STRING, "SELECT, DELETE, …; not known where there is more than one statement"),
    "tags": Fact(STRINGS, "the tag of each statement"),
    "statement_count": Fact(INT, "how many statements"),
    "has_where": Fact(BOOL, "every UPDATE, DELETE and MERGE in it (without any: every statement) has a WHERE"),
    "complete": Fact(BOOL, "false where it may do more than its effects say"),
    "changes": Fact(BOOL, "it may change something durable"),
    "columns": Fact(STRINGS, "every column it reads, as schema.table.column"),
    "functions": Fact(STRINGS, "every function it calls"),
    "streams": Fact(BOOL, "it takes a stream of data (COPY FROM STDIN)"),
    "text": Fact(STRING, "the exact text, up to 64 KiB", volatile=True),
    "parameters": Fact(Type("list", DYN), "the bound parameters as texts, NULL as null", volatile=True),
}

CONTEXT: Mapping[str, Fact] = {
    "time": Fact(TIMESTAMP, "now, UTC", volatile=True),
    "weekday": Fact(Type("string", values=WEEKDAYS), "of today, UTC", volatile=True),
    "hour": Fact(INT, "0 to 23, UTC", volatile=True),
    "client_address": Fact(STRING, "the client's IP address", volatile=True),
}

IMPACT: Mapping[str, Fact] = {
    "rows": Fact(INT, "rows the planner expects it to change, or to return where it changes none", volatile=True),
    "triggers": Fact(INT, "triggers on the tables it changes, whose work no estimate counts", volatile=True),
    "cascades": Fact(INT, "foreign keys that pass a change on, whose rows no estimate counts", volatile=True),
}

ROOTS: Mapping[str, Mapping[str, Fact]] = {
    "principal": PRINCIPAL,
    "target": TARGET,
    "action": ACTION,
    "context": CONTEXT,
    "impact": IMPACT,
}

#: What `match.principals` may name besides kind, source, name, groups and assurance.
MATCHABLE: frozenset[str] = frozenset(
    "verified_by bundle bundle_version queue run_type triggering_user deployment work_pool"
    " dag_id task_id owner tags flow".split()
)
#: Facts that only tasks have: of a user or a service they are not unknown, there are none.
OF_TASKS: frozenset[str] = MATCHABLE - {"verified_by"}


def fact(path: str) -> Fact:
    """The fact called `root.name`."""
    root, _, name = path.partition(".")
    return ROOTS[root][name]
