"""tools/setup.py: what it says when something is missing, and when it makes the venv anew."""

from __future__ import annotations

import importlib.util
import subprocess
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

SETUP = Path(__file__).resolve().parents[2] / "tools" / "setup.py"


@pytest.fixture
def setup(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The module, with everything there, a project of its own and no command really run."""
    spec = importlib.util.spec_from_file_location("taskgate_setup", SETUP)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    for name in module.SOURCES:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    monkeypatch.setattr(module, "ROOT", tmp_path)
    monkeypatch.setattr(module, "VENV", tmp_path / ".venv")
    monkeypatch.setattr(module, "STAMP", tmp_path / ".venv" / "taskgate-setup")
    monkeypatch.setattr(module, "PYTHON_PACKAGES", dict.fromkeys(module.PYTHON_PACKAGES, lambda: True))
    monkeypatch.setattr(module, "TEST_PACKAGES", dict.fromkeys(module.TEST_PACKAGES, lambda: True))
    monkeypatch.setattr(module, "run", lambda *command: runs.append(command))
    monkeypatch.setattr(module.sys, "argv", ["setup.py", "test"])
    runs: list[tuple[str, ...]] = []
    module.runs = runs  # type: ignore[attr-defined]
    (tmp_path / ".venv").mkdir()
    return module


def made(setup: ModuleType) -> list[bool]:
    """Of each venv made since the last look: whether it was emptied first."""
    found = ["--clear" in command for command in setup.runs if "venv" in command]
    setup.runs.clear()
    return found


def test_does_nothing_when_nothing_has_changed(setup: ModuleType) -> None:
    assert setup.main() == 0
    assert made(setup) == [True]
    assert setup.main() == 0
    assert setup.runs == []


def test_brings_a_venv_up_to_date_when_the_lock_has_changed(setup: ModuleType) -> None:
    setup.main()
    made(setup)
    (setup.ROOT / "requirements/all.txt").write_text("new")
    setup.main()
    assert any("requirements/all.txt" in argument for command in setup.runs for argument in command)
    assert made(setup) == []


def test_makes_the_venv_anew_for_another_interpreter_and_another_place(
    setup: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    setup.main()
    setup.runs.clear()
    setup.STAMP.write_text(setup.STAMP.read_text().replace(str(setup.ROOT), "/elsewhere"))
    setup.main()
    assert made(setup) == [True]
    monkeypatch.setattr(setup.sys.implementation, "cache_tag", "cpython-399")
    setup.main()
    assert made(setup) == [True]


def test_a_half_made_venv_is_made_anew_and_a_half_installed_one_goes_on(
    setup: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*command: str) -> None:
        raise SystemExit("no network")

    with monkeypatch.context() as patch:
        patch.setattr(setup, "run", fails)
        with pytest.raises(SystemExit):
            setup.main()
    setup.main()
    assert made(setup) == [True]
    (setup.ROOT / "requirements/all.txt").write_text("new")
    with monkeypatch.context() as patch:
        patch.setattr(setup, "run", fails)
        with pytest.raises(SystemExit):
            setup.main()
    assert setup.main() == 0
    assert setup.runs, "what failed is tried again"
    assert made(setup) == []


@pytest.mark.parametrize("purpose", ["demo", "test"])
def test_says_what_is_missing_to_a_user_who_is_not_root(
    setup: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], purpose: str
) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    monkeypatch.setattr(setup.sys, "argv", ["setup.py", purpose])
    monkeypatch.setitem(setup.PYTHON_PACKAGES, "gcc", lambda: False)
    monkeypatch.setitem(setup.TEST_PACKAGES, "postgresql-15", lambda: False)
    assert setup.main() == 1
    said = capsys.readouterr().err
    wanted = ["gcc"] if purpose == "demo" else ["gcc", "postgresql-15"]
    assert said.startswith(f"Missing: {', '.join(wanted)}.\n")
    assert f"sudo apt-get install --yes --no-install-recommends {' '.join(wanted)}\n" in said
    assert ("apt.postgresql.org" in said) == (purpose == "test")
    assert setup.runs == []


def test_as_root_says_where_postgresql_15_is_when_the_release_has_none(
    setup: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    as_root(setup, monkeypatch, 100, "E: Unable to locate package postgresql-15\n")
    monkeypatch.setitem(setup.TEST_PACKAGES, "postgresql-15", lambda: False)
    assert setup.main() == 1
    said = capsys.readouterr().err
    assert "Unable to locate package postgresql-15" in said
    assert "apt.postgresql.org.sh" in said


def test_as_root_says_when_the_packages_did_not_help(
    setup: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    as_root(setup, monkeypatch, 0, "")
    (venv, *_) = setup.PYTHON_PACKAGES
    assert venv == f"{setup.PYTHON}-venv", "the interpreter's own, not the release's default"
    monkeypatch.setitem(setup.PYTHON_PACKAGES, venv, lambda: False)
    assert setup.main() == 1
    assert f"still without what is in: {venv}." in capsys.readouterr().err


@pytest.mark.parametrize("version", [(3, 10), (3, 15)])
def test_refuses_an_interpreter_it_does_not_know(
    setup: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], version: tuple[int, int]
) -> None:
    monkeypatch.setattr(setup.sys, "version_info", version)
    assert setup.main() == 1
    assert "Python 3.11 to 3.14 is needed" in capsys.readouterr().err


def as_root(setup: ModuleType, monkeypatch: pytest.MonkeyPatch, code: int, stderr: str) -> None:
    def apt_get(step: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        assert step[0] == "apt-get"
        return subprocess.CompletedProcess(step, code if "install" in step else 0, "", stderr)

    monkeypatch.setattr("os.geteuid", lambda: 0)
    monkeypatch.setattr(setup.shutil, "which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(setup.subprocess, "run", apt_get)
    monkeypatch.setattr(setup, "CLUSTERS", setup.ROOT / "createcluster.conf")
