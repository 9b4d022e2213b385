from __future__ import annotations

import pickle
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, Self
from uuid import UUID, uuid4

import pytest
from pydantic import SecretStr

from taskgate.client import Client, IssuedCredential, NotAuthenticated, PrefectRun
from taskgate_prefect.credentials import AttemptCredential, AttemptCredentials
from taskgate_prefect.gateway import GatewayAccess
from taskgate_prefect.run_attempt import RunAttempt
from tests.unit.prefect.test_connection_arguments import issued as issued_for
from tests.unit.prefect.test_waiting import approval

_FLOW = UUID("00000000-0000-0000-0000-00000000000f")


class Asked:
    """Stands for the client: notes what is asked, and issues credentials for as long as `lives` says."""

    def __init__(self, lives: timedelta = timedelta(hours=1)) -> None:
        self.lives = lives
        self.asked: list[Any] = []

    def issue_credential(self, target: str, *, principal: PrefectRun) -> IssuedCredential:
        self.asked.append((target, principal))
        return self._issued(target)

    def issue_run_credential(self, target: str, **run: Any) -> IssuedCredential:
        self.asked.append((target, run))
        return self._issued(target)

    def _issued(self, target: str) -> IssuedCredential:
        number = len(self.asked)
        return issued_for().model_copy(
            update={"id": f"tg_{number}", "target": target, "expires_at": datetime.now(UTC) + self.lives}
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing to close."""


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Asked:
    asked = Asked()
    monkeypatch.setattr(GatewayAccess, "client", lambda self: asked)
    return asked


def access(*, run_token: bool = False) -> GatewayAccess:
    return GatewayAccess("http://127.0.0.1:9", None, "p", SecretStr("the-key"), run_token)


def attempt(task: bool = True, count: int = 1) -> RunAttempt:
    return RunAttempt(_FLOW, uuid4() if task else None, count)


def test_one_is_asked_for_once(asked: Asked) -> None:
    of, one = AttemptCredentials(), attempt()
    assert of.current(access(), "orders-db", one) is of.current(access(), "orders-db", one)
    assert len(asked.asked) == 1
    target, claim = asked.asked[0]
    assert target == "orders-db"
    assert claim == PrefectRun(source="p", flow_run_id=str(_FLOW), task_run_id=str(one.task_run_id), run_count=1)


def test_with_the_runs_token_nothing_is_claimed(asked: Asked) -> None:
    AttemptCredentials().current(access(run_token=True), "orders-db", attempt(task=False, count=2))
    assert asked.asked == [("orders-db", {"flow_run_id": str(_FLOW), "task_run_id": None, "run_count": 2})]


def test_each_attempt_and_target_has_its_own(asked: Asked) -> None:
    of, one = AttemptCredentials(), attempt()
    other = RunAttempt(one.flow_run_id, one.task_run_id, 2)
    ids = {of.current(access(), target, who).issued.id for target in ("a", "b") for who in (one, other)}
    assert len(ids) == 4


def test_one_that_is_about_to_end_is_replaced(asked: Asked) -> None:
    of, one, asked.lives = AttemptCredentials(), attempt(), timedelta(seconds=20)
    assert of.current(access(), "a", one) is not of.current(access(), "a", one)


def test_one_that_did_not_work_is_replaced_once(asked: Asked) -> None:
    of, one = AttemptCredentials(), attempt()
    first = of.current(access(), "a", one)
    second = of.current(access(), "a", one, after=first)
    assert second is not first
    assert of.current(access(), "a", one, after=first) is second, "another thread has replaced it already"


def test_a_flows_body_includes_its_tasks(asked: Asked) -> None:
    of, one, body = AttemptCredentials(), attempt(), attempt(task=False)
    found = of.current(access(), "a", one)
    assert of.of(one) == of.of(body) == [found]
    assert of.newest(body, "a") is None
    assert of.newest(one, "a") is found
    assert of.first_seen(one, "ses_1")
    assert not of.first_seen(one, "ses_1")
    of.forget(body)
    assert of.of(one) == []
    assert of.first_seen(one, "ses_1")


def test_an_approval_is_asked_for_again_where_the_credential_has_ended(
    asked: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    of, one = AttemptCredentials(), attempt()
    first = of.current(access(), "a", one)
    keys: list[str] = []

    @contextmanager
    def client(self: AttemptCredential) -> Iterator[Any]:
        keys.append(self.issued.id)

        class Own:
            def attempt_approval(self, approval_id: str) -> Any:
                if keys == [first.issued.id]:
                    raise NotAuthenticated("it has ended")
                return approval(name=approval_id)

        yield Own()

    monkeypatch.setattr(AttemptCredential, "client", client)
    assert of.approval(first, "apr_7").id == "apr_7"
    assert keys == ["tg_1", "tg_2"]


def test_nothing_of_it_is_written_down(asked: Asked) -> None:
    of = AttemptCredentials()
    found = of.current(access(), "a", attempt())
    assert "s3cret" not in repr(found) + str(found)
    assert "the-key" not in repr(found)
    with pytest.raises(TypeError, match="not pickled"):
        pickle.dumps(found)


def test_it_is_the_key_to_what_the_gateway_knows_of_the_attempt(asked: Asked) -> None:
    found = AttemptCredentials().current(access(), "a", attempt())
    with found.client() as client:
        assert isinstance(client, Client)
        request = client._http.build_request("GET", "/v1/attempt")
        sent = next(client._http.auth.auth_flow(request))  # type: ignore[union-attr]
    assert sent.headers["Authorization"] == "Bearer tg_1.s3cret"
