"""The store of registered runs: what proves a run, how often, and for how long."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select, update
from structlog.testing import capture_logs

from taskgate.domain import AttributeValue
from taskgate.identity.orchestrators.faults import NotProven
from taskgate.identity.registered_runs import RegisteredRuns, SecretRefused
from taskgate.store.clock import database_time
from taskgate.store.database import Database
from taskgate.store.tables import registered_runs
from tests.integration.identity.gateway_of_prefect import LABEL, SOURCE, Gateway, refused

FACTS: Mapping[str, AttributeValue] = {"work_pool": "etl", "job_variables": ("command", "env"), "run_type": "manual"}
FLOW_RUN = "5c1ee0a4-0c0e-4f0d-9a51-000000000001"


@pytest.fixture
def runs(database: Database) -> RegisteredRuns:
    return RegisteredRuns(database)


async def _registered(runs: RegisteredRuns, ttl: float = 60) -> tuple[str, str]:
    registration = await runs.register(SOURCE, FLOW_RUN, FACTS, "service:worker (tgk_1)", ttl)
    assert registration.secret.startswith(f"{registration.id}.")
    return registration.id, registration.secret


async def test_a_registration_in_place_of_one_that_nobody_has_used_says_so(runs: RegisteredRuns) -> None:
    async def register(by: str) -> str | None:
        return (await runs.register(SOURCE, FLOW_RUN, FACTS, by, 60)).instead_of

    assert await register("service:worker (tgk_1)") is None
    assert await register("service:thief (tgk_2)") == "service:worker (tgk_1)"
    used = await runs.register(SOURCE, FLOW_RUN, FACTS, "service:worker (tgk_1)", 60)
    await runs.exchange(used.id)
    assert await register("service:worker (tgk_1)") is None  # a retry
    await runs.over(SOURCE, FLOW_RUN, "done", began_by=datetime.now(UTC) + timedelta(seconds=5))
    assert await register("service:worker (tgk_1)") is None


async def test_a_secret_becomes_a_token_once(runs: RegisteredRuns) -> None:
    run_id, secret = await _registered(runs)
    found = await runs.find(secret)
    assert found is not None
    assert (found.id, found.source, found.flow_run_id, found.by_token) == (run_id, SOURCE, FLOW_RUN, False)
    assert found.facts == FACTS
    token = await runs.exchange(run_id)
    assert token != secret
    by_token = await runs.find(str(token))
    assert by_token is not None
    assert (by_token.id, by_token.by_token, by_token.facts) == (run_id, True, FACTS)
    assert await runs.exchange(run_id) is SecretRefused.USED
    for nonsense in (
        "",
        ".",
        run_id,
        f"{run_id}.",
        f"{run_id}.x",
        f"{run_id}.{secret}",
        f"tgr_{'0' * 32}.x",
        "tgk_1.x",
    ):
        assert await runs.find(nonsense) is None


async def test_secrets_are_neither_stored_nor_shown(runs: RegisteredRuns, database: Database) -> None:
    with capture_logs() as logs:
        registration = await runs.register(SOURCE, FLOW_RUN, FACTS, "worker", 60)
        token = str(await runs.exchange(registration.id))
    async with database.statement() as connection:
        (row,) = (await connection.execute(select(registered_runs))).all()
    for secret in (registration.secret, token):
        assert secret.partition(".")[2] not in f"{row} {registration!r} {await runs.find(secret)!r} {logs}"


async def test_of_several_at_the_same_moment_one_gets_the_token(runs: RegisteredRuns) -> None:
    for _ in range(5):
        run_id, _ = await _registered(runs)
        answers = await asyncio.gather(*(runs.exchange(run_id) for _ in range(6)))
        assert sorted(answers).count(SecretRefused.USED) == 5
        (token,) = (answer for answer in answers if not isinstance(answer, SecretRefused))
        assert await runs.find(token) is not None


async def test_whoever_is_second_ends_what_the_first_has_got(gateway: Gateway) -> None:
    """Which of the two was meant nobody knows."""
    run = gateway.prefect.deployed()
    secret = await gateway.found(await gateway.secret(run))
    answers = await asyncio.gather(*(gateway.runs.exchange(secret, LABEL) for _ in range(2)), return_exceptions=True)
    (token,) = (answer for answer in answers if isinstance(answer, str))
    (refusal,) = (answer for answer in answers if isinstance(answer, NotProven))
    assert refusal.code == "run_secret_used"
    assert await gateway.registered.find(token) is None


async def test_a_secret_that_is_used_again_ends_everything_the_run_was_issued(gateway: Gateway) -> None:
    run, other = gateway.prefect.deployed(), gateway.prefect.deployed()
    secret = await gateway.secret(run)
    token = await gateway.found(await gateway.runs.exchange(await gateway.found(secret), LABEL))
    mine = [await gateway.issued(token), await gateway.issued(token, gateway.prefect.task(run))]
    who = await gateway.asserted(other)
    theirs, _ = await gateway.credentials.issue(who, "orders-db", 60, "service:block (tgk_2)")
    with capture_logs() as logs:
        assert await refused(gateway.runs.exchange(await gateway.found(secret), LABEL)) == "run_secret_used"
    (log,) = (log for log in logs if log["event"] == "run.secret_used_twice")
    assert (log["revoked"], log["flow_run"]) == (2, run.id)
    assert secret.partition(".")[2] not in str(logs)
    assert [await gateway.live(one) for one in (*mine, theirs.id)] == [False, False, True]
    for one in mine:
        found = await gateway.credentials.get(one)
        assert found is not None
        assert found.revoked_at is not None
    assert await refused(gateway.issued(token)) == "run_ended"
    assert await refused(gateway.runs.exchange(await gateway.found(secret), LABEL)) == "run_secret_used"


async def test_pf_09_nothing_is_issued_at_the_moment_a_secret_is_used_again(gateway: Gateway) -> None:
    """Whatever comes first: a credential that is being issued is revoked, or is not issued."""
    for _ in range(8):
        run = gateway.prefect.deployed()
        secret = await gateway.secret(run)
        token = await gateway.found(await gateway.runs.exchange(await gateway.found(secret), LABEL))
        proven = await gateway.proven(token)
        used_again = gateway.runs.exchange(await gateway.found(secret), LABEL)
        answers = await asyncio.gather(
            gateway.issue(proven), gateway.issue(proven), used_again, gateway.issue(proven), return_exceptions=True
        )
        issued = [answer for answer in answers if isinstance(answer, str)]
        assert all(isinstance(answer, (str, NotProven)) for answer in answers)
        assert not any([await gateway.live(one) for one in issued])


async def test_pf_09_it_waits_for_what_is_being_issued(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    run = gateway.prefect.deployed()
    secret = await gateway.secret(run)
    token = await gateway.found(await gateway.runs.exchange(await gateway.found(secret), LABEL))
    proven = await gateway.proven(token)
    looked, go_on = asyncio.Event(), asyncio.Event()
    transaction = Database.transaction

    def issuing(self: Database):  # type: ignore[no-untyped-def]
        @asynccontextmanager
        async def slowly():  # type: ignore[no-untyped-def]
            async with transaction(self) as connection:
                yield connection
                looked.set()
                await go_on.wait()  # it is written, and not there yet

        return slowly()

    monkeypatch.setattr(Database, "transaction", issuing)
    being_issued = asyncio.create_task(gateway.issue(proven))
    await looked.wait()
    monkeypatch.setattr(Database, "transaction", transaction)
    used_again = asyncio.create_task(refused(gateway.runs.exchange(token, LABEL)))
    await asyncio.sleep(0.2)
    assert not used_again.done()
    go_on.set()
    assert await used_again == "run_secret_used"
    assert not await gateway.live(await being_issued)


async def test_a_secret_that_came_too_late_is_no_theft(gateway: Gateway, database: Database) -> None:
    run = gateway.prefect.deployed()
    secret = await gateway.found(await gateway.secret(run))
    async with database.statement(writes=True) as connection:
        await connection.execute(update(registered_runs).values(expires_at=database_time(-1)))
    with capture_logs() as logs:
        assert await refused(gateway.runs.exchange(secret, LABEL)) == "run_secret_expired"
    assert not [log for log in logs if log["event"] == "run.secret_used_twice"]
    assert await refused(gateway.runs.exchange(secret, LABEL)) == "run_ended"
    assert await gateway.registered.live(SOURCE) == []


async def test_only_the_last_registration_of_a_run_counts(gateway: Gateway) -> None:
    run, other = gateway.prefect.deployed(), gateway.prefect.deployed()
    await gateway.secret(other)
    unused = await gateway.secret(run)
    old = await gateway.secret(run)
    old_token = await gateway.runs.exchange(await gateway.found(old), LABEL)
    old_run = await gateway.found(old_token)
    new_token = await gateway.token(run)
    assert await gateway.registered.find(old_token) is None
    assert await refused(gateway.issued(old_run)) == "run_ended"  # what was on its way when it ended
    assert await refused(gateway.runs.exchange(await gateway.found(unused), LABEL)) == "run_ended"
    assert await refused(gateway.runs.exchange(await gateway.found(old), "task:run (tgr_old)")) == "run_secret_used"
    assert await gateway.live(await gateway.issued(new_token))  # nothing of that touches the one that counts
    assert len(await gateway.registered.live(SOURCE)) == 2


async def test_what_an_earlier_start_holds_ends_when_the_run_is_registered_again(gateway: Gateway) -> None:
    run = gateway.prefect.deployed()
    held = await gateway.issued(await gateway.token(run), gateway.prefect.task(run))
    new_token = await gateway.token(run)
    assert not await gateway.live(held)
    assert await gateway.live(await gateway.issued(new_token))
    assert gateway.requests.withdrawn == {}


async def test_a_run_of_a_source_that_is_gone_proves_nothing(gateway: Gateway) -> None:
    token = await gateway.token(gateway.prefect.deployed())
    gateway.runs._sources = {}
    assert await refused(gateway.proven(token)) == "unknown_source"
