from __future__ import annotations

import asyncio

import pytest
import scramp
from sqlalchemy import select, update

from taskgate.domain import Assurance, Principal, PrincipalKind
from taskgate.errors import ClientFault
from taskgate.identity.credentials import CredentialFilter, Credentials
from taskgate.store.clock import database_time
from taskgate.store.database import Database
from taskgate.store.ids import IdPrefix, is_id, new_id
from taskgate.store.signals import SignalKind, Signals
from taskgate.store.tables import credentials as table
from taskgate.store.tables import signals as signals_table
from tests.integration.store.test_sessions import task

ALICE = Principal(PrincipalKind.USER, "alice", "taskgate", Assurance.VERIFIED, "api_key")


@pytest.fixture
def credentials(database: Database) -> Credentials:
    return Credentials(database, Signals(database), min_ttl=10, max_ttl=3600)


async def test_issued_credential_is_found_with_its_principal(credentials: Credentials) -> None:
    credential, secret = await credentials.issue(task(), "orders-db", 60, "airflow-key")
    assert is_id(IdPrefix.CREDENTIAL, credential.id)
    assert len(secret) == 43
    assert (credential.expires_at - credential.issued_at).total_seconds() == pytest.approx(60, abs=0.1)
    found = await credentials.find(credential.id)
    assert found == credential
    assert found.principal == task()


async def test_scram_verifier_proves_the_secret_and_no_other(credentials: Credentials) -> None:
    credential, secret = await credentials.issue(ALICE, "orders-db", 60, "test")
    iterations, salt = credential.scram.split("$")[1].split(":")
    stored_key, server_key = credential.scram.split("$")[2].split(":")
    decoded = tuple(scramp.utils.b64dec(part) for part in (salt, stored_key, server_key))

    def converse(password: str) -> None:
        client = scramp.ScramClient(["SCRAM-SHA-256"], credential.id, password)
        server = scramp.ScramMechanism().make_server(lambda _: (*decoded, int(iterations)))
        server.set_client_first(client.get_client_first())
        client.set_server_first(server.get_server_first())
        server.set_client_final(client.get_client_final())
        client.set_server_final(server.get_server_final())

    converse(secret)
    with pytest.raises(scramp.ScramException):
        converse(secret[:-1] + ("A" if secret[-1] != "A" else "B"))


async def test_bearer_form_proves_the_secret_and_no_other(credentials: Credentials) -> None:
    credential, secret = await credentials.issue(ALICE, "orders-db", 60, "test")
    other, other_secret = await credentials.issue(ALICE, "orders-db", 60, "test")
    assert await credentials.verify_bearer(f"{credential.id}.{secret}") == credential
    for wrong in (
        f"{credential.id}.{other_secret}",
        f"{other.id}.{secret}",
        f"{credential.id}.",
        f"{credential.id}.{secret}.",
        credential.id,
        f".{secret}",
        "",
        f"{new_id(IdPrefix.CREDENTIAL)}.{secret}",
    ):
        assert await credentials.verify_bearer(wrong) is None
    await credentials.revoke(credential.id, "alice", "test")
    assert await credentials.verify_bearer(f"{credential.id}.{secret}") is None


async def test_only_verifiers_are_stored(credentials: Credentials, database: Database) -> None:
    _, secret = await credentials.issue(ALICE, "orders-db", 60, "test")
    async with database.statement() as connection:
        assert secret not in repr((await connection.execute(select(table))).all())


async def test_expired_and_unknown_are_not_found(credentials: Credentials, database: Database) -> None:
    credential, secret = await credentials.issue(ALICE, "orders-db", 60, "test")
    async with database.statement(writes=True) as connection:
        await connection.execute(update(table).values(expires_at=database_time(-0.01)))
    assert await credentials.find(credential.id) is None
    assert await credentials.verify_bearer(f"{credential.id}.{secret}") is None
    assert await credentials.get(credential.id) is not None
    for unknown in (new_id(IdPrefix.CREDENTIAL), "", "postgres", "tg_'; --", "tg_" + "0" * 40, "tg_\x00"):
        assert await credentials.find(unknown) is None
        assert await credentials.get(unknown) is None


@pytest.mark.parametrize("ttl", [0, -1, 9.9, 3601, float("inf"), float("nan")])
async def test_ttl_out_of_bounds_is_refused(credentials: Credentials, ttl: float) -> None:
    with pytest.raises(ClientFault):
        await credentials.issue(ALICE, "orders-db", ttl, "test")


async def test_revocation_sends_one_signal_and_is_idempotent(credentials: Credentials, database: Database) -> None:
    credential, _ = await credentials.issue(ALICE, "orders-db", 60, "test")
    assert sorted(await asyncio.gather(*(credentials.revoke(credential.id, "bob", "left") for _ in range(8)))) == [
        *[False] * 7,
        True,
    ]
    assert await credentials.find(credential.id) is None
    revoked = await credentials.get(credential.id)
    assert revoked is not None
    assert revoked.revoked_at is not None
    async with database.statement() as connection:
        sent = (await connection.execute(select(signals_table))).all()
    assert [(row.kind, row.subject, row.payload) for row in sent] == [
        (SignalKind.CREDENTIAL_REVOKED, credential.id, {"by": "bob", "reason": "left"})
    ]


async def test_end_of_an_attempt_revokes_all_it_was_issued(credentials: Credentials) -> None:
    mine = [(await credentials.issue(task(), target, 60, "test"))[0] for target in ("a", "b")]
    other, _ = await credentials.issue(task("load", "ti-2"), "a", 60, "test")
    assert await credentials.revoke_attempt("ti-1", "airflow", "attempt ended") == 2
    assert await credentials.revoke_attempt("ti-1", "airflow", "attempt ended") == 0
    assert [await credentials.find(credential.id) for credential in mine] == [None, None]
    assert await credentials.find(other.id) == other


async def test_search(credentials: Credentials) -> None:
    first, _ = await credentials.issue(task(), "a", 60, "test")
    second, _ = await credentials.issue(ALICE, "b", 60, "test")
    await credentials.revoke(first.id, "alice", "test")
    for filters, wanted in (
        (CredentialFilter(), [second.id, first.id]),
        (CredentialFilter(target="a"), [first.id]),
        (CredentialFilter(principal=str(ALICE)), [second.id]),
        (CredentialFilter(owner_key=task().owner_key), [first.id]),
        (CredentialFilter(attempt_id="ti-1"), [first.id]),
        (CredentialFilter(live=True), [second.id]),
    ):
        assert [found.id for found in (await credentials.search(filters)).items] == wanted
    page = await credentials.search(limit=1)
    assert [found.id for found in (await credentials.search(cursor=page.next_cursor)).items] == [first.id]
