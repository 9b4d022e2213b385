"""AL-07: a session that loses its credential, or its place in the policy, ends within a second wherever it is: in a
huge result nobody reads, in a COPY either way, in a transaction, while a human is asked. Both sides are closed, what
was open on the target is rolled back. A policy that does not load changes nothing, loudly.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import httpx
import psycopg
import pytest

from taskgate.client import Client
from taskgate.demo.stage import TARGET, Stage
from tests.servers.folders import server_folder

POLICY = """\
version: 1
rules:
  - id: tests-write
    match:
      targets: [orders-db]
      principals: {kind: user}
      effects: [sql.insert, sql.copy_in]
      objects: [scratch.notes]
    verdict: allow
  - id: tests-copy-out
    match: {targets: [orders-db], principals: {kind: user}, effects: [sql.copy_out, sql.select], objects: ["public.*"]}
    verdict: allow
"""


@dataclass
class Case:
    """A connection of dana's, its credential, and the target seen from beside."""

    stage: Stage
    dana: Client
    credential: str
    connection: psycopg.Connection
    admin: psycopg.Connection

    @property
    def session(self) -> str:
        (live,) = [one.id for one in self.dana.live_sessions() if one.principal.name == "dana"]
        return live

    def on_target(self, session: str) -> int:
        row = self.admin.execute(
            "select count(*) from pg_stat_activity where application_name like %s", (f"%{session}%",)
        ).fetchone()
        assert row is not None
        return int(row[0])

    def revoke(self, session: str) -> None:
        """Revokes, and asserts that the target's side is closed within a second."""
        assert self.on_target(session) == 1
        self.dana.revoke_credential(self.credential, "test")
        started = time.monotonic()
        while self.on_target(session):
            assert time.monotonic() - started <= 1.0, "the target still has the session"
            time.sleep(0.02)


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    with server_folder("stage") as directory, Stage(directory, dashboard=False, policies=[POLICY]) as running:
        with psycopg.connect(running.postgres.dsn("shop"), autocommit=True) as admin:
            admin.execute("create schema scratch")
            admin.execute("grant usage on schema scratch to taskgate_app")
            admin.execute("create table scratch.notes (body text)")
            admin.execute("grant select, insert on scratch.notes to taskgate_app")
        running.gateway.stop()  # the next one reads the catalogue with the table in it
        running.gateway.start()
        yield running


@pytest.fixture
def case(stage: Stage) -> Iterator[Case]:
    with stage.client("dana") as dana, psycopg.connect(stage.postgres.dsn("shop"), autocommit=True) as admin:
        issued = dana.issue_credential(TARGET, ttl=600.0)
        connection = psycopg.connect(issued.dsn.get_secret_value(), autocommit=True)
        try:
            yield Case(stage, dana, issued.id, connection, admin)
        finally:
            connection.close()


def test_al_07_in_a_huge_result_that_nobody_reads(case: Case) -> None:
    session = case.session
    case.connection.pgconn.send_query(b"select repeat('x', 1000) from generate_series(1, 1000000)")
    time.sleep(0.5)
    case.revoke(session)
    with pytest.raises(psycopg.OperationalError):
        case.connection.execute("select 1")


def test_al_07_in_a_copy_to_the_client(case: Case) -> None:
    session = case.session
    case.connection.pgconn.send_query(b"copy (select repeat('x', 1000) from generate_series(1, 1000000)) to stdout")
    time.sleep(0.5)
    case.revoke(session)


def test_al_07_in_a_copy_to_the_target_nothing_stays(case: Case) -> None:
    session = case.session
    with pytest.raises(psycopg.OperationalError), case.connection.cursor() as cursor:
        with cursor.copy("copy scratch.notes from stdin") as copy:
            copy.write(b"half of it\n" * 1000)
            time.sleep(0.3)
            case.revoke(session)
            for _ in range(1000):
                copy.write(b"and more\n" * 1000)
    assert case.admin.execute("select count(*) from scratch.notes").fetchone() == (0,)


def test_al_07_in_a_transaction_it_is_rolled_back(case: Case) -> None:
    session = case.session
    case.connection.execute("begin")
    case.connection.execute("insert into scratch.notes values ('uncommitted')")
    case.revoke(session)
    with pytest.raises(psycopg.OperationalError):
        case.connection.execute("commit")
    assert case.admin.execute("select count(*) from scratch.notes").fetchone() == (0,)


def test_al_07_in_a_statement_it_is_cancelled(case: Case) -> None:
    session = case.session
    with psycopg.connect(case.stage.postgres.dsn("shop")) as locking:
        locking.execute("lock table public.orders in access exclusive mode")
        case.connection.pgconn.send_query(b"select count(*) from public.orders")
        time.sleep(0.4)
        case.revoke(session)


def test_al_07_while_a_human_is_asked(case: Case) -> None:
    session = case.session
    failure: list[psycopg.Error] = []

    def change() -> None:
        try:
            case.connection.execute("update public.orders set status = 'changed' where id = 1")
        except psycopg.Error as error:
            failure.append(error)

    changing = threading.Thread(target=change)
    changing.start()
    deadline = time.monotonic() + 5
    while not (asked := list(case.dana.approvals(state=["pending"]))):
        assert time.monotonic() < deadline, "nobody was asked"
        time.sleep(0.02)
    case.revoke(session)
    changing.join(5)
    assert isinstance(failure[0], psycopg.OperationalError)
    assert case.dana.wait_for_approval(asked[0].id, timeout=2).state == "withdrawn"
    assert case.admin.execute("select count(*) from public.orders where status = 'changed'").fetchone() == (0,)


def eventually(check: Callable[[], bool], within: float, what: str) -> None:
    deadline = time.monotonic() + within
    while not check():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


@pytest.mark.timeout(120)
def test_al_07_a_policy_that_does_not_load_changes_nothing_loudly(case: Case) -> None:
    gateway = case.stage.gateway
    good = gateway.policy_file.read_text()
    ready = lambda: httpx.get(f"{gateway.url}/readyz", timeout=5)  # noqa: E731
    try:
        gateway.policy_file.write_text("version: 1\nrules:\n  - id: broken\n    verdict: alow\n")
        eventually(lambda: "policy.rejected" in gateway.log_file.read_text(), 6, "nothing in the log")
        assert "last good" in ready().text
        assert case.connection.execute("select count(*) from public.orders where id = 1").fetchone() == (1,)
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            case.connection.execute("drop table public.orders")
    finally:
        gateway.policy_file.write_text(good)
    eventually(lambda: ready().is_success and "last good" not in ready().text, 6, "not well again")


@pytest.mark.timeout(120)
def test_al_07_a_policy_that_removes_the_principal_ends_its_session(case: Case) -> None:
    gateway = case.stage.gateway
    session = case.session
    others = sorted(case.stage.directory.glob("policy-*.yaml"))
    kept = {path: path.read_text() for path in others}
    try:
        for path, text in kept.items():
            path.write_text(text.replace("kind: user", "kind: service"))
        gone = lambda: not case.on_target(session)  # noqa: E731
        eventually(gone, 5, "the session goes on although nothing allows it anything")
        with pytest.raises(psycopg.OperationalError, match="policy no longer allows"):
            case.connection.execute("select 1")
    finally:
        for path, text in kept.items():
            path.write_text(text)
        eventually(
            lambda: (
                httpx.get(f"{gateway.url}/readyz", timeout=5).is_success
                and gateway.log_file.read_text().count("policy.loaded") >= 2
            ),
            8,
            "the policy is not back",
        )
