"""The documentation against the code: every setting is documented, every documented one exists, every link leads on."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import BaseModel

from taskgate.settings import Settings, TargetSettings
from taskgate.settings_airflow import AirflowSettings
from taskgate.settings_prefect import PrefectSettings

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])


def names(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    for name, field in model.model_fields.items():
        inner = field.annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            yield from names(inner, f"{prefix}{name}.")
        else:
            yield prefix + name


def documented(section: str) -> set[str]:
    """The names in the first column of the tables up to the next heading."""
    section = section.split("\n## ", 1)[0]
    rows = [line.split("|")[1] for line in section.splitlines() if line.startswith("| `")]
    return {name for row in rows for name in re.findall(r"`([a-z_.]+)`", row)}


def test_every_setting_is_documented_and_exists() -> None:
    text = (ROOT / "docs" / "operations.md").read_text()
    general, others = text.split("\nA target:\n")
    target, orchestrators = others.split("\nAn Airflow (")
    airflow, prefect = orchestrators.split("\nA Prefect (")
    assert documented(general.split("\n## Settings\n")[1]) == set(names(Settings))
    assert documented(target) == set(TargetSettings.model_fields)
    assert documented(airflow) == set(AirflowSettings.model_fields)
    assert documented(prefect) == set(PrefectSettings.model_fields)


def test_the_keys_of_getting_started_can_be_made(tmp_path: Path) -> None:
    """Its `api-key create` commands, run as they stand there against a store of their own."""
    page = (ROOT / "docs" / "getting-started.md").read_text()
    commands = [line.split()[1:] for line in page.splitlines() if line.startswith("taskgate api-key create")]
    assert len(commands) == 2
    settings = tmp_path / "taskgate.yaml"
    target = "{name: t, host: localhost, database: d, user: u, secret: 'env:X', tls: disable}"
    settings.write_text(f"policy: [policy.yaml]\ntargets: [{target}]\n")
    for command in commands:
        done = subprocess.run(
            [sys.executable, "-m", "taskgate.cli", *command, "--config", str(settings)],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert "tgk_" in done.stdout


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", page.read_text()):
        if not target.startswith(("http://", "https://", "mailto:")):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"
