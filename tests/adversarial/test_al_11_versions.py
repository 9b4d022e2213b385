"""AL-11: a store of another version, a migration that is killed, versions beside each other, upgrade and rollback.

There has been one version of the schema so far. "Next" is this gateway with one migration more (tests/servers).
"""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import psycopg
import pytest
import yaml
from psycopg import conninfo

from taskgate.cli.exit_codes import ExitCode
from taskgate.client import Client
from taskgate.demo.local_gateway import LocalGateway
from taskgate.demo.postgres_server import PostgresServer, free_port
from taskgate.demo.stage import TARGET, Stage

THIS, NEXT = "taskgate.cli", "tests.servers.next_version"
REPOSITORY = Path(__file__).parents[2]


@pytest.fixture(params=["sqlite", "postgresql"])
def config(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """Of a gateway whose store was migrated by this version."""
    settings: dict[str, object] = {}
    name = f"store_{secrets.token_hex(6)}"
    if request.param == "postgresql":
        server: PostgresServer = request.getfixturevalue("postgres18")
        with psycopg.connect(server.dsn(), autocommit=True) as admin:
            admin.execute(f"create database {name}")  # type: ignore[arg-type]
        settings["store"] = {"url": server.dsn(name)}
    target = {"name": "t", "host": "127.0.0.1", "port": 1, "database": "d", "user": "u", "tls": "disable"}
    gateway = LocalGateway(
        tmp_path / "gateway", targets=[target], secrets={"t": "x"}, policy="version: 1\n", settings=settings
    )
    assert run(THIS, "db", "migrate", gateway.config).returncode == 0
    yield gateway.config
    if request.param == "postgresql":
        with psycopg.connect(server.dsn(), autocommit=True) as admin:
            admin.execute(f"drop database {name} with (force)")  # type: ignore[arg-type]


def run(version: str, *command: str | Path) -> subprocess.CompletedProcess[str]:
    *words, config = command
    return subprocess.run(
        [sys.executable, "-m", version, *words, "--config", str(config)],
        cwd=REPOSITORY, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip


def is_of(version: str, config: Path) -> bool:
    """Whether the store is exactly this version's."""
    return run(version, "db", "check", config).returncode == 0


def killed_half_way(config: Path, marker: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", NEXT, "db", "migrate", "--config", str(config)],
        cwd=REPOSITORY, env={**os.environ, "NEXT_VERSION_HALF_WAY": str(marker)},
    ) as migrating:  # fmt: skip
        deadline = time.monotonic() + 30
        while not marker.exists():
            assert migrating.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.02)
        migrating.kill()


@pytest.mark.timeout(180)
def test_al_11_a_migration_that_is_killed_leaves_the_old_store_and_can_be_run_again(
    config: Path, tmp_path: Path
) -> None:
    killed_half_way(config, tmp_path / "half-way")
    assert is_of(THIS, config)
    done = run(NEXT, "db", "migrate", config)
    assert done.returncode == 0, done.stderr
    assert is_of(NEXT, config)


@pytest.mark.timeout(180)
def test_al_11_an_older_version_leaves_a_newer_store_alone(config: Path) -> None:
    assert run(NEXT, "db", "migrate", config).returncode == 0
    for command in (["serve"], ["db", "check"], ["db", "migrate"]):
        refused = run(THIS, *command, config)
        assert refused.returncode == ExitCode.UNAVAILABLE, (command, refused.stdout, refused.stderr)
        said = " ".join(refused.stderr.split())
        assert "schema is 0005" in said
        assert "newer version" in said
        assert "backup" in said
        assert "Traceback" not in said
    assert is_of(NEXT, config)


@pytest.mark.timeout(180)
@pytest.mark.parametrize("config", ["postgresql"], indirect=True)
def test_al_11_a_newer_version_does_not_start_on_an_older_shared_store(config: Path) -> None:
    refused = run(NEXT, "serve", config)
    assert refused.returncode == ExitCode.UNAVAILABLE, refused.stderr
    said = " ".join(refused.stderr.split())
    assert "schema is 0004, of an older version" in said
    assert "taskgate db migrate" in said
    assert is_of(THIS, config), "and does not migrate what others use"


@contextmanager
def serving(version: str, config: Path, url: str) -> Iterator[None]:
    with (config.parent / f"{version}.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", version, "serve", "--config", str(config)],
            cwd=REPOSITORY, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
        )  # fmt: skip
    try:
        deadline = time.monotonic() + 40
        while True:
            assert process.poll() is None, Path(log.name).read_text()
            assert time.monotonic() < deadline
            with suppress(httpx.TransportError):
                if httpx.get(f"{url}/readyz", timeout=2).is_success:
                    break
            time.sleep(0.05)
        yield
    finally:
        process.terminate()
        assert process.wait(20) == 0


@pytest.mark.timeout(180)
def test_al_11_upgrade_and_rollback_with_open_sessions(start_stage: Callable[..., Stage]) -> None:
    """An own store: `serve` migrates it. What was asked before can be granted after, and the way back is a backup."""
    stage = start_stage()
    store, backup = stage.gateway.directory / "data" / "store.sqlite", stage.directory / "store.backup"
    with stage.client("dana") as dana:
        dsn = dana.issue_credential(TARGET, ttl=3600.0).dsn.get_secret_value()
    changes = "update public.orders set status = 'x' where id = 1"
    with psycopg.connect(dsn, options="-c taskgate.wait=refuse") as one, psycopg.connect(dsn) as other:
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="pending"):
            one.execute(changes)
        one.rollback()
        other.execute("select 1")  # in a transaction
        stage.gateway.stop()
        for connection in (one, other):
            with pytest.raises(psycopg.OperationalError):
                connection.execute("select 1")
    shutil.copy(store, backup)
    with serving(NEXT, stage.gateway.config, stage.gateway.url), stage.client("rae") as rae:
        (asked,) = rae.approvals()
        assert asked.state == "pending"
        with psycopg.connect(dsn, autocommit=True) as connection:
            assert connection.execute("select count(*) from public.orders").fetchone()
    with pytest.raises(RuntimeError, match="newer version"):
        stage.gateway.start()
    for left in store.parent.glob("store.sqlite*"):
        left.unlink()
    shutil.copy(backup, store)
    stage.gateway.start()
    with psycopg.connect(dsn, autocommit=True, options="-c taskgate.wait=refuse") as connection:
        assert connection.execute("select count(*) from public.orders").fetchone()
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match=asked.id):
            connection.execute(changes)


@pytest.mark.timeout(180)
def test_al_11_two_versions_on_one_shared_store(
    start_stage: Callable[..., Stage], postgres18: PostgresServer, tmp_path: Path
) -> None:
    """A migration that only adds: who runs goes on, hears revocations of the newer one, and does not start again."""
    name = f"store_{secrets.token_hex(6)}"
    with psycopg.connect(postgres18.dsn(), autocommit=True) as admin:
        admin.execute(f"create database {name}")  # type: ignore[arg-type]
    stage = start_stage(settings={"store": {"url": postgres18.dsn(name)}})
    settings = yaml.safe_load(stage.gateway.config.read_text())
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    settings |= {"data_dir": str(tmp_path / "next-data"), "api": {"port": port}, "postgres": {"port": free_port()}}
    config = stage.gateway.directory / "next.yaml"
    config.write_text(yaml.safe_dump(settings))
    with stage.client("dana") as dana:
        before = dana.issue_credential(TARGET, ttl=3600.0)
    with psycopg.connect(before.dsn.get_secret_value(), autocommit=True) as session:
        assert run(NEXT, "db", "migrate", config).returncode == 0
        assert session.execute("select 1").fetchone() == (1,)
        with serving(NEXT, config, url), Client(url, stage.keys["dana"]) as dana:
            after = dana.issue_credential(TARGET, ttl=3600.0)
            through_old = conninfo.make_conninfo(after.dsn.get_secret_value(), port=stage.gateway.postgres_port)
            with psycopg.connect(through_old, autocommit=True) as new:
                assert new.execute("select 1").fetchone() == (1,)
            dana.revoke_credential(before.id)
            deadline = time.monotonic() + 5
            with pytest.raises(psycopg.OperationalError):
                while time.monotonic() < deadline:
                    session.execute("select 1")
                    time.sleep(0.05)
    stage.gateway.stop()
    with pytest.raises(RuntimeError, match="newer version"):
        stage.gateway.start()
