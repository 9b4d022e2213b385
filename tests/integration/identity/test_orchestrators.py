"""Who an Airflow's task is; what ends with it: test_ends_of_attempts.py."""

from __future__ import annotations

from dataclasses import replace

import pytest

from taskgate.domain import Assurance, Principal, TaskKey
from taskgate.identity.orchestrators.faults import OrchestratorAway
from taskgate.store.database import Database
from tests.integration.identity.airflow_stand_in import PASSWORD, SOURCE, Instance, token_of
from tests.integration.identity.gateway_of_airflow import TARGET, Setting, refused
from tests.unit.identity.orchestrators.airflow.signing import rsa_key, token


async def test_a_running_task_is_verified_with_everything_airflow_says_of_it(setting: Setting) -> None:
    instance = setting.airflow.add(map_index=2, try_number=2, max_tries=3)
    proven = await setting.tasks.exchange(token_of(instance), instance.key, TARGET)
    who = proven.principal
    assert (who.assurance, who.name, who.source, proven.confined_until) == (
        Assurance.VERIFIED,
        "etl.load",
        SOURCE,
        None,
    )
    assert who.verified_by == "airflow:prod, by its token"
    assert who.attributes == {
        "bundle": "etl-bundle", "bundle_version": "c0ffee", "dag_version": 3, "queue": "default",
        "run_type": "scheduled", "triggering_user": "bob", "owner": "alice, data", "tags": ("etl", "pii"),
    }  # fmt: skip
    assert who.attempt is not None
    assert (who.attempt.id, who.attempt.task, who.attempt.try_number) == (instance.id, instance.key, 2)
    assert who.attempt.logical_date == "2024-07-01T00:00:00Z"
    known = await setting.attempts.get(instance.id)
    assert known is not None
    assert (known.alive, known.generation) == (True, 3)


async def test_names_that_would_be_other_paths_are_quoted(setting: Setting) -> None:
    instance = setting.airflow.add(dag_id="a b", run_id="manual__2024-07-01T00:00:00+00:00/x?y#z", task_id="g.t")
    await setting.tasks.exchange(token_of(instance), instance.key, TARGET)
    asked = len(setting.airflow.asked)
    for name in ("~", "..", ".", ""):
        for task in (replace(instance.key, dag_id=name), replace(instance.key, run_id=name)):
            exchanged = setting.tasks.exchange(token_of(instance), task, TARGET)
            assert await refused(exchanged) == "instance_not_found"
    assert len(setting.airflow.asked) == asked


async def test_al_04_a_token_only_serves_the_instance_it_was_made_for(setting: Setting) -> None:
    mine, other = setting.airflow.add(task_id="mine"), setting.airflow.add(task_id="other")
    elsewhere = setting.airflow.add(dag_id="other_dag", task_id="mine")
    for task in (other.key, elsewhere.key):
        assert await refused(setting.tasks.exchange(token_of(mine), task, TARGET)) == "instance_superseded"
    nowhere = replace(mine.key, run_id="no such run")
    assert await refused(setting.tasks.exchange(token_of(mine), nowhere, TARGET)) == "instance_not_found"
    invented = Instance(task_id="invented")
    assert await refused(setting.tasks.exchange(token_of(invented), invented.key, TARGET)) == "instance_not_found"
    forged = token(rsa_key(), sub=mine.id)
    assert await refused(setting.tasks.exchange(forged, mine.key, TARGET)) == "task_token_invalid"
    strange = replace(mine.key, source="other-airflow")
    assert await refused(setting.tasks.exchange(token_of(mine), strange, TARGET)) == "unknown_source"


@pytest.mark.parametrize("state", ["queued", "deferred", "success", "failed", "up_for_retry", "restarting", None])
async def test_only_a_running_instance_gets_anything(setting: Setting, state: str | None) -> None:
    instance = setting.airflow.add(state=state)
    assert await refused(setting.tasks.exchange(token_of(instance), instance.key, TARGET)) == "instance_not_running"
    assert await setting.attempts.get(instance.id) is None


async def test_a_symmetric_key_never_yields_more_than_asserted(database: Database) -> None:
    setting = Setting(database, symmetric="s" * 64)
    instance = setting.airflow.add()
    made = token("s" * 64, sub=instance.id)
    proven = await setting.tasks.exchange(made, instance.key, TARGET)
    assert proven.principal.assurance is Assurance.ASSERTED
    assert "symmetric" in proven.principal.verified_by


async def test_a_service_key_s_word_counts_for_running_instances_only_and_airflows_facts_stand(
    setting: Setting,
) -> None:
    instance = setting.airflow.add()
    proven = await setting.tasks.asserted(instance.id, instance.key, "api-key:airflow")
    assert proven.principal.assurance is Assurance.ASSERTED
    assert proven.principal.attributes["bundle"] == "etl-bundle"
    instance.state = "success"
    assert await refused(setting.tasks.asserted(instance.id, instance.key, "k")) == "instance_not_running"


async def test_an_airflow_that_is_away_issues_nothing_and_says_no_secret(setting: Setting) -> None:
    instance = setting.airflow.add()
    for status in (500, 502, 302, 403):
        setting.airflow.away = status
        with pytest.raises(OrchestratorAway) as caught:
            await setting.tasks.exchange(token_of(instance), instance.key, TARGET)
        assert PASSWORD not in str(caught.value)


async def test_an_expired_sign_in_is_renewed_once(setting: Setting) -> None:
    instance = setting.airflow.add()
    await setting.tasks.exchange(token_of(instance), instance.key, TARGET)
    setting.airflow.token = "t2"
    await setting.tasks.exchange(token_of(instance), instance.key, TARGET)
    assert setting.airflow.signed_in == 2


# --- delegation ----------------------------------------------------------------------------------------------------


async def test_a_trigger_gets_what_the_worker_held_while_the_task_is_deferred(setting: Setting) -> None:
    instance = setting.airflow.add()
    await setting.issued(instance)
    ask = setting.tasks.delegate
    assert await refused(ask(instance.id, instance.key, TARGET, "triggerer")) == "instance_not_deferred"
    instance.state = "deferred"
    proven = await ask(instance.id, instance.key, TARGET, "api-key:triggerer")
    assert (proven.principal.assurance, proven.principal.verified_by) == (Assurance.DELEGATED, "api-key:triggerer")
    assert proven.principal.attributes["bundle"] == "etl-bundle"
    assert await refused(ask(instance.id, instance.key, "other-db", "triggerer")) == "nothing_held"


async def test_what_was_not_verified_is_not_delegated(setting: Setting) -> None:
    instance = setting.airflow.add()
    ask = setting.tasks.delegate
    await setting.issue(await setting.tasks.asserted(instance.id, instance.key, "k"))
    instance.state = "deferred"
    assert await refused(ask(instance.id, instance.key, TARGET, "triggerer")) == "nothing_held"
    other = setting.airflow.add(task_id="other")
    await setting.issued(other)
    other.state = "deferred"
    assert await refused(ask(other.id, instance.key, TARGET, "triggerer")) == "instance_superseded"
    await setting.issue(await ask(other.id, other.key, TARGET, "triggerer"))  # a delegated one is none to delegate from
    held = await setting.credentials.held(other.id, TARGET)
    assert held is not None
    await setting.credentials.revoke(held.id, "test", "")
    assert await refused(ask(other.id, other.key, TARGET, "triggerer")) == "nothing_held"


def test_who_is_delegated_has_the_same_owner_key() -> None:
    """So that a grant the task was given serves its trigger too."""
    task = TaskKey(SOURCE, "d", "r", "t")
    from taskgate.domain import Attempt, PrincipalKind

    one = Principal(PrincipalKind.TASK, "d.t", SOURCE, Assurance.VERIFIED, "x", {}, Attempt("a", task))
    assert replace(one, assurance=Assurance.DELEGATED).owner_key == one.owner_key
