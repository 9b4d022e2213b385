from __future__ import annotations

import pytest
from sqlalchemy import select, update

from taskgate.domain import Assurance, PrincipalKind
from taskgate.errors import ClientFault
from taskgate.identity.api_keys import ApiKeys
from taskgate.identity.scopes import Scope
from taskgate.store.clock import database_time
from taskgate.store.database import Database
from taskgate.store.ids import IdPrefix, is_id, new_id
from taskgate.store.signals import SignalKind, Signals
from taskgate.store.tables import api_keys as table
from taskgate.store.tables import signals as signals_table


@pytest.fixture
def keys(database: Database) -> ApiKeys:
    return ApiKeys(database, Signals(database))


async def test_key_authenticates_its_person(keys: ApiKeys) -> None:
    key, secret = await keys.create(
        PrincipalKind.USER, "alice", [Scope.APPROVALS_DECIDE], ["dba"], created_by="cli", aliases=["alice@example.com"]
    )
    assert is_id(IdPrefix.API_KEY, key.id)
    assert secret.startswith(f"{key.id}.")
    assert await keys.authenticate(secret) == key
    principal = key.principal()
    assert (principal.kind, principal.name, principal.source) == (PrincipalKind.USER, "alice", "taskgate")
    assert principal.assurance is Assurance.VERIFIED
    assert principal.groups == ("dba",)


async def test_service_key_is_never_verified(keys: ApiKeys) -> None:
    key, _ = await keys.create(PrincipalKind.SERVICE, "airflow", [Scope.CREDENTIALS_ISSUE], created_by="cli")
    assert key.principal().assurance is Assurance.ASSERTED
    assert key.principal().kind is PrincipalKind.SERVICE


async def test_no_shared_key_can_decide(keys: ApiKeys) -> None:
    with pytest.raises(ClientFault, match="decide"):
        await keys.create(PrincipalKind.SERVICE, "bot", ["approvals:decide"], created_by="cli")
    key, _ = await keys.create(PrincipalKind.SERVICE, "bot", ["admin"], created_by="cli")
    assert not key.permits(Scope.APPROVALS_DECIDE)
    assert key.permits(Scope.SESSIONS_KILL)


async def test_nobody_gets_a_scope_that_is_not_on_the_list(keys: ApiKeys) -> None:
    with pytest.raises(ClientFault, match="approvals:decide"):
        await keys.create(PrincipalKind.USER, "alice", ["everything"], created_by="cli")
    with pytest.raises(ClientFault):
        await keys.create(PrincipalKind.TASK, "task", [], created_by="cli")
    with pytest.raises(ClientFault):
        await keys.create(PrincipalKind.USER, "  ", [], created_by="cli")


async def test_wrong_secrets_are_refused(keys: ApiKeys) -> None:
    key, secret = await keys.create(PrincipalKind.USER, "alice", [], created_by="cli")
    _, other = await keys.create(PrincipalKind.USER, "bob", [], created_by="cli")
    for wrong in (
        "",
        key.id,
        f"{key.id}.",
        f"{key.id}.{other.partition('.')[2]}",
        secret + "x",
        secret.replace("tgk_", "tg_"),
        f"{new_id(IdPrefix.API_KEY)}.{secret.partition('.')[2]}",
        "tgk_' OR 1=1.x",
    ):
        assert await keys.authenticate(wrong) is None


async def test_only_a_hash_is_stored(keys: ApiKeys, database: Database) -> None:
    _, secret = await keys.create(PrincipalKind.USER, "alice", [], created_by="cli")
    async with database.statement() as connection:
        stored = repr((await connection.execute(select(table))).all())
    assert secret.partition(".")[2] not in stored


async def test_revoked_key_is_dead_and_says_so_to_other_processes(keys: ApiKeys, database: Database) -> None:
    key, secret = await keys.create(PrincipalKind.USER, "alice", [], created_by="cli")
    assert await keys.revoke(key.id, "admin", "left")
    assert not await keys.revoke(key.id, "admin", "left")
    assert await keys.authenticate(secret) is None
    async with database.statement() as connection:
        assert await keys.current(connection, key.id) is None
        sent = (await connection.execute(select(signals_table))).one()
    assert (sent.kind, sent.subject) == (SignalKind.API_KEY_REVOKED, key.id)
    assert [item.id for item in (await keys.list()).items] == []
    assert [item.id for item in (await keys.list(live=False)).items] == [key.id]


async def test_expired_key_is_dead(keys: ApiKeys, database: Database) -> None:
    _, secret = await keys.create(PrincipalKind.USER, "alice", [], created_by="cli", ttl=60)
    assert await keys.authenticate(secret) is not None
    async with database.statement(writes=True) as connection:
        await connection.execute(update(table).values(expires_at=database_time(-1)))
    assert await keys.authenticate(secret) is None
    with pytest.raises(ClientFault):
        await keys.create(PrincipalKind.USER, "alice", [], created_by="cli", ttl=0)


async def test_last_use_is_kept_without_writing_every_time(keys: ApiKeys, database: Database) -> None:
    key, secret = await keys.create(PrincipalKind.USER, "alice", [], created_by="cli")
    await keys.authenticate(secret)
    first = await keys.get(key.id)
    await keys.authenticate(secret)
    again = await keys.get(key.id)
    assert first is not None
    assert again is not None
    assert first.last_used_at is not None
    assert first.last_used_at == again.last_used_at
    async with database.statement(writes=True) as connection:
        await connection.execute(update(table).values(last_used_at=database_time(-61)))
    await keys.authenticate(secret)
    later = await keys.get(key.id)
    assert later is not None
    assert later.last_used_at is not None
    assert later.last_used_at >= first.last_used_at


async def test_groups_can_change(keys: ApiKeys) -> None:
    key, secret = await keys.create(PrincipalKind.USER, "alice", [], ["dba"], created_by="cli")
    await keys.set_groups(key.id, [])
    current = await keys.authenticate(secret)
    assert current is not None
    assert current.groups == ()
    assert await keys.set_groups(new_id(IdPrefix.API_KEY), []) is None
