"""AL-04: tokens that prove nothing, at Airflow's API server and, with its service key, straight at the gateway.

The tests hold Airflow's private key, so that they can make every token that an attacker would want to have."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import httpx
import psycopg
import pytest

from taskgate.client import Client
from tests.e2e.airflow_api import Run
from tests.e2e.airflow_forms import Form
from tests.e2e.airflow_keyholders import KeyHolder, coordinates
from tests.e2e.airflow_tokens import ExecutionApi, TaskTokens
from tests.e2e.attack_out import AttackOut
from tests.e2e.real_airflow import RealAirflow
from tests.e2e.shop import APP_PASSWORD, Shop

pytestmark = pytest.mark.timeout(400)

QUICKLY = 2.0


@dataclass(frozen=True)
class Ground:
    """`a` and `b` run `attack_sleeps`; `ended` is a try that is over, and held nothing."""

    a: Run
    b: Run
    ended: Run
    tokens: TaskTokens
    airflow: RealAirflow
    shop: Shop
    thief: KeyHolder
    dana: Client
    attempts: dict[str, str] = field(default_factory=dict)

    @property
    def execution_api(self) -> ExecutionApi:
        return ExecutionApi(self.airflow.url)

    def attempt(self, run: Run) -> str:
        return self.attempts.get(run.run_id) or self.attempts.setdefault(run.run_id, run.tasks()[0].id)

    def issued(self) -> list[str]:
        """The newest credentials there are."""
        return [one.id for one in islice(self.dana.credentials(), 10)]

    def said(self, since: int) -> str:
        """What the API server has written since then."""
        return self.airflow.components["api-server"].log.read_bytes()[since:].decode(errors="replace")


@pytest.fixture(scope="module")
def ground(
    real_airflow: RealAirflow, airflow_shop: Shop, airflow_form: Form, attack_out: AttackOut
) -> Iterator[Ground]:
    real_airflow.wait_for_dags("attack_sleeps", "attack_looks")
    runs = [real_airflow.admin.trigger("attack_sleeps", {"seconds": 300}) for _ in "ab"]
    ended = real_airflow.admin.trigger("attack_sleeps", {"conn_id": "direct_db", "seconds": 0})
    for run in runs:
        run.wait("sleeps", "running")
        real_airflow.until(lambda run=run: attack_out.of(run.run_id, "new"), 60)
    assert ended.end() == "success"
    thief = KeyHolder.of("api-server", airflow_form, airflow_shop)
    tokens = TaskTokens(real_airflow.keys)
    with airflow_shop.client() as dana:
        yield Ground(runs[0], runs[1], ended, tokens, real_airflow, airflow_shop, thief, dana)
    for run in runs:
        run.mark_run("failed")


Token = Callable[[Ground], str]

NOT_AIRFLOWS: Mapping[str, Token] = {
    "signed with another key": lambda on: on.tokens.forged(on.attempt(on.a)),
    "signed with a key that it brings along": lambda on: on.tokens.forged(
        on.attempt(on.a), jku="http://127.0.0.1:1/jwks.json", jwk={"kty": "oct", "k": "AAAA"}
    ),
    "with a key id that is a path": lambda on: on.tokens.forged(on.attempt(on.a), kid="../../../../dev/null"),
    "with the public key as a secret": lambda on: on.tokens.with_the_public_key_as_secret(on.attempt(on.a)),
    "not signed": lambda on: on.tokens.unsigned(on.attempt(on.a)),
    "cut off": lambda on: on.tokens.of(on.attempt(on.a))[:-8],
    "a person's": lambda on: on.airflow.admin.token,
    "for people, of a task": lambda on: on.tokens.of(on.attempt(on.a), aud=on.tokens.keys.api_audience),
    "for nobody": lambda on: on.tokens.of(on.attempt(on.a), aud=None),
    "by another issuer": lambda on: on.tokens.of(on.attempt(on.a), iss="https://elsewhere.test"),
    "expired": lambda on: on.tokens.of(on.attempt(on.a), exp=int(time.time()) - 60),
    "for ever": lambda on: on.tokens.of(on.attempt(on.a), exp=None),
    "not valid yet": lambda on: on.tokens.of(on.attempt(on.a), nbf=int(time.time()) + 3600),
    "of work that is queued": lambda on: on.tokens.of(on.attempt(on.a), scope="workload"),
    "of an unheard-of scope": lambda on: on.tokens.of(on.attempt(on.a), scope="admin"),
}
"""Tokens that Airflow has not made for a running task: each otherwise as `a`'s own."""
OF_NO_INSTANCE: Mapping[str, Token] = {"of no instance": lambda on: on.tokens.of("admin")}  # Airflow's answer is 500


@pytest.mark.parametrize("how", NOT_AIRFLOWS)
def test_al_04_a_token_that_is_not_a_tasks_gets_nothing_of_airflow(ground: Ground, how: str) -> None:
    token, before = NOT_AIRFLOWS[how](ground), ground.issued()
    answer, log = _asked(ground, token)
    assert answer.status_code == httpx.codes.FORBIDDEN
    assert ground.issued() == before
    assert "JWT" in log or "oken" in log  # Airflow's own words
    assert _tells_no_secret(answer.text + log, token)


@pytest.mark.parametrize("how", NOT_AIRFLOWS | OF_NO_INSTANCE)
def test_al_04_nor_of_the_gateway_with_the_api_servers_key(ground: Ground, how: str) -> None:
    token, before = (NOT_AIRFLOWS | OF_NO_INSTANCE)[how](ground), ground.issued()
    answer = _quick(lambda: ground.thief.exchange(token, coordinates(ground.a, "sleeps")))
    assert answer.status_code == httpx.codes.FORBIDDEN
    assert answer.json()["code"] == ("task_token_expired" if how == "expired" else "task_token_invalid")
    assert ground.issued() == before
    log = ground.shop.gateway.log_file.read_text()
    assert _tells_no_secret(answer.text + log, token)


def test_al_04_without_a_token_there_is_no_connection(ground: Ground) -> None:
    before = ground.issued()
    answer = _quick(lambda: ground.execution_api.connection("orders_db", None))
    assert answer.status_code == httpx.codes.UNAUTHORIZED
    assert ground.issued() == before


NOT_RUNNING: Mapping[str, tuple[Token, str]] = {
    "of an instance that does not exist": (lambda on: on.tokens.of(str(uuid.uuid4())), "does not know"),
    "of a task that has ended": (lambda on: on.tokens.of(on.attempt(on.ended)), "is success, not running"),
}


@pytest.mark.parametrize("how", NOT_RUNNING)
def test_al_04_a_token_of_what_does_not_run_is_refused_with_the_reason(ground: Ground, how: str) -> None:
    """Airflow itself takes these: it asks only whether it has signed them."""
    make, why = NOT_RUNNING[how]
    token, before = make(ground), ground.issued()
    answer, log = _asked(ground, token)
    assert answer.status_code == httpx.codes.FORBIDDEN
    assert ground.issued() == before
    assert "taskgate: connection refused" in log
    assert why in log
    said = ground.execution_api.reason("orders_db", token)
    assert said is not None
    assert why in said
    assert ground.execution_api.reason("orders_db", ground.tokens.of(ground.attempt(ground.a))) is None, "another's"
    assert _tells_no_secret(answer.text + log + said, token)


def test_al_04_an_earlier_try_is_no_try_any_more(ground: Ground, attack_out: AttackOut) -> None:
    airflow = ground.airflow
    run = airflow.admin.trigger("attack_sleeps", {"conn_id": "direct_db", "seconds": 120})
    first = run.wait("sleeps", "running").id
    run.clear("sleeps")
    second = run.wait("sleeps", "running", try_number=2).id
    assert first != second
    old, before = ground.tokens.of(first), ground.issued()
    assert _asked(ground, old)[0].status_code == httpx.codes.FORBIDDEN
    answer = ground.thief.exchange(old, coordinates(run, "sleeps"))
    assert (answer.status_code, answer.json()["code"]) == (403, "instance_superseded")
    assert ground.issued() == before
    assert ground.thief.exchange(ground.tokens.of(second), coordinates(run, "sleeps")).is_success
    run.mark_run("failed")


def test_al_04_while_it_waits_a_task_gets_nothing_by_its_token(ground: Ground) -> None:
    run = ground.airflow.admin.trigger("questions")
    token = ground.tokens.of(run.wait("asks", "awaiting_input").id)
    before = ground.issued()
    answer, log = _asked(ground, token)
    assert answer.status_code == httpx.codes.FORBIDDEN
    assert "is awaiting_input, not running" in log
    assert ground.issued() == before
    run.mark_run("failed")


ELSEWHERE: Mapping[str, tuple[Callable[[Ground], dict[str, Any]], str]] = {
    "another run's": (lambda on: coordinates(on.b, "sleeps"), "instance_superseded"),
    "another DAG's": (lambda on: coordinates(on.a, "sleeps", dag_id="attack_reads"), "instance_not_found"),
    "another task's": (lambda on: coordinates(on.a, "takes"), "instance_not_found"),
    "another map index": (lambda on: coordinates(on.a, "sleeps", map_index=0), "instance_not_found"),
    "an ended run's": (lambda on: coordinates(on.ended, "sleeps"), "instance_superseded"),
    "any DAG's": (lambda on: coordinates(on.a, "sleeps", dag_id="~"), "instance_not_found"),
    "any run's": (lambda on: coordinates(on.a, "sleeps", run_id="~"), "instance_not_found"),
    "a way out of the path": (
        lambda on: coordinates(on.a, f"../../{on.a.run_id}/taskInstances/sleeps"),
        "instance_not_found",
    ),
    "another Airflow's": (lambda on: coordinates(on.a, "sleeps", source="prod-airflow"), "source_not_permitted"),
}


@pytest.mark.parametrize("whose", ELSEWHERE)
def test_al_04_a_running_tasks_token_stands_for_no_other(ground: Ground, whose: str) -> None:
    where, code = ELSEWHERE[whose]
    token, before = ground.tokens.of(ground.attempt(ground.a)), ground.issued()
    answer = _quick(lambda: ground.thief.exchange(token, where(ground)))
    assert (answer.status_code, answer.json()["code"]) == (403, code)
    assert ground.issued() == before
    assert _tells_no_secret(answer.text, token)


def test_al_04_whose_the_first_header_is_that_one_is_answered(ground: Ground) -> None:
    """Two readers of one request must not read two tokens: Airflow verifies the one that the backend looks at."""
    a, b = (ground.tokens.of(ground.attempt(run)) for run in (ground.a, ground.b))
    forged = ground.tokens.forged(ground.attempt(ground.b))
    login = {
        name: ground.execution_api.connection("orders_db", token).json()["login"]
        for name, token in (("a", a), ("b", b))
    }
    assert login["a"] != login["b"]
    url = f"{ground.airflow.url}/execution/connections/orders_db"
    for first, second, expected in ((a, b, "a"), (b, a, "b"), (a, forged, "a"), (forged, a, None)):
        sent = [("Authorization", f"Bearer {first}"), ("authorization", f"Bearer {second}")]
        answer = httpx.get(url, headers=sent, timeout=10)
        if expected is None:
            assert answer.status_code == httpx.codes.FORBIDDEN
        else:
            assert answer.json()["login"] == login[expected]
    for name, run in (("a", ground.a), ("b", ground.b)):
        held = ground.dana.credential(login[name])
        assert held.principal.attempt is not None
        assert held.principal.attempt.id == ground.attempt(run)


def test_al_04_replayed_after_the_end_it_gives_what_is_dead(ground: Ground, attack_out: AttackOut) -> None:
    """The API server still has what it handed out: to callbacks. The gateway lets it read for a moment, then not at
    all; for a target that was not held there is nothing."""
    run = ground.airflow.admin.trigger("attack_sleeps", {"seconds": 120})
    ground.airflow.until(lambda: attack_out.of(run.run_id, "new"), 60)
    token = ground.tokens.of(ground.attempt(run))
    held = ground.execution_api.connection("orders_db", token).json()
    run.mark("sleeps", "failed")
    ended = time.monotonic()
    before = ground.issued()
    other = ground.execution_api.connection("shop_db", token)
    assert other.status_code == httpx.codes.FORBIDDEN
    assert ground.issued() == before

    def dead() -> bool:
        try:
            psycopg.connect(
                host=held["host"], port=held["port"], dbname=held["schema"], user=held["login"],
                password=held["password"], connect_timeout=5,
            ).close()  # fmt: skip
        except psycopg.OperationalError as error:
            return "password authentication failed" in str(error)
        return False

    ground.airflow.until(dead, 20)
    assert time.monotonic() - ended < 20
    again = ground.execution_api.connection("orders_db", token)
    assert again.status_code == httpx.codes.FORBIDDEN or again.json()["login"] == held["login"]
    answer = ground.thief.exchange(token, coordinates(run, "sleeps"))
    assert (answer.status_code, answer.json()["code"]) == (403, "instance_not_running")
    assert set(ground.issued()) <= set(before)


def _asked(ground: Ground, token: str) -> tuple[httpx.Response, str]:
    """Airflow's answer to who asks for `orders_db` with this token, and what its API server wrote meanwhile."""
    log = ground.airflow.components["api-server"].log
    since = log.stat().st_size
    answer = _quick(lambda: ground.execution_api.connection("orders_db", token))
    return answer, ground.said(since)


def _quick(ask: Callable[[], httpx.Response]) -> httpx.Response:
    started = time.monotonic()
    answer = ask()
    assert time.monotonic() - started < QUICKLY, answer.text
    return answer


def _tells_no_secret(text: str, token: str) -> bool:
    """Not even a part of the token that would let somebody go on guessing: its signature."""
    signature = token.rpartition(".")[2]
    return APP_PASSWORD not in text and token not in text and (not signature or signature not in text)
