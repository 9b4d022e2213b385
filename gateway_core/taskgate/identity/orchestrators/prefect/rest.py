"""Prefect's REST API, as far as the gateway asks it: which runs there are, in which state, of which flow and
deployment.

https://docs.prefect.io/v3/api-ref/rest-api
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar
from uuid import UUID

import structlog

from taskgate.identity.orchestrators.faults import AnswerTooLarge, OrchestratorAway
from taskgate.identity.orchestrators.prefect import reading
from taskgate.identity.orchestrators.prefect.account import PrefectAccount
from taskgate.identity.orchestrators.prefect.runs import Deployment, FlowRun, Looked, TaskRun

log = structlog.get_logger(__name__)

_KEPT = 60.0
_MOST_KEPT = 2048
_PAGE = 100
_MOST_PAUSED = 5000
_Run = TypeVar("_Run", FlowRun, TaskRun)
_Read = TypeVar("_Read")


class PrefectRest:
    """One Prefect. Flows and deployments are remembered for a minute, what it says of runs never.

    Whoever writes a flow decides much of what Prefect says of its runs. So of several runs that are asked about
    together, one that cannot be read, or says more than anybody reads, is left out like one that is not there, and the
    others are answered for. All methods raise OrchestratorAway."""

    def __init__(self, source: str, account: PrefectAccount) -> None:
        self._source = source
        self._account = account
        self._kept: OrderedDict[str, tuple[float, Any]] = OrderedDict()

    async def answers(self) -> None:
        """Returns where its API lets the gateway list flow runs."""
        await self._page("flow_runs", {"limit": 1})

    async def flow_run(self, run_id: str) -> FlowRun | None:
        return await self._one(f"/flow_runs/{run_id}", reading.flow_run)

    async def task_run(self, run_id: str) -> TaskRun | None:
        return await self._one(f"/task_runs/{run_id}", reading.task_run)

    async def look(self, flow_runs: Iterable[str], task_runs: Iterable[str]) -> Looked:
        """Those there are. What is no UUID is no run of a Prefect, and is not asked about."""
        return Looked(
            await self._those("flow_runs", flow_runs, reading.flow_run),
            await self._those("task_runs", task_runs, reading.task_run),
        )

    async def paused(self) -> list[FlowRun]:
        """Every flow run that is paused or suspended."""
        chosen = {"flow_runs": {"state": {"type": {"any_": ["PAUSED"]}}}, "sort": "ID_DESC"}
        found: list[FlowRun] = []
        offset, size = 0, _PAGE
        while offset < _MOST_PAUSED:
            try:
                page = await self._page("flow_runs", {**chosen, "limit": size, "offset": offset})
            except AnswerTooLarge:
                offset += size == 1
                size = max(1, size // 2)
                continue
            found += self._readable(page, reading.flow_run)
            if len(page) < size:
                break
            offset += len(page)
            size = min(_PAGE, size * 2)
        return found

    async def flow_name(self, flow_id: str) -> str:
        name = await self._remembered(f"/flows/{flow_id}", reading.flow_name)
        if name is None:
            raise OrchestratorAway(f"Prefect {self._source} does not know the flow of its own run")
        return name

    async def deployment(self, deployment_id: str) -> Deployment | None:
        """None where it was deleted."""
        return await self._remembered(f"/deployments/{deployment_id}", reading.deployment)

    async def resume(self, run_id: str, run_input: Mapping[str, str]) -> str | None:
        """Resume a paused or suspended run. None where that was done, else why Prefect did not."""
        answer = await self._account.post(f"/flow_runs/{run_id}/resume", {"run_input": dict(run_input)})
        if answer is None:
            return "there is no such flow run"

        def refusal(one: Mapping[str, Any]) -> str | None:
            if one["status"] == "ACCEPT":
                return None
            details = one.get("details")
            said = details.get("reason") if isinstance(details, Mapping) else details
            return next(text for text in (said, one["status"], "no reason is given") if text and isinstance(text, str))

        return self._understood(refusal, answer)

    async def emit(self, events: list[Mapping[str, Any]]) -> None:
        await self._account.post("/events", events)

    async def _one(self, path: str, read: Callable[[Mapping[str, Any]], _Read]) -> _Read | None:
        found = await self._account.get(path)
        return None if found is None else self._understood(read, found)

    async def _remembered(self, path: str, read: Callable[[Mapping[str, Any]], _Read]) -> _Read | None:
        kept = self._kept.get(path)
        if kept is not None and time.monotonic() - kept[0] < _KEPT:
            found: _Read | None = kept[1]
            return found
        found = await self._one(path, read)
        self._kept[path] = time.monotonic(), found
        while len(self._kept) > _MOST_KEPT:
            self._kept.popitem(last=False)
        return found

    async def _those(
        self, kind: str, ids: Iterable[str], read: Callable[[Mapping[str, Any]], _Run]
    ) -> Mapping[str, _Run]:
        wanted = sorted({run_id for run_id in ids if _is_uuid(run_id)})
        found: list[_Run] = []
        for start in range(0, len(wanted), _PAGE):
            found += await self._some(kind, wanted[start : start + _PAGE], read)
        return {one.id: one for one in found}

    async def _some(self, kind: str, ids: list[str], read: Callable[[Mapping[str, Any]], _Run]) -> list[_Run]:
        try:
            page = await self._page(kind, {kind: {"id": {"any_": ids}}, "limit": len(ids)})
        except AnswerTooLarge as fault:
            if len(ids) == 1:
                log.warning("orchestrator.run_unreadable", source=self._source, run=ids[0], reason=fault.message)
                return []
            half = len(ids) // 2
            return await self._some(kind, ids[:half], read) + await self._some(kind, ids[half:], read)
        return self._readable(page, read)

    async def _page(self, kind: str, chosen: Mapping[str, Any]) -> list[Any]:
        page = await self._account.post(f"/{kind}/filter", chosen)
        if not isinstance(page, list):
            raise OrchestratorAway(f"Prefect {self._source} lists no {kind}")
        return page

    def _readable(self, page: list[Any], read: Callable[[Mapping[str, Any]], _Run]) -> list[_Run]:
        found = []
        for one in page:
            try:
                found.append(self._understood(read, one))
            except OrchestratorAway as fault:
                run = str(one.get("id"))[:36] if isinstance(one, dict) else None
                log.warning("orchestrator.run_unreadable", source=self._source, run=run, reason=fault.message)
        return found

    def _understood(self, read: Callable[[Mapping[str, Any]], _Read], found: Any) -> _Read:
        try:
            return read(found)
        except (KeyError, ValueError, TypeError, AttributeError):
            raise OrchestratorAway(
                f"Prefect {self._source} answers in a way that is not understood",
                hint="Names of flows, deployments, work pools and job variables have 250 characters at most, none of "
                "them a control character; a flow run sets 100 job variables at most.",
            ) from None


def _is_uuid(text: str) -> bool:
    try:
        return str(UUID(text)) == text
    except ValueError:
        return False
