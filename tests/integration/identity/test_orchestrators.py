"""Who an Airflow's task is, and what ends with it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest

from taskgate.domain import Assurance, Principal, TaskKey
from taskgate.identity.credentials import Credentials
from taskgate.identity.orchestrators.faults import NotProven, OrchestratorAway
from taskgate.identity.orchestrators.orchestrators import Orchestrators, ProvenTask
from taskgate.identity.orchestrators.reconciling import Reconciling
from taskgate.store.attempts import Attempts
from taskgate.store.database import Database
from taskgate.store.signals import Signals
from tests.integration.identity.airflow_stand_in import PASSWORD, SOURCE, Airflow, Instance, token_of
from tests.unit.identity.orchestrators.airflow.signing import rsa_key, token

TARGET = "orders-db"


class Requests:
    """Stands in for approvals: which tasks ask, and what was withdrawn."""

    def __init__(self) -> None:
        self.pending: list[TaskKey] = []
        self.withdrawn: dict[str, str] = {}

    async def pending_tasks(self, source: str):  # type: ignore[no-untyped-def]
        for task in self.pending:
            if f"task:{task}" not in self.withdrawn:
                yield task

    async def withdraw_all(self, owner_key: str, reason: str) -> int:
        self.withdrawn[owner_key] = reason
        return 1


class Setting:
    """A gateway that knows one Airflow."""

    def __init__(self, database: Database, **settings: object) -> None:
        self.airflow = Airflow()
        self.requests = Requests()
        self.credentials = Credentials(database, Signals(database))
        self.attempts = Attempts(database)
        self.source = self.airflow.source(**settings)  # type: ignore[arg-type]
        self.orchestrators = Orchestrators([self.source], self.attempts, self.credentials, self.requests)
        self.reconciling = Reconciling(self.orchestrators, self.source, self.requests)

    async def issued(self, instance: Instance, target: str = TARGET) -> str:
        """A credential for a verified instance, as the API issues it."""
        proven = await self.orchestrators.exchange(token_of(instance), instance.key, target)
        return await self.issue(proven, target)

    async def issue(self, proven: ProvenTask, target: str = TARGET) -> str:
        credential, _ = await self.credentials.issue(
            proven.principal, target, 600, "test", confined_until=proven.confined_until
        )
        return credential.id

    async def check(self) -> int:
        await self._all_due()
        return await self.reconciling.check()

    async def _all_due(self) -> None:
        from sqlalchemy import update

        from taskgate.store.clock import database_time
        from taskgate.store.tables import attempts

        async with self.attempts._database.statement(writes=True) as connection:
            await connection.execute(update(attempts).values(check_at=database_time(-1)))


@pytest.fixture
def setting(database: Database) -> Setting:
    return Setting(database, check_interval=1e6)


async def refused(awaitable: object) -> str:
    with pytest.raises(NotProven) as caught:
        await awaitable  # type: ignore[misc]
    return caught.value.code


async def test_a_running_task_is_verified_with_everything_airflow_says_of_it(setting: Setting) -> None:
    instance = setting.airflow.add(map_index=2, try_number=2, max_tries=3)
    proven = await setting.orchestrators.exchange(token_of(instance), instance.key, TARGET)
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
    assert (known.alive, known.max_tries) == (True, 3)


async def test_names_that_would_be_other_paths_are_quoted(setting: Setting) -> None:
    instance = setting.airflow.add(dag_id="a b", run_id="manual__2024-07-01T00:00:00+00:00/x?y#z", task_id="g.t")
    await setting.orchestrators.exchange(token_of(instance), instance.key, TARGET)
    asked = len(setting.airflow.asked)
    for name in ("~", "..", ".", ""):
        for task in (replace(instance.key, dag_id=name), replace(instance.key, run_id=name)):
            exchanged = setting.orchestrators.exchange(token_of(instance), task, TARGET)
            assert await refused(exchanged) == "instance_not_found"
    assert len(setting.airflow.asked) == asked


async def test_al_04_a_token_only_serves_the_instance_it_was_made_for(setting: Setting) -> None:
    mine, other = setting.airflow.add(task_id="mine"), setting.airflow.add(task_id="other")
    elsewhere = setting.airflow.add(dag_id="other_dag", task_id="mine")
    for task in (other.key, elsewhere.key):
        assert await refused(setting.orchestrators.exchange(token_of(mine), task, TARGET)) == "instance_superseded"
    nowhere = replace(mine.key, run_id="no such run")
    assert await refused(setting.orchestrators.exchange(token_of(mine), nowhere, TARGET)) == "instance_not_found"
    invented = Instance(task_id="invented")
    assert (
        await refused(setting.orchestrators.exchange(token_of(invented), invented.key, TARGET)) == "instance_not_found"
    )
    forged = token(rsa_key(), sub=mine.id)
    assert await refused(setting.orchestrators.exchange(forged, mine.key, TARGET)) == "task_token_invalid"
    strange = replace(mine.key, source="other-airflow")
    assert await refused(setting.orchestrators.exchange(token_of(mine), strange, TARGET)) == "unknown_source"


@pytest.mark.parametrize("state", ["queued", "deferred", "success", "failed", "up_for_retry", "restarting", None])
async def test_only_a_running_instance_gets_anything(setting: Setting, state: str | None) -> None:
    instance = setting.airflow.add(state=state)
    assert (
        await refused(setting.orchestrators.exchange(token_of(instance), instance.key, TARGET))
        == "instance_not_running"
    )
    assert await setting.attempts.get(instance.id) is None


async def test_a_symmetric_key_never_yields_more_than_asserted(database: Database) -> None:
    setting = Setting(database, symmetric="s" * 64)
    instance = setting.airflow.add()
    made = token("s" * 64, sub=instance.id)
    proven = await setting.orchestrators.exchange(made, instance.key, TARGET)
    assert proven.principal.assurance is Assurance.ASSERTED
    assert "symmetric" in proven.principal.verified_by


async def test_a_service_key_s_word_counts_for_running_instances_only_and_airflows_facts_stand(
    setting: Setting,
) -> None:
    instance = setting.airflow.add()
    proven = await setting.orchestrators.asserted(instance.id, instance.key, "api-key:airflow")
    assert proven.principal.assurance is Assurance.ASSERTED
    assert proven.principal.attributes["bundle"] == "etl-bundle"
    instance.state = "success"
    assert await refused(setting.orchestrators.asserted(instance.id, instance.key, "k")) == "instance_not_running"


async def test_an_airflow_that_is_away_issues_nothing_and_says_no_secret(setting: Setting) -> None:
    instance = setting.airflow.add()
    for status in (500, 502, 302, 403):
        setting.airflow.away = status
        with pytest.raises(OrchestratorAway) as caught:
            await setting.orchestrators.exchange(token_of(instance), instance.key, TARGET)
        assert PASSWORD not in str(caught.value)


async def test_an_expired_sign_in_is_renewed_once(setting: Setting) -> None:
    instance = setting.airflow.add()
    await setting.orchestrators.exchange(token_of(instance), instance.key, TARGET)
    setting.airflow.token = "t2"
    await setting.orchestrators.exchange(token_of(instance), instance.key, TARGET)
    assert setting.airflow.signed_in == 2


# --- delegation ----------------------------------------------------------------------------------------------------


async def test_a_trigger_gets_what_the_worker_held_while_the_task_is_deferred(setting: Setting) -> None:
    instance = setting.airflow.add()
    await setting.issued(instance)
    ask = setting.orchestrators.delegate
    assert await refused(ask(instance.id, instance.key, TARGET, "triggerer")) == "instance_not_deferred"
    instance.state = "deferred"
    proven = await ask(instance.id, instance.key, TARGET, "api-key:triggerer")
    assert (proven.principal.assurance, proven.principal.verified_by) == (Assurance.DELEGATED, "api-key:triggerer")
    assert proven.principal.attributes["bundle"] == "etl-bundle"
    assert await refused(ask(instance.id, instance.key, "other-db", "triggerer")) == "nothing_held"


async def test_what_was_not_verified_is_not_delegated(setting: Setting) -> None:
    instance = setting.airflow.add()
    ask = setting.orchestrators.delegate
    await setting.issue(await setting.orchestrators.asserted(instance.id, instance.key, "k"))
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


# --- the end -------------------------------------------------------------------------------------------------------


async def confined(setting: Setting, credential_id: str) -> float | None:
    """For how many seconds from its end on it may still read."""
    from datetime import UTC, datetime

    found = await setting.credentials.get(credential_id)
    assert found is not None
    return None if found.confined_until is None else (found.confined_until - datetime.now(UTC)).total_seconds()


@pytest.mark.parametrize("state", ["deferred", "awaiting_input", "up_for_reschedule", "scheduled", "queued", "running"])
async def test_an_attempt_lives_on_while_it_waits(setting: Setting, state: str) -> None:
    instance = setting.airflow.add()
    credential = await setting.issued(instance)
    instance.state = state
    assert await setting.check() == 0
    assert await confined(setting, credential) is None


@pytest.mark.parametrize(
    "end", ["success", "failed", "skipped", "removed", "retried", "cleared", "restarting", "deleted"]
)
async def test_reconciling_notices_every_end_by_itself(setting: Setting, end: str) -> None:
    instance = setting.airflow.add()
    credential = await setting.issued(instance)
    match end:
        case "retried":
            instance.retried()
        case "cleared":
            instance.cleared()
        case "restarting":
            instance.retried()
            instance.state = "restarting"
        case "deleted":
            setting.airflow.instances.clear()
        case state:
            instance.state = state
    assert await setting.check() == 1
    left = await confined(setting, credential)
    assert left is not None
    assert 5 < left <= 10.5
    assert (f"task:{instance.key}" in setting.requests.withdrawn) is (end != "retried")
    assert await setting.check() == 0


async def test_a_task_that_tells_its_end_leaves_its_callbacks_a_minute_to_read(setting: Setting) -> None:
    instance = setting.airflow.add()
    credential = await setting.issued(instance)
    assert await setting.orchestrators.posted(SOURCE, [instance.id]) == 1  # it told something else: it is deferred, say
    assert await confined(setting, credential) is None
    instance.state = "success"
    assert await setting.orchestrators.posted("other", [instance.id]) == 0
    assert await setting.orchestrators.posted(SOURCE, [instance.id, instance.id, "unknown"]) == 1
    left = await confined(setting, credential)
    assert left is not None
    assert 50 < left <= 60.5
    again = await setting.orchestrators.exchange(token_of(instance), instance.key, TARGET)
    assert again.confined_until is not None  # a callback asks for its connection anew
    assert await refused(setting.orchestrators.exchange(token_of(instance), instance.key, "other-db")) == (
        "instance_not_running"
    )


async def test_being_told_late_lengthens_what_was_found_before(setting: Setting) -> None:
    instance = setting.airflow.add()
    credential = await setting.issued(instance)
    instance.state = "failed"
    await setting.check()
    await setting.orchestrators.posted(SOURCE, [instance.id])
    left = await confined(setting, credential)
    assert left is not None
    assert 50 < left <= 60.5


async def test_al_03_nothing_puts_an_end_off_that_was_once_found(setting: Setting) -> None:
    """Neither a process that goes on asking with its token nor an API server's key that goes on telling."""
    instance = setting.airflow.add()
    credential = await setting.issued(instance)
    instance.state = "failed"
    await setting.check()
    first = await setting.credentials.get(credential)
    assert first is not None
    await _time_passes(setting, 5)
    again = await setting.issued(instance)
    for known in (credential, again):
        left = await confined(setting, known)
        assert left is not None
        assert left < 5.5
    await _time_passes(setting, 30)
    assert await refused(setting.orchestrators.exchange(token_of(instance), instance.key, TARGET)) == (
        "instance_not_running"
    )
    for _ in range(2):
        await setting.orchestrators.posted(SOURCE, [instance.id])
    for known in (credential, again):
        assert await setting.credentials.find(known) is None
    assert await refused(setting.orchestrators.exchange(token_of(instance), instance.key, TARGET)) == (
        "instance_not_running"
    )


async def test_al_03_telling_again_and_again_gains_nothing(setting: Setting) -> None:
    instance = setting.airflow.add()
    credential = await setting.issued(instance)
    instance.state = "success"
    await setting.orchestrators.posted(SOURCE, [instance.id])
    await _time_passes(setting, 20)
    await setting.orchestrators.posted(SOURCE, [instance.id])
    left = await confined(setting, credential)
    assert left is not None
    assert left < 40.5


async def _time_passes(setting: Setting, seconds: float) -> None:
    """For what the gateway knows of ends: they are so much longer ago."""
    from datetime import timedelta

    from sqlalchemy import select, update

    from taskgate.store.tables import attempts, credentials

    async with setting.attempts._database.statement(writes=True) as connection:
        for table, column in ((attempts, "over_at"), (credentials, "confined_until")):
            for row in (await connection.execute(select(table.c.id, table.c[column]))).all():
                if row[1] is not None:
                    earlier = {column: row[1] - timedelta(seconds=seconds)}
                    await connection.execute(update(table).where(table.c.id == row.id).values(earlier))


async def test_a_callback_that_asks_before_anybody_noticed_the_end_may_only_read(setting: Setting) -> None:
    instance = setting.airflow.add()
    await setting.issued(instance)
    instance.state = "failed"
    again = await setting.orchestrators.exchange(token_of(instance), instance.key, TARGET)
    assert again.confined_until is not None


async def test_a_later_try_keeps_what_it_has_asked_for(setting: Setting) -> None:
    instance = setting.airflow.add()
    await setting.issued(instance)
    before = instance.id
    instance.cleared()
    instance.state = "running"
    await setting.issued(instance)
    assert setting.requests.withdrawn == {f"task:{instance.key}": "the task was cleared"}  # before it asks itself
    ended = await setting.attempts.get(before)
    assert ended is not None
    assert not ended.alive
    setting.requests.withdrawn.clear()
    await setting.check()
    assert setting.requests.withdrawn == {}


async def test_a_retry_finds_what_the_try_before_asked_for(setting: Setting) -> None:
    instance = setting.airflow.add()
    await setting.issued(instance)
    instance.retried()
    instance.state = "running"
    await setting.issued(instance)
    await setting.check()
    assert setting.requests.withdrawn == {}


async def test_many_attempts_are_looked_up_in_few_requests(setting: Setting) -> None:
    for index in range(120):
        await setting.issued(setting.airflow.add(map_index=index))
    setting.airflow.instances[7].state = "success"
    setting.airflow.asked.clear()
    assert await setting.check() == 1
    assert len(setting.airflow.asked) == 3  # two pages of those that live, and the one that is missing there


async def test_requests_of_tasks_that_will_not_come_back_are_withdrawn(setting: Setting) -> None:
    waiting, failed, cleared = (setting.airflow.add(task_id=name) for name in ("waiting", "failed", "cleared"))
    for instance in (waiting, failed, cleared):
        await setting.issued(instance)
    gone = Instance(task_id="gone")
    setting.requests.pending = [waiting.key, failed.key, cleared.key, gone.key]
    waiting.retried()
    failed.state = "failed"
    cleared.cleared()
    assert await setting.reconciling.check_requests() == 3
    assert setting.requests.withdrawn == {
        f"task:{failed.key}": "the task instance is failed",
        f"task:{cleared.key}": "the task was cleared",
        f"task:{gone.key}": "Airflow knows of no such task instance",
    }


async def test_an_airflow_that_stays_away_ends_what_it_cannot_vouch_for(database: Database) -> None:
    setting = Setting(database, lost_after=0.001)
    instance = setting.airflow.add()
    credential = await setting.issued(instance)
    setting.airflow.away = 503
    await setting.reconciling._lost()
    assert await confined(setting, credential) is not None
    assert setting.requests.withdrawn == {}
    setting.airflow.away = None
    again = await setting.orchestrators.exchange(token_of(instance), instance.key, TARGET)
    assert again.confined_until is None  # it answers again, and the task runs


async def test_one_that_airflow_does_not_answer_for_keeps_nobody_from_the_others(database: Database) -> None:
    setting = Setting(database, lost_after=0.001)
    hidden, ended, runs = (setting.airflow.add(task_id=name) for name in ("hidden", "ended", "runs"))
    held = [await setting.issued(one) for one in (hidden, ended, runs)]
    setting.airflow.hidden.add(hidden.key)
    ended.state = "success"
    assert await setting.check() == 1
    assert [await confined(setting, one) is not None for one in held] == [False, True, False]
    setting.requests.pending = [hidden.key, runs.key]
    assert await setting.reconciling.check_requests() == 0
    await setting.attempts.alive([runs.id])
    assert await setting.orchestrators.posted(SOURCE, [hidden.id, runs.id]) == 2
    assert await confined(setting, held[0]) is None
    await setting.reconciling._lost()
    assert await confined(setting, held[0]) is not None
    assert setting.requests.withdrawn.get(f"task:{hidden.key}") is None


async def test_no_answer_that_is_not_understood_counts(setting: Setting) -> None:
    instance = setting.airflow.add()
    await setting.issued(instance)
    broken: Mapping[str, object] = {"id": 7}
    instance.json = lambda: dict(broken)  # type: ignore[method-assign]
    with pytest.raises(OrchestratorAway):
        await setting.check()
    assert (known := await setting.attempts.get(instance.id)) is not None
    assert known.alive


def test_who_is_delegated_has_the_same_owner_key() -> None:
    """So that a grant the task was given serves its trigger too."""
    task = TaskKey(SOURCE, "d", "r", "t")
    from taskgate.domain import Attempt, PrincipalKind

    one = Principal(PrincipalKind.TASK, "d.t", SOURCE, Assurance.VERIFIED, "x", {}, Attempt("a", task))
    assert replace(one, assurance=Assurance.DELEGATED).owner_key == one.owner_key
