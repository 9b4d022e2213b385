"""Paused and suspended flow runs against stand-ins for Prefect's; the real one is in tests/e2e."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from structlog.testing import capture_logs

from taskgate.approvals import prefect_resumes
from taskgate.approvals.prefect_resumes import PrefectResumes
from taskgate.domain import Approval, Assurance, Attempt, Principal, PrincipalKind, TaskKey
from taskgate.identity.orchestrators.faults import OrchestratorAway
from tests.integration.approvals.setting import Gateway, draft
from tests.integration.approvals.test_outbox import until

RUN = "5c1ee0a4-0c0e-4f0d-9a51-000000000001"


@dataclass
class Run:
    pause_key: str | None
    id: str = RUN
    is_paused: bool = True
    suspended: bool = False
    state_at: datetime = field(default_factory=lambda: datetime.now(UTC))


@dataclass
class Runs:
    """`refuses`: why Prefect does not resume, so many times."""

    runs: list[Run] = field(default_factory=list)
    resumed: list[tuple[str, Mapping[str, str]]] = field(default_factory=list)
    refuses: int = 0
    away: bool = False

    def _there(self) -> None:
        if self.away:
            raise OrchestratorAway("Prefect prod cannot be asked: ConnectError")

    async def flow_run(self, run_id: str) -> Run | None:
        self._there()
        return next((run for run in self.runs if run.id == run_id), None)

    async def paused(self) -> Sequence[Run]:
        self._there()
        return [run for run in self.runs if run.is_paused]

    async def resume(self, run_id: str, run_input: Mapping[str, str]) -> str | None:
        self._there()
        if self.refuses:
            self.refuses -= 1
            return "Run input schema not found."
        for run in self.runs:
            if run.id == run_id:
                run.is_paused = False
        self.resumed.append((run_id, run_input))
        return None


def flow_run(run_id: str = RUN, source: str = "prod") -> Principal:
    key = TaskKey(source, "orders-cleanup", run_id, "clean")
    attempt = Attempt("t:1", key, run_name="wakeful-crow", of_run=True)
    return Principal(
        PrincipalKind.TASK, key.name, source, Assurance.VERIFIED, "prefect:prod, by its worker", {}, attempt
    )


async def asked(gateway: Gateway, **changes: Any) -> Approval:
    return await gateway.approvals.request(draft(**{"principal": flow_run(), **changes}))


@asynccontextmanager
async def resuming(gateway: Gateway, runs: Runs) -> AsyncIterator[PrefectResumes]:
    resumes = PrefectResumes("prod", runs, gateway.approvals)
    async with gateway.running():
        task = asyncio.create_task(resumes.run(gateway.signals))
        try:
            yield resumes
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task


@pytest.mark.parametrize("approve", [True, False])
async def test_a_run_is_resumed_when_what_it_waits_for_is_decided(gateway: Gateway, approve: bool) -> None:
    dana, runs = await gateway.person("dana"), Runs()
    async with resuming(gateway, runs):
        approval = await asked(gateway)
        runs.runs.append(Run(f"{approval.id}-x1"))
        await asyncio.sleep(0.1)
        assert runs.resumed == []
        await gateway.approvals.decide(approval.id, dana.id, approve)
        await until(lambda: bool(runs.resumed))
    decision = "approved" if approve else "denied"
    assert runs.resumed == [(RUN, {"approval_id": approval.id, "decision": decision})]


async def test_a_run_stays_suspended_until_its_process_has_had_time_to_end(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prefect_resumes, "SETTLED", 0.5)
    dana, runs = await gateway.person("dana"), Runs()
    async with resuming(gateway, runs) as resumes:
        approval = await asked(gateway)
        runs.runs.append(Run(f"{approval.id}-x1", suspended=True))
        await gateway.approvals.decide(approval.id, dana.id, True)
        await asyncio.sleep(0.1)
        assert await resumes.sweep() == 0
        assert runs.resumed == []
        await until(lambda: bool(runs.resumed))
    assert datetime.now(UTC) - runs.runs[0].state_at >= timedelta(seconds=0.45)


@pytest.mark.parametrize("ago", [6, 3600, -3600])
async def test_one_suspended_long_ago_or_by_another_clock_is_resumed_at_once(gateway: Gateway, ago: float) -> None:
    dana, approval = await gateway.person("dana"), await asked(gateway)
    await gateway.approvals.decide(approval.id, dana.id, True)
    suspended = Run(f"{approval.id}-x1", suspended=True, state_at=datetime.now(UTC) - timedelta(seconds=ago))
    assert await PrefectResumes("prod", Runs([suspended]), gateway.approvals).sweep() == 1


async def test_a_request_that_expires_resumes_too(gateway: Gateway) -> None:
    runs = Runs()
    async with resuming(gateway, runs):
        approval = await asked(gateway)
        runs.runs.append(Run(f"{approval.id}-x1"))
        await gateway.let_time_pass(approval.id, 601)
        await until(lambda: bool(runs.resumed))
    assert runs.resumed[0][1]["decision"] == "expired"


async def test_what_was_decided_while_prefect_or_the_gateway_was_away_is_made_up_for(gateway: Gateway) -> None:
    dana, runs = await gateway.person("dana"), Runs(away=True)
    approval, other = await asked(gateway), await asked(gateway, digest="e" * 64)
    runs.runs += [Run(f"{approval.id}-x1")]
    resumes = PrefectResumes("prod", runs, gateway.approvals)
    await gateway.approvals.decide(approval.id, dana.id, True)
    with pytest.raises(OrchestratorAway):
        await resumes.sweep()
    runs.away = False
    assert await resumes.sweep() == 1
    assert await resumes.sweep() == 0
    runs.runs[0] = Run(f"{other.id}-x2")
    assert await resumes.sweep() == 0, "that one is pending"


async def test_a_form_that_is_not_there_yet_is_waited_for(gateway: Gateway) -> None:
    dana, runs = await gateway.person("dana"), Runs(refuses=1)
    async with resuming(gateway, runs):
        approval = await asked(gateway)
        runs.runs.append(Run(f"{approval.id}-x1"))
        await gateway.approvals.decide(approval.id, dana.id, True)
        await until(lambda: bool(runs.resumed))


async def test_a_resume_that_prefect_refuses_is_said_once(gateway: Gateway) -> None:
    dana, runs = await gateway.person("dana"), Runs(refuses=99)
    approval = await asked(gateway)
    runs.runs.append(Run(f"{approval.id}-x1"))
    await gateway.approvals.decide(approval.id, dana.id, True)
    resumes = PrefectResumes("prod", runs, gateway.approvals)
    with capture_logs() as logs:
        for _ in range(3):
            assert await resumes.sweep() == 0
    assert [line["event"] for line in logs if line["log_level"] == "warning"] == ["prefect.resume_refused"]


@pytest.mark.parametrize("key", [None, "0", "apr_", "apr_x-1", "apr_{other}-x1", "{id}", "x{id}-1"])
async def test_a_run_that_waits_for_something_else_is_left_alone(gateway: Gateway, key: str | None) -> None:
    dana = await gateway.person("dana")
    approval = await asked(gateway)
    await gateway.approvals.decide(approval.id, dana.id, True)
    written = key and key.replace("{id}", approval.id).replace("{other}", "0" * 32)
    runs = Runs([Run(written)])
    resumed = await PrefectResumes("prod", runs, gateway.approvals).sweep()
    assert resumed == (1 if written == approval.id else 0), "the id alone is a key too"


@pytest.mark.parametrize("principal", [flow_run(RUN[:-1] + "2"), flow_run(source="other"), None])
async def test_a_key_that_names_somebody_elses_approval_resumes_nothing(
    gateway: Gateway, principal: Principal | None
) -> None:
    dana = await gateway.person("dana")
    approval = await (asked(gateway, principal=principal) if principal else gateway.approvals.request(draft()))
    await gateway.approvals.decide(approval.id, dana.id, True)
    runs = Runs([Run(f"{approval.id}-x1")])
    assert await PrefectResumes("prod", runs, gateway.approvals).sweep() == 0
    assert runs.resumed == []


async def test_one_that_is_started_again_hears_every_decision_once(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    resumes, heard = PrefectResumes("prod", Runs(), gateway.approvals), []

    async def failing() -> int:
        raise AttributeError("'str' object has no attribute 'get'")

    monkeypatch.setattr(resumes, "_heard", heard.append)
    monkeypatch.setattr(resumes, "sweep", failing)
    for _ in range(3):
        with pytest.raises(AttributeError):
            await resumes.run(gateway.signals)
    monkeypatch.undo()
    monkeypatch.setattr(resumes, "_heard", heard.append)
    async with gateway.running():
        going = asyncio.create_task(resumes.run(gateway.signals))
        await asyncio.sleep(0.05)
        dana, approval = await gateway.person("dana"), await asked(gateway)
        await gateway.approvals.decide(approval.id, dana.id, True)
        await until(lambda: bool(heard))
        await asyncio.sleep(0.1)
        going.cancel()
        await asyncio.gather(going, return_exceptions=True)
    assert [signal.subject for signal in heard] == [approval.id]
