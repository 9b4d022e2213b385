"""Airflow's public REST API (v2), as far as the gateway asks it: which instance stands where, in which run of what."""

from __future__ import annotations

import contextlib
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Mapping
from typing import Any
from uuid import UUID

from taskgate.domain import AttributeValue, TaskKey
from taskgate.identity.orchestrators.airflow.account import AirflowAccount
from taskgate.identity.orchestrators.airflow.instances import ALIVE, TaskInstance
from taskgate.identity.orchestrators.airflow.paths import addressable, dag_path, instance_path, run_path
from taskgate.identity.orchestrators.faults import AnswerTooLarge, OrchestratorAway

_KEPT = 60.0
_MOST_KEPT = 2048
_PAGE = 100
_LONGEST = 250  # characters of an attribute


class AirflowRest:
    """One Airflow. What it says of runs and DAGs is remembered for a minute, what it says of instances never."""

    def __init__(self, source: str, account: AirflowAccount) -> None:
        self._source = source
        self._account = account
        self._kept: OrderedDict[str, tuple[float, Mapping[str, Any]]] = OrderedDict()

    async def instance(self, task: TaskKey) -> TaskInstance | None:
        """The instance that stands there now. Raises OrchestratorAway."""
        if not addressable(task):
            return None
        found = await self._account.get(instance_path(task))
        return None if found is None else _instance(self._source, found)

    async def alive(self) -> AsyncIterator[TaskInstance]:
        """Every instance of this Airflow that is running or waiting, as far as what it says of each can be read
        (authors choose how much that is). Raises OrchestratorAway."""
        offset, size = 0, _PAGE
        while True:
            try:
                found = await self._listed(offset, size)
            except AnswerTooLarge:
                if size == 1:
                    offset += 1  # this one is asked about by itself
                else:
                    size = max(1, size // 4)
                continue
            for one in found:
                with contextlib.suppress(OrchestratorAway):
                    yield _instance(self._source, one)
            if len(found) < size:
                return
            offset, size = offset + size, min(_PAGE, size * 2)

    async def _listed(self, offset: int, size: int) -> list[Any]:
        query = {"state": sorted(ALIVE), "limit": size, "order_by": "id", "offset": offset}
        page = await self._account.get("/dags/~/dagRuns/~/taskInstances", query) or {}
        found = page.get("task_instances")
        if not isinstance(found, list):
            raise OrchestratorAway(f"Airflow {self._source} lists no task instances")
        return found

    async def run_facts(self, task: TaskKey) -> tuple[Mapping[str, AttributeValue], str]:
        """What the run and the DAG say, as attributes of a principal, and the logical date. Raises OrchestratorAway."""
        run = await self._remembered(run_path(task))
        dag = await self._remembered(dag_path(task))
        facts: dict[str, AttributeValue] = {}
        for name, value in (("run_type", run.get("run_type")), ("triggering_user", run.get("triggering_user_name"))):
            if isinstance(value, str) and value:
                facts[name] = value[:_LONGEST]
        owners, tags = dag.get("owners"), dag.get("tags")
        if isinstance(owners, list) and owners:
            facts["owner"] = ", ".join(sorted(map(str, owners)))[:_LONGEST]
        if isinstance(tags, list) and tags:
            names = (str(tag.get("name") if isinstance(tag, dict) else tag)[:_LONGEST] for tag in tags)
            facts["tags"] = tuple(sorted(names))
        return facts, str(run.get("logical_date") or "")

    async def _remembered(self, path: str) -> Mapping[str, Any]:
        kept = self._kept.get(path)
        if kept is not None and time.monotonic() - kept[0] < _KEPT:
            return kept[1]
        found: Mapping[str, Any] | None = await self._account.get(path)
        if found is None:
            return {}
        self._kept[path] = time.monotonic(), found
        while len(self._kept) > _MOST_KEPT:
            self._kept.popitem(last=False)
        return found


def _instance(source: str, found: Mapping[str, Any]) -> TaskInstance:
    """Raises OrchestratorAway for an answer that is not what Airflow's API describes."""
    version = found.get("dag_version") or {}
    attributes: dict[str, AttributeValue] = {}
    for name, value in (
        ("bundle", version.get("bundle_name")),
        ("bundle_version", version.get("bundle_version")),
        ("dag_version", version.get("version_number")),
        ("queue", found.get("queue")),
    ):
        if isinstance(value, str | int) and value:
            attributes[name] = value[:_LONGEST] if isinstance(value, str) else value
    try:
        task = TaskKey(
            source,
            str(found["dag_id"]),
            str(found["dag_run_id"]),
            str(found["task_id"]),
            int(found["map_index"]),
        )
        return TaskInstance(
            id=str(UUID(found["id"])),
            task=task,
            state=found["state"],
            try_number=max(int(found["try_number"]), 1),
            max_tries=int(found["max_tries"]),
            attributes=attributes,
        )
    except (KeyError, ValueError, TypeError, AttributeError):
        raise OrchestratorAway(f"Airflow {source} describes a task instance in a way that is not understood") from None
