"""What in a task's parameters would lead a governed connection past the gateway: one table a protocol.

To add a protocol, add its table to `TABLES`. A `Bypass` says which parameter names the connection, which parameter
decides where it leads, and, where that is a mapping, with which keys.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from typing import Any

from taskgate_airflow.options import backend_arguments, flag, option


@dataclass(frozen=True, slots=True)
class Bypass:
    """`keys` None: setting the parameter at all, to anything but None, is the bypass."""

    connection: str
    parameter: str
    keys: frozenset[str] | None
    because: str


_HOOK_KEYS = frozenset({"connection"})
_HOOK_BECAUSE = "the hook would use this connection object and never ask for the governed one"

POSTGRES = tuple(
    Bypass(connection, parameter, _HOOK_KEYS, _HOOK_BECAUSE)
    for connection, parameter in (
        ("conn_id", "hook_params"),  # BaseSQLOperator and all built on it, SqlSensor, @task.sql
        ("postgres_conn_id", "hook_params"),
        ("source_conn_id", "source_hook_params"),  # GenericTransfer
        ("destination_conn_id", "destination_hook_params"),
        ("sql_conn_id", "sql_hook_params"),  # transfers of other providers
    )
)
"""DbApiHook takes a `connection` object from its keyword arguments. Others of PostgresHook's (`options`, `database`,
`schema`, `sqlalchemy_scheme`) stay on the connection's way: the gateway judges what they ask for."""

TABLES: tuple[tuple[Bypass, ...], ...] = (POSTGRES,)

_ENVIRONMENT_PREFIX = "AIRFLOW_CONN_"


class GovernedConnections:
    """Connection ids that go through the gateway: names, and patterns with `*`."""

    def __init__(self, patterns: Iterable[str]) -> None:
        self._names = frozenset(patterns)
        self._patterns = tuple(pattern for pattern in self._names if set(pattern) & set("*?["))

    def __contains__(self, conn_id: object) -> bool:
        if not isinstance(conn_id, str):
            return False
        return conn_id in self._names or any(fnmatchcase(conn_id, pattern) for pattern in self._patterns)

    def in_variable(self, name: str) -> str | None:
        """The governed id that an environment variable's name stands for (Airflow upper-cases ids there)."""
        upper = name.upper()
        if not upper.startswith(_ENVIRONMENT_PREFIX):
            return None
        conn_id = upper.removeprefix(_ENVIRONMENT_PREFIX)
        found = (one for one in self._names if fnmatchcase(conn_id, one.upper()))
        return next(found, None)

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._names))


@cache
def governed_connections() -> GovernedConnections | None:
    """What `[taskgate] enforce_policy` makes of this process's configuration; None: the policy is off.

    Ids come from the secrets backend's `connections` and from `[taskgate] governed_connections`. Where it is on and
    neither names any, every connection counts as governed: a policy that was switched on does not silently check
    nothing."""
    if not flag("enforce_policy"):
        return None
    return GovernedConnections(configured_connections() or ["*"])


def configured_connections() -> list[str]:
    """The ids that this process's configuration says are governed."""
    found = [one.strip() for one in (option("governed_connections") or "").split(",")]
    for section, name in (("workers", "secrets_backend_kwargs"), ("secrets", "backend_kwargs")):
        found += _mapped(backend_arguments(section, name).get("connections"))
    return sorted({one for one in found if one})


def _mapped(connections: Any) -> list[str]:
    """The ids in `connections`; nothing where they cannot be read (the backend says so)."""
    if isinstance(connections, str):
        try:
            connections = json.loads(connections)
        except ValueError:
            return []
    return [str(one) for one in connections] if isinstance(connections, Mapping) else []


def problems(task: Any, governed: GovernedConnections) -> list[str]:
    """One line for each way around the gateway. Looks at mapped tasks' `partial` and `expand` as well."""
    parameters = _Parameters(task)
    found = []
    for table in TABLES:
        for bypass in table:
            ids = [one for one in parameters.values(bypass.connection) if one in governed]
            if ids and (what := _taken(parameters, bypass)):
                found.append(_said(task, ids[0], what, bypass.because))
    found += _environment(task, governed)
    return found


def _taken(parameters: _Parameters, bypass: Bypass) -> str | None:
    """The parameter that leads elsewhere, as its author wrote it."""
    for value in parameters.values(bypass.parameter):
        if value is None:
            continue
        if bypass.keys is None:
            return bypass.parameter
        if isinstance(value, Mapping):
            if taken := sorted(bypass.keys & set(map(str, value))):
                return f"{bypass.parameter}[{taken[0]!r}]"
        else:
            return f"{bypass.parameter} (only known when it runs)"
    return None


def _environment(task: Any, governed: GovernedConnections) -> Iterator[str]:
    """A pod of the task's own may set `AIRFLOW_CONN_…`, which Airflow reads before it asks anybody."""
    config = getattr(task, "executor_config", None)
    if not isinstance(config, Mapping):
        return
    spec = getattr(config.get("pod_override"), "spec", None)
    for container in [*(getattr(spec, "containers", None) or ()), *(getattr(spec, "init_containers", None) or ())]:
        for variable in getattr(container, "env", None) or ():
            name = str(getattr(variable, "name", ""))
            if (conn_id := governed.in_variable(name)) is not None:
                what = f"executor_config['pod_override'] with {name}"
                yield _said(task, conn_id, what, "Airflow reads that variable before it asks a secrets backend")


def _said(task: Any, conn_id: str, parameter: str, because: str) -> str:
    dag_id = getattr(task, "dag_id", None) or getattr(getattr(task, "dag", None), "dag_id", None)
    name = f"{dag_id}.{task.task_id}" if dag_id else task.task_id
    return f"Task {name}: {parameter} would take connection {conn_id!r} past Taskgate: {because}. Leave it out."


class _Parameters:
    """What a task was given, by name: one value for an operator, all that are known for a mapped one."""

    def __init__(self, task: Any) -> None:
        self._task = task
        self._partial: Mapping[str, Any] | None = getattr(task, "partial_kwargs", None)

    def values(self, name: str) -> list[Any]:
        if self._partial is None:
            return [value] if (value := getattr(self._task, name, None)) is not None else []
        found = [self._partial[name]] if name in self._partial else []
        # `expand(name=[…])` and `expand_kwargs([{…}, …])`; what another task returns is not known yet: itself.
        given = getattr(getattr(self._task, "expand_input", None), "value", None)
        if isinstance(given, Mapping):
            expanded = given.get(name)
            found += list(expanded) if isinstance(expanded, (list, tuple)) else [expanded] if expanded else []
        elif isinstance(given, (list, tuple)):
            found += [one[name] for one in given if isinstance(one, Mapping) and name in one]
        return found
