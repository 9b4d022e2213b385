"""What ends with an attempt, and how the gateway comes to know of it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import pytest

from taskgate.identity.orchestrators.airflow import account
from taskgate.identity.orchestrators.faults import NotProven, OrchestratorAway
from taskgate.store.database import Database
from tests.integration.identity.airflow_stand_in import SOURCE, Instance, token_of
from tests.integration.identity.gateway_of_airflow import TARGET, Setting, refused


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
    assert await setting.tasks.posted(SOURCE, [instance.id]) == 1  # it told something else: it is deferred, say
    assert await confined(setting, credential) is None
    instance.state = "success"
    assert await setting.tasks.posted("other", [instance.id]) == 0
    assert await setting.tasks.posted(SOURCE, [instance.id, instance.id, "unknown"]) == 1
    left = await confined(setting, credential)
    assert left is not None
    assert 50 < left <= 60.5
    again = await setting.tasks.exchange(token_of(instance), instance.key, TARGET)
    assert again.confined_until is not None  # a callback asks for its connection anew
    assert await refused(setting.tasks.exchange(token_of(instance), instance.key, "other-db")) == (
        "instance_not_running"
    )


async def test_being_told_late_lengthens_what_was_found_before(setting: Setting) -> None:
    instance = setting.airflow.add()
    credential = await setting.issued(instance)
    instance.state = "failed"
    await setting.check()
    await setting.tasks.posted(SOURCE, [instance.id])
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
    assert await refused(setting.tasks.exchange(token_of(instance), instance.key, TARGET)) == ("instance_not_running")
    for _ in range(2):
        await setting.tasks.posted(SOURCE, [instance.id])
    for known in (credential, again):
        assert await setting.credentials.find(known) is None
    assert await refused(setting.tasks.exchange(token_of(instance), instance.key, TARGET)) == ("instance_not_running")


async def test_al_03_telling_again_and_again_gains_nothing(setting: Setting) -> None:
    instance = setting.airflow.add()
    credential = await setting.issued(instance)
    instance.state = "success"
    await setting.tasks.posted(SOURCE, [instance.id])
    await _time_passes(setting, 20)
    await setting.tasks.posted(SOURCE, [instance.id])
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


async def test_al_03_nothing_is_issued_for_an_attempt_that_ended_since_it_was_looked_at(setting: Setting) -> None:
    instance = setting.airflow.add()
    proven = await setting.tasks.exchange(token_of(instance), instance.key, TARGET)
    instance.state = "success"
    await setting.tasks.posted(SOURCE, [instance.id])
    assert await refused(setting.issue(proven)) == "instance_not_running"


async def test_al_03_no_race_with_the_end_leaves_a_credential_out(setting: Setting) -> None:
    """Whoever comes first: what is issued is confined with the rest, or is not issued."""

    async def asks(instance: Instance) -> str | None:
        try:
            return await setting.issued(instance)
        except NotProven:
            return None

    issued = []
    for number in range(8):
        instance = setting.airflow.add(map_index=number)
        held = await setting.issued(instance)

        async def ends(instance: Instance = instance) -> None:
            instance.state = "success"
            await setting.tasks.posted(SOURCE, [instance.id])

        *raced, _ = await asyncio.gather(*(asks(instance) for _ in range(4)), ends())
        issued += [held, *(one for one in raced if one is not None)]
    await setting.check()  # where one was seen alive after its end was told it is looked at once more
    assert [one for one in issued if await confined(setting, one) is None] == []


async def test_a_callback_that_asks_before_anybody_noticed_the_end_may_only_read(setting: Setting) -> None:
    instance = setting.airflow.add()
    await setting.issued(instance)
    instance.state = "failed"
    again = await setting.tasks.exchange(token_of(instance), instance.key, TARGET)
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


async def test_al_08_one_that_describes_itself_at_length_blinds_nobody(
    setting: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its author chooses how much Airflow says of an instance. Every page it is on would be too large to be read."""
    monkeypatch.setattr(account, "_MOST_BYTES", 50_000)
    for index in range(60):
        await setting.issued(setting.airflow.add(map_index=index))
    setting.airflow.add(task_id="huge", padding=60_000)
    ended = setting.airflow.instances[7]
    ended.state = "success"
    assert await setting.check() == 1
    assert {one.id for one in await setting.attempts.lost(SOURCE, 0)} == {
        one.id for one in setting.airflow.instances[:60] if one is not ended
    }
    held = await setting.issued(setting.airflow.add(task_id="grows"))
    setting.airflow.instances[-1].padding = 60_000
    assert await setting.check() == 1  # nobody can vouch for what nobody can read
    assert await confined(setting, held) is not None


async def test_a_list_that_fails_leaves_each_to_be_asked_about(setting: Setting) -> None:
    for index in range(20):
        await setting.issued(setting.airflow.add(map_index=index))
    setting.airflow.instances[7].state = "success"
    setting.airflow.lists_nothing = True
    assert await setting.check() == 1
    setting.airflow.away = 503
    setting.airflow.asked.clear()
    with pytest.raises(OrchestratorAway):
        await setting.check()
    assert len([one for one in setting.airflow.asked if "taskInstances" in one]) < 12  # it is not asked for each


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
    again = await setting.tasks.exchange(token_of(instance), instance.key, TARGET)
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
    assert await setting.tasks.posted(SOURCE, [hidden.id, runs.id]) == 2
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
