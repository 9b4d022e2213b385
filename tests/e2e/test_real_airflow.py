"""The session's Airflow is what other tests take it for: keys, accounts, parts that come and go."""

from __future__ import annotations

import time
from typing import Any

import httpx
import jwt
import psutil
import pytest

from tests.e2e.airflow_api import Run
from tests.e2e.attack_out import AttackOut
from tests.e2e.real_airflow import RealAirflow

pytestmark = [pytest.mark.long, pytest.mark.timeout(600)]


def test_tokens_are_signed_with_a_key_of_which_only_the_public_half_is_told(real_airflow: RealAirflow) -> None:
    keys, token = real_airflow.keys, real_airflow.admin.token
    assert jwt.get_unverified_header(token) == {"alg": keys.algorithm, "kid": keys.kid, "typ": "JWT"}
    claims = jwt.decode(
        token, keys.public.read_text(), algorithms=[keys.algorithm], audience=keys.api_audience, issuer=keys.issuer
    )
    assert claims["sub"] == "admin"
    jwks = jwt.PyJWKSet.from_json(keys.jwks.read_text())
    assert jwt.decode(token, jwks[keys.kid].key, algorithms=[keys.algorithm], audience=keys.api_audience) == claims
    told = {
        name
        for name, component in real_airflow.components.items()
        if any(str(keys.private) in value for value in component.environment.values())
    }
    assert told == {"api-server", "scheduler"}


@pytest.fixture(scope="module")
def question(real_airflow: RealAirflow) -> Run:
    real_airflow.wait_for_dags("questions")
    run = real_airflow.admin.trigger("questions")
    run.wait("asks", "awaiting_input")
    return run


def test_a_viewer_reads_all_that_the_gateway_needs(real_airflow: RealAirflow, question: Run) -> None:
    seen = real_airflow.api("viewer").run("questions", question.run_id)
    task = seen.task("asks")
    assert (task.state, task.try_number) == ("awaiting_input", 1)
    assert seen.state == "running"
    assert seen.api.call("GET", "/dags/questions/details")["dag_id"] == "questions"
    assert [one["attempt"] if "attempt" in one else one["try_number"] for one in seen.tries("asks")] == [1]
    assert seen.hitl("asks")["subject"] == "Shall it be?"
    assert task.id in [one["task_instance"]["id"] for one in seen.api.pending_hitl()]


def test_answering_takes_a_user_and_no_less(real_airflow: RealAirflow, question: Run) -> None:
    with pytest.raises(httpx.HTTPStatusError, match="403"):
        real_airflow.api("viewer").run("questions", question.run_id).answer("asks", ["yes"])
    account = real_airflow.api("taskgate")
    for path in ("/connections", "/variables", "/config"):  # and no more than it takes
        with pytest.raises(httpx.HTTPStatusError, match="403"):
            account.call("GET", path)
    account.run("questions", question.run_id).answer("asks", ["yes"])
    question.wait("asks", "success")
    assert question.hitl("asks")["responded_by_user"]["id"] == "taskgate"
    with pytest.raises(httpx.HTTPStatusError, match="409"):
        real_airflow.api("alice").run("questions", question.run_id).answer("asks", ["no"])


def test_a_part_is_restarted_by_itself_with_another_environment(real_airflow: RealAirflow) -> None:
    before = {name: one.process.pid for name, one in real_airflow.components.items() if one.process}
    real_airflow.restart("triggerer", {"ATTACK_MARK": "here"}, at_once=True)
    after = {name: one.process.pid for name, one in real_airflow.components.items() if one.process}
    assert {name for name in after if after[name] != before[name]} == {"triggerer"}
    marked = [
        name
        for name, component in real_airflow.components.items()
        if component.process and psutil.Process(component.process.pid).environ().get("ATTACK_MARK") == "here"
    ]
    assert marked == ["triggerer"]


def _sleeping(airflow: RealAirflow, out: AttackOut, **conf: Any) -> Run:
    airflow.wait_for_dags("attack_sleeps")
    run = airflow.admin.trigger("attack_sleeps", {"conn_id": "direct_db", "seconds": 120, **conf})
    run.wait("sleeps", "running")
    airflow.until(lambda: len(out.of(run.run_id, "new")) > 1, 60)
    return run


def test_a_task_that_nobody_hears_of_any_more_is_found_out(real_airflow: RealAirflow, attack_out: AttackOut) -> None:
    run = _sleeping(real_airflow, attack_out)
    killed = time.time()
    real_airflow.kill_task(run.task("sleeps"))
    assert run.wait("sleeps", "failed", 90).try_number == 1
    assert attack_out.of(run.run_id)[-1].at < killed + 1


def test_a_task_is_cleared_marked_and_annotated(real_airflow: RealAirflow, attack_out: AttackOut) -> None:
    run = _sleeping(real_airflow, attack_out)
    first = run.task("sleeps")
    run.note("sleeps", "looked at")
    assert run.task("sleeps").note == "looked at"
    run.clear("sleeps")
    second = run.wait("sleeps", "running", 60, try_number=2)
    assert second.id != first.id  # an id is an attempt's
    assert [one["try_number"] for one in run.tries("sleeps")] == [1, 2]
    run.mark("sleeps", "failed")
    run.wait("sleeps", "failed")
    assert run.end() == "failed"
    assert "attack_sleeps" in run.log("sleeps", 1)


def test_the_metadata_is_searched_in_clear(real_airflow: RealAirflow) -> None:
    real_airflow.admin.set_variable("a-canary", "a-canary-value-9Zq")
    assert real_airflow.metadata.containing("a-canary-value-9Zq") == {"variable"}  # stored encrypted
    assert real_airflow.metadata.containing("a-canary") >= {"variable", "log"}
