"""The wheel: everything of the packages is in it, it asks for little, and it works away from the checkout."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = {
    "taskgate": "gateway_core",
    "taskgate_airflow": "airflow_provider",
    "taskgate_dashboard": "dashboard",
}

pytestmark = pytest.mark.timeout(300)  # it compiles


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy, so that nothing of an earlier build gets in. The build's requirements are the venv's."""
    source = tmp_path_factory.mktemp("source")
    built = ("__pycache__", "*.egg-info", "_compiled.c", f"*{sysconfig.get_config_var('EXT_SUFFIX')}")
    for name in PACKAGES.values():
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns(*built))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    done = subprocess.run(
        [sys.executable, "-m", "uv", "build", "--quiet", "--offline", "--wheel", "--no-build-isolation",
         "--python", sys.executable, "--out-dir", str(source / "dist"), str(source)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (found,) = (source / "dist").glob("*.whl")
    return found


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("installed")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder


def test_holds_every_file_of_the_packages_and_the_compiled_module(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    sources = {
        str(path.relative_to(ROOT / parent))
        for package, parent in PACKAGES.items()
        for path in (ROOT / parent / package).rglob("*")
        if path.is_file() and path.suffix not in (".pyc", ".c", ".so")
    }
    assert sources - names == set()
    assert f"taskgate/speed/_compiled{sysconfig.get_config_var('EXT_SUFFIX')}" in names
    assert {name.partition("/")[0] for name in names if ".dist-info/" not in name} == set(PACKAGES)


def test_asks_a_worker_for_httpx_and_pydantic_only(installed: Path) -> None:
    (metadata,) = installed.glob("taskgate-*.dist-info/METADATA")
    wanted = Parser().parsestr(metadata.read_text()).get_all("Requires-Dist") or []
    assert sorted(one.split(">")[0] for one in wanted if "extra ==" not in one) == ["httpx", "pydantic"]


def test_works_away_from_the_checkout(installed: Path, tmp_path: Path) -> None:
    (tmp_path / "policy.yaml").write_text("version: 1\nrules: []\n")
    (tmp_path / "taskgate.yaml").write_text(
        "policy: [policy.yaml]\npublic_url: http://127.0.0.1:1\n"
        "targets: [{name: orders-db, host: 127.0.0.1, port: 1, database: d, user: u, secret: 'env:NONE'}]\n"
    )
    program = (
        f"import sys; sys.path.insert(0, {str(installed)!r}); import taskgate; "
        f"assert taskgate.__file__.startswith({str(installed)!r}), taskgate.__file__; "
        "import taskgate.speed._compiled; from taskgate.cli import main; main()"
    )

    def taskgate(*arguments: str, code: int = 0) -> str:
        done = subprocess.run(
            [sys.executable, "-I", "-c", program, *arguments], cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert done.returncode == code, done.stderr
        return done.stdout

    assert taskgate("--version").startswith("taskgate ")
    taskgate("policy", "check", "policy.yaml")
    taskgate("db", "migrate")
    found = {one["check"]: one["level"] for one in json.loads(taskgate("doctor", "--json", code=1))}
    assert (found["settings"], found["store"], found["target orders-db"]) == ("ok", "ok", "fail")
