"""Prefect's REST API, as far as the gateway asks it: which runs there are, in which state, of which flow and
deployment.

https://docs.prefect.io/v3/api-ref/rest-api
"""

from __future__ import annotations

import re
import time
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from taskgate.identity.orchestrators.faults import OrchestratorAway
from taskgate.identity.orchestrators.prefect.account import PrefectAccount
from taskgate.identity.orchestrators.prefect.runs import FlowRun, Looked, TaskRun

_KEPT = 60.0
_MOST_KEPT = 2048
_PAGE = 100
_MOST_PAUSED = 5000
_LONGEST = 250  # characters of an attribute
_TASK_KEY = re.compile(r"(.+)-[0-9a-f]{8}")  # the function's name and a hash of its source


class PrefectRest:
    """One Prefect. Names of flows and deployments are remembered for a minute, what it says of runs never."""

    def __init__(self, source: str, account: PrefectAccount) -> None:
        self._source = source
        self._account = account
        self._names: OrderedDict[str, tuple[float, str | None]] = OrderedDict()

    async def flow_run(self, run_id: str) -> FlowRun | None:
        """Raises OrchestratorAway."""
        found = await self._account.get(f"/flow_runs/{run_id}")
        return None if found is None else self._understood(_flow_run, found)

    async def task_run(self, run_id: str) -> TaskRun | None:
        """Raises OrchestratorAway."""
        found = await self._account.get(f"/task_runs/{run_id}")
        return None if found is None else self._understood(_task_run, found)

    async def look(self, flow_runs: Iterable[str], task_runs: Iterable[str]) -> Looked:
        """Those there are. Raises OrchestratorAway."""
        flows = [self._understood(_flow_run, one) for one in await self._filtered("flow_runs", flow_runs)]
        tasks = [self._understood(_task_run, one) for one in await self._filtered("task_runs", task_runs)]
        return Looked({one.id: one for one in flows}, {one.id: one for one in tasks})

    async def _filtered(self, kind: str, ids: Iterable[str]) -> list[Any]:
        wanted, found = sorted(set(ids)), []
        for start in range(0, len(wanted), _PAGE):
            some = wanted[start : start + _PAGE]
            page = await self._account.post(f"/{kind}/filter", {kind: {"id": {"any_": some}}, "limit": len(some)})
            if not isinstance(page, list):
                raise OrchestratorAway(f"Prefect {self._source} lists no {kind}")
            found += page
        return found

    async def paused(self) -> list[FlowRun]:
        """Every flow run that is paused or suspended. Raises OrchestratorAway."""
        found: list[FlowRun] = []
        while True:
            chosen = {"flow_runs": {"state": {"type": {"any_": ["PAUSED"]}}}, "sort": "ID_DESC"}
            page = await self._account.post("/flow_runs/filter", {**chosen, "limit": _PAGE, "offset": len(found)})
            if not isinstance(page, list):
                raise OrchestratorAway(f"Prefect {self._source} lists no flow runs")
            found += [self._understood(_flow_run, one) for one in page]
            if len(page) < _PAGE or len(found) >= _MOST_PAUSED:
                return found

    async def flow_name(self, flow_id: str) -> str:
        """Raises OrchestratorAway."""
        name = await self._named(f"/flows/{flow_id}")
        if name is None:
            raise OrchestratorAway(f"Prefect {self._source} does not know the flow of its own run")
        return name

    async def deployment_name(self, deployment_id: str) -> str | None:
        """None where it was deleted. Raises OrchestratorAway."""
        return await self._named(f"/deployments/{deployment_id}")

    async def _named(self, path: str) -> str | None:
        kept = self._names.get(path)
        if kept is not None and time.monotonic() - kept[0] < _KEPT:
            return kept[1]
        found = await self._account.get(path)
        name = None if found is None else str(self._understood(lambda one: one["name"], found))[:_LONGEST]
        self._names[path] = time.monotonic(), name
        while len(self._names) > _MOST_KEPT:
            self._names.popitem(last=False)
        return name

    async def resume(self, run_id: str, run_input: Mapping[str, str]) -> str | None:
        """Resume a paused or suspended run. None where that was done, else why Prefect did not. Raises
        OrchestratorAway."""
        answer = await self._account.post(f"/flow_runs/{run_id}/resume", {"run_input": dict(run_input)})
        if answer is None:
            return "there is no such flow run"
        status, details = self._understood(lambda one: (one["status"], one.get("details") or {}), answer)
        return None if status == "ACCEPT" else str(details.get("reason") or status)

    async def emit(self, events: list[Mapping[str, Any]]) -> None:
        """Raises OrchestratorAway."""
        await self._account.post("/events", events)

    def _understood(self, read: Any, found: Any) -> Any:
        """Raises OrchestratorAway for an answer that is not what Prefect's API describes."""
        try:
            return read(found)
        except (KeyError, ValueError, TypeError, AttributeError):
            raise OrchestratorAway(f"Prefect {self._source} describes a run in a way that is not understood") from None


def _flow_run(found: Mapping[str, Any]) -> FlowRun:
    state = found["state"] or {"type": "PENDING", "name": "Pending", "timestamp": found["created"]}
    details = state.get("state_details") or {}
    creator = found.get("created_by") or {}
    return FlowRun(
        id=found["id"],
        name=found["name"][:_LONGEST],
        flow_id=found["flow_id"],
        deployment_id=found.get("deployment_id"),
        work_pool=_text(found.get("work_pool_name")),
        state=state["type"],
        state_name=str(state["name"])[:_LONGEST],
        state_at=datetime.fromisoformat(state["timestamp"]),
        suspended=state["type"] == "PAUSED" and bool(details.get("pause_reschedule")),
        pause_key=_text(details.get("pause_key")),
        run_count=int(found["run_count"]),
        parent_task_run_id=found.get("parent_task_run_id"),
        scheduled=bool(found.get("auto_scheduled")),
        tags=tuple(sorted(str(tag)[:_LONGEST] for tag in found.get("tags") or ())),
        created_by=_text(creator.get("display_value")) if creator.get("type") == "USER" else None,
        overrides=tuple(sorted(str(name)[:_LONGEST] for name in found.get("job_variables") or ())),
        pauses=len((found.get("empirical_policy") or {}).get("pause_keys") or ()),
    )


def _task_run(found: Mapping[str, Any]) -> TaskRun:
    task_key = str(found["task_key"])
    named = _TASK_KEY.fullmatch(task_key)
    state = found["state"] or {"type": "PENDING"}
    return TaskRun(
        id=found["id"],
        name=str(found["name"])[:_LONGEST],
        task=(named[1] if named else task_key)[:_LONGEST],
        flow_run_id=found.get("flow_run_id"),
        state=state["type"],
        run_count=int(found["run_count"]),
    )


def _text(value: object) -> str | None:
    return value[:_LONGEST] if isinstance(value, str) and value else None
