from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from taskgate.domain import Assurance, Attempt, Pair, Principal, PrincipalKind, TaskKey
from taskgate.errors import AuthenticationFault
from taskgate.identity.credentials import Credentials
from taskgate.store.database import Database
from taskgate.store.ids import IdPrefix, new_id
from taskgate.store.pages import InvalidCursor
from taskgate.store.processes import DEAD_AFTER, GatewayProcess
from taskgate.store.sessions import PROCESS_DIED, SessionCounts, SessionFilter, SessionIndex
from taskgate.store.signals import Signals
from tests.integration.store.test_processes import silent_for


def task(task_id: str = "clean", attempt: str = "ti-1") -> Principal:
    key = TaskKey("prod", "etl", "run-1", task_id, 3)
    return Principal(
        PrincipalKind.TASK,
        f"etl.{task_id}",
        "prod",
        Assurance.VERIFIED,
        "airflow",
        {"bundle": "etl", "tags": ("a", "b"), "try_number": 2, "manual": True},
        Attempt(attempt, key, 2),
    )


async def open_session(index: SessionIndex, principal: Principal, target: str = "orders-db") -> str:
    session_id = new_id(IdPrefix.SESSION)
    await index.opened(
        session_id, principal, target, protocol="postgres", client_address="127.0.0.1:5", policy_version="p1"
    )
    return session_id


async def test_session_comes_back_as_it_was_indexed(database: Database) -> None:
    index = SessionIndex(database, "gwp_1")
    session_id = await open_session(index, task())
    session = await index.get(session_id)
    assert session is not None
    assert session.principal == task()
    assert (session.target, session.protocol, session.policy_version) == ("orders-db", "postgres", "p1")
    assert session.closed_at is None
    assert session.counts == SessionCounts()
    assert await index.get(new_id(IdPrefix.SESSION)) is None


async def test_progress_and_close(database: Database) -> None:
    index = SessionIndex(database, "gwp_1")
    session_id = await open_session(index, task())
    await index.progress(session_id, SessionCounts(2, 1, 100, 7), [Pair("sql.select", "public.orders")])
    await index.progress(
        session_id,
        SessionCounts(3, 1, 250, 9),
        [Pair("sql.select", "public.orders"), Pair("sql.delete", "public.orders")],
    )
    index.closed(session_id, "client disconnected", SessionCounts(3, 1, 250, 9), [Pair("sql.copy_in", "public.orders")])
    index.closed(session_id, "killed", SessionCounts(99))
    await index.settle()
    session = await index.get(session_id)
    assert session is not None
    assert session.counts == SessionCounts(3, 1, 250, 9)
    assert session.closed_reason == "client disconnected"
    assert session.closed_at is not None
    assert [pair.effect for pair in await index.pairs(session_id)] == ["sql.copy_in", "sql.delete", "sql.select"]


async def test_pairs_of_several_sessions(database: Database) -> None:
    index = SessionIndex(database, "gwp_1")
    some, many, none = [await open_session(index, task()) for _ in range(3)]
    await index.progress(some, SessionCounts(1), [Pair("sql.select", "b"), Pair("sql.delete", "a")])
    await index.progress(many, SessionCounts(1), [Pair("sql.select", f"t{number}") for number in range(5)])
    found = await index.pairs_of([some, many, none], each=3)
    assert found[some] == (Pair("sql.delete", "a"), Pair("sql.select", "b"))
    assert [pair.object for pair in found[many]] == ["t0", "t1", "t2"]
    assert none not in found
    assert await index.pairs_of([]) == {}


async def test_names_of_any_length_and_kind_are_indexed(database: Database) -> None:
    index = SessionIndex(database, "gwp_1")
    session_id = await open_session(index, task())
    names = ("é" * 100_000, "a\x00b", "'; --", "")
    await index.progress(session_id, SessionCounts(4), [Pair("sql.select", name, resolved=False) for name in names])
    assert len(await index.pairs(session_id)) == 4
    for name in names:
        assert [found.id for found in (await index.search(SessionFilter(object=name))).items] == [session_id]


async def test_search_by_everything_it_is_indexed_by(database: Database) -> None:
    index = SessionIndex(database, "gwp_1")
    wanted = await open_session(index, task())
    await index.progress(wanted, SessionCounts(1), [Pair("sql.delete", "public.orders")])
    other = await open_session(index, task("load", "ti-2"), "users-db")
    await index.progress(other, SessionCounts(1), [Pair("sql.select", "public.users")])
    index.closed(other, "done", SessionCounts(1))
    await index.settle()
    opened = await index.get(wanted)
    assert opened is not None
    for filters in (
        SessionFilter(source="prod", dag_id="etl", run_id="run-1", task_id="clean", map_index=3),
        SessionFilter(attempt_id="ti-1"),
        SessionFilter(target="orders-db"),
        SessionFilter(principal=str(task())),
        SessionFilter(effect="sql.delete"),
        SessionFilter(object="public.orders"),
        SessionFilter(effect="sql.delete", object="public.orders"),
        SessionFilter(live=True),
    ):
        assert [session.id for session in (await index.search(filters)).items] == [wanted], filters
    for filters in (
        SessionFilter(effect="sql.select", object="public.orders"),
        SessionFilter(source="dev"),
        SessionFilter(map_index=-1),
        SessionFilter(opened_before=opened.opened_at),
        SessionFilter(opened_from=opened.opened_at + timedelta(minutes=1)),
    ):
        assert (await index.search(filters)).items == (), filters
    assert [session.id for session in (await index.search(SessionFilter(live=False))).items] == [other]


async def test_search_by_part_of_a_name(database: Database) -> None:
    index = SessionIndex(database, "gwp_1")
    clean = await open_session(index, replace(task(), attributes={"triggering_user": "Alice_B@example.com"}))
    load = await open_session(index, task("load", "ti-2"))
    person = Principal(PrincipalKind.USER, "alice", "taskgate", Assurance.VERIFIED, "api_key")
    alice = await open_session(index, person)
    for filters, found in (
        (SessionFilter(name="RUN"), [load, clean]),
        (SessionFilter(name="et lo run-1"), [load]),
        (SessionFilter(name="lo nothing"), []),
        (SessionFilter(name="alice"), []),
        (SessionFilter(name="%"), []),
        (SessionFilter(name="run_1"), []),  # no wildcards
        (SessionFilter(person="ALICE"), [alice, clean]),
        (SessionFilter(person="e_b@"), [clean]),
        (SessionFilter(person="etl"), []),  # a task is no person
        (SessionFilter(person="alice", name="clean"), [clean]),
    ):
        assert [session.id for session in (await index.search(filters)).items] == found, filters


async def test_pages_are_complete_and_steady_while_sessions_open(database: Database) -> None:
    index = SessionIndex(database, "gwp_1")
    ids = [await open_session(index, task()) for _ in range(7)]
    first = await index.search(limit=3)
    await open_session(index, task())
    second = await index.search(cursor=first.next_cursor, limit=3)
    third = await index.search(cursor=second.next_cursor, limit=3)
    assert [session.id for page in (first, second, third) for session in page.items] == ids[::-1]
    assert third.next_cursor is None


@pytest.mark.parametrize(
    "cursor", ["", "x", "!!!", "c2VzX25vdGFuaWQ", "dGdfMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDA"]
)
async def test_foreign_cursors_are_refused(database: Database, cursor: str) -> None:
    with pytest.raises(InvalidCursor):
        await SessionIndex(database, "gwp_1").search(cursor=cursor)


async def test_sessions_of_dead_processes_are_closed(database: Database) -> None:
    dead, stopped, living = (GatewayProcess(database, version="1") for _ in range(3))
    sessions = []
    for process in (dead, stopped, living):
        await process.register()
        sessions.append(await open_session(SessionIndex(database, process.id), task()))
    unknown = await open_session(SessionIndex(database, "gwp_never_registered"), task())
    await silent_for(database, dead, DEAD_AFTER + 1)
    await stopped.stopped()
    mine = GatewayProcess(database, version="1")
    index = SessionIndex(database, mine.id)
    own = await open_session(index, task())
    assert await index.close_abandoned() == 3
    assert await index.close_abandoned() == 0
    reasons = {}
    for session_id in (*sessions, unknown, own):
        session = await index.get(session_id)
        assert session is not None
        reasons[session_id] = session.closed_reason
    assert [reasons[session_id] for session_id in sessions] == [PROCESS_DIED, PROCESS_DIED, None]
    assert reasons[unknown] == PROCESS_DIED
    assert reasons[own] is None


async def test_session_cannot_open_on_a_credential_revoked_since_its_proof(database: Database) -> None:
    credentials = Credentials(database, Signals(database))
    credential, _ = await credentials.issue(task(), "orders-db", 60, "test")
    index = SessionIndex(database, "gwp_1")
    details = {"protocol": "postgres", "client_address": "", "policy_version": "p1", "credential_id": credential.id}
    await index.opened(new_id(IdPrefix.SESSION), task(), "orders-db", **details)
    await credentials.revoke(credential.id, "alice", "test")
    with pytest.raises(AuthenticationFault):
        await index.opened(new_id(IdPrefix.SESSION), task(), "orders-db", **details)
    assert len((await index.search()).items) == 1


async def test_many_sessions_open_at_once(database: Database) -> None:
    index = SessionIndex(database, "gwp_1")
    await asyncio.gather(*(open_session(index, task()) for _ in range(50)))
    assert len((await index.search(limit=100)).items) == 50
