"""Steps carried out with a client that stands for Prefect's API; the real one is in tests/integration/prefect."""

from __future__ import annotations

import json
import logging
from collections.abc import Generator
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import httpx
import pytest
from prefect.client.schemas.responses import SetStateStatus
from prefect.exceptions import Pause
from prefect.states import Paused, Running, Suspended

from taskgate.client import NotFound, Unreachable
from taskgate_prefect.approvals import carrying_out
from taskgate_prefect.approvals.carrying_out import acarry_out, carry_out
from taskgate_prefect.approvals.waiting import Leave, Look, PauseRun, ResumeRun, SeeRun, Sleep, Step
from tests.unit.prefect.test_waiting import approval

_RUN = uuid4()
_LOG = logging.getLogger("test")


class Api:
    """`away`: names of calls that fail. `refused`: what a pause or resume is answered with."""

    def __init__(self) -> None:
        self.state: Any = Running()
        self.calls: list[tuple[str, Any]] = []
        self.away: set[str] = set()
        self.refused: list[SetStateStatus] = []

    def _called(self, name: str, *what: Any) -> None:
        self.calls.append((name, what))
        if name in self.away:
            raise httpx.ConnectError("away")

    def read_flow_run(self, run_id: Any) -> Any:
        self._called("read")
        return SimpleNamespace(state=self.state)

    def set_flow_run_state(self, run_id: Any, state: Any) -> Any:
        self._called("set", state)
        if self.refused:
            return SimpleNamespace(status=self.refused.pop(), state=None)
        self.state = state
        return SimpleNamespace(status=SetStateStatus.ACCEPT, state=state)

    def create_flow_run_input(self, run_id: Any, key: str, value: str) -> None:
        self._called("input", key, json.loads(value))

    def resume_flow_run(self, run_id: Any, run_input: Any) -> Any:
        self._called("resume", run_input)
        return SimpleNamespace(status=self.refused.pop() if self.refused else SetStateStatus.ACCEPT)


class Awaited:
    def __init__(self, api: Api) -> None:
        self._api = api

    def __getattr__(self, name: str) -> Any:
        async def call(*args: Any, **kwargs: Any) -> Any:
            return getattr(self._api, name)(*args, **kwargs)

        return call


class Opened:
    def __init__(self, api: Api, sync_client: bool) -> None:
        self._client: Any = api if sync_client else Awaited(api)

    def __enter__(self) -> Any:
        return self._client

    async def __aenter__(self) -> Any:
        return self._client

    def __exit__(self, *_: object) -> None:
        """Nothing to close."""

    async def __aexit__(self, *_: object) -> None:
        """Nothing to close."""


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> Api:
    api = Api()
    monkeypatch.setattr(carrying_out, "get_client", lambda sync_client=False: Opened(api, sync_client))
    return api


def steps(*taken: Step) -> Generator[Step, Any, Any]:
    """Returns what each step was answered."""
    answers = []
    for step in taken:
        answers.append((yield step))
    return tuple(answers)


@pytest.fixture(params=["sync", "async"])
def carried_out(request: pytest.FixtureRequest, api: Api) -> Any:
    import asyncio

    def run(*taken: Step, look: Any = lambda approval_id: approval()) -> Any:
        if request.param == "sync":
            return carry_out(steps(*taken), _RUN, look, _LOG)

        async def alook(approval_id: str) -> Any:
            return look(approval_id)

        return asyncio.run(acarry_out(steps(*taken), _RUN, alook, _LOG))

    return run


def pause(*, suspended: bool = False) -> PauseRun:
    return PauseRun(approval(url="https://taskgate.example/a"), "apr_1-f00", 60, suspended)


def test_a_pause_is_set_first_and_its_form_saved_afterwards(carried_out: Any, api: Api) -> None:
    """Prefect 3.9 deletes what was saved under the keys when the state is set; a run with its schema can be resumed."""
    (state,) = carried_out(pause())
    assert state.name == "Paused"
    assert [name for name, _ in api.calls] == ["set", "input", "input"]
    assert [what[0].rpartition("-")[2] for name, what in api.calls[1:]] == ["description", "schema"]
    assert "https://taskgate.example/a" in api.calls[1][1][1]


def test_a_pause_that_is_refused_saves_nothing(carried_out: Any, api: Api) -> None:
    api.refused = [SetStateStatus.REJECT]
    assert carried_out(pause()) == (None,)
    assert [name for name, _ in api.calls] == ["set"]


def test_a_form_that_is_not_saved_is_no_reason_to_fail(carried_out: Any, api: Api) -> None:
    api.away = {"input"}
    (state,) = carried_out(pause(suspended=True))
    assert state.name == "Suspended"


def test_only_our_own_pause_is_resumed(carried_out: Any, api: Api) -> None:
    resume = ResumeRun("apr_1-f00", "apr_1", "approved")
    api.state = Paused(pause_key="another")
    carried_out(resume)
    api.state = Running()
    carried_out(resume)
    assert [name for name, _ in api.calls] == ["read", "read"]
    api.state = Paused(pause_key="apr_1-f00")
    carried_out(resume)
    assert api.calls[-1] == ("resume", ({"approval_id": "apr_1", "decision": "approved"},))


def test_a_run_without_its_form_is_given_one_to_be_resumed(carried_out: Any, api: Api) -> None:
    carried_out(pause())
    api.calls.clear()
    api.refused = [SetStateStatus.REJECT]
    carried_out(ResumeRun("apr_1-f00", "apr_1", "denied"))
    assert [name for name, _ in api.calls] == ["read", "resume", "input", "resume"]


def test_who_is_away_is_asked_again(carried_out: Any, api: Api, caplog: pytest.LogCaptureFixture) -> None:
    def look(approval_id: str) -> Any:
        raise Unreachable("no answer")

    api.away = {"read", "set"}
    assert carried_out(Look("apr_1"), SeeRun(), pause(), Sleep(0), look=look) == (None,) * 4
    assert "Taskgate cannot be asked for the moment (Unreachable)" in caplog.text
    assert "Prefect's API cannot be asked for the moment (ConnectError)" in caplog.text


def test_an_approval_that_there_is_not_ends_the_wait(carried_out: Any) -> None:
    def look(approval_id: str) -> Any:
        raise NotFound("no such approval")

    with pytest.raises(NotFound):
        carried_out(Look("apr_1"), look=look)


def test_leaving_raises_prefects_signal(carried_out: Any) -> None:
    with pytest.raises(Pause):
        carried_out(Leave(Suspended()))
