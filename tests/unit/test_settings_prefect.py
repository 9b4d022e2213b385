"""The settings of a Prefect: everything wrong is told with its place, and nothing unsafe is taken."""

from __future__ import annotations

from pathlib import Path

import pytest

from taskgate.errors import SettingsError
from taskgate.settings import Settings

TARGET = "{name: db, host: 127.0.0.1, database: d, user: u, secret: 'env:S', tls: disable}"
GOOD: dict[str, object] = {"source": "prod-prefect", "url": "https://prefect.example/api"}


def load(folder: Path, *sources: dict[str, object], airflow: str = "") -> Settings:
    lines = [f"policy: [p.yaml]\ntargets: [{TARGET}]\n{airflow}prefect:"]
    for source in sources:
        entries = [f"{name}: {value!r}" for name, value in source.items() if value is not None]
        lines.append("  - " + "\n    ".join(entries))
    (folder / "taskgate.yaml").write_text("\n".join(lines))
    return Settings.load(folder / "taskgate.yaml")


def test_what_is_not_set_is_what_the_docs_say(tmp_path: Path) -> None:
    (one,) = load(tmp_path, GOOD).prefect
    assert (one.api_key, one.auth_string, one.ca_file) == (None, None, None)
    assert (one.timeout, one.check_interval, one.lost_after) == (10.0, 5.0, 600.0)
    assert (one.secret_ttl, one.recorded_within, one.resume, one.events) == (3600.0, 10.0, True, True)


def test_paths_and_references_start_at_the_files_folder(tmp_path: Path) -> None:
    (one,) = load(tmp_path, {**GOOD, "auth_string": "file:prefect.auth", "ca_file": "ca.pem"}).prefect
    assert one.auth_string == f"file:{tmp_path / 'prefect.auth'}"
    assert one.ca_file == tmp_path / "ca.pem"
    (one,) = load(tmp_path, {**GOOD, "api_key": "env:KEY", "url": "http://127.0.0.1:4200/api"}).prefect
    assert (one.api_key, one.url) == ("env:KEY", "http://127.0.0.1:4200/api")


@pytest.mark.parametrize(
    ("other", "problem"),
    [
        ({"api_key": "env:K", "auth_string": "env:A"}, "not both"),
        ({"api_key": "hunter22"}, "never the secret itself"),
        ({"auth_string": "admin:hunter22"}, None),  # reads like a reference to a source of secrets called admin
        ({"url": "http://prefect.example/api"}, "http is for loopback addresses only"),
        ({"url": "https://admin:hunter22@prefect.example/api"}, "the account goes into api_key or auth_string"),
        ({"url": "https://prefect.example/api?x=1"}, "url"),
        ({"url": "ftp://prefect.example/api"}, "url"),
        ({"url": None}, "url"),
        ({"source": ""}, "source"),
        ({"source": "team/prefect"}, "source"),
        ({"source": "x" * 251}, "source"),
        ({"recorded_within": "61s"}, "recorded_within"),
        ({"check_interval": "0s"}, "check_interval"),
        ({"workspace": "x"}, "workspace"),
    ],
    ids=str,
)
def test_what_is_wrong_is_told_with_its_line(tmp_path: Path, other: dict[str, object], problem: str | None) -> None:
    if problem is None:
        assert load(tmp_path, {**GOOD, **other}).prefect
        return
    with pytest.raises(SettingsError) as caught:
        load(tmp_path, {**GOOD, **other})
    assert problem in str(caught.value)
    assert "taskgate.yaml:" in str(caught.value)
    assert "hunter22" not in str(caught.value)


def test_a_source_stands_once_whatever_it_is(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="source prod-prefect stands twice"):
        load(tmp_path, GOOD, GOOD)
    airflow = (
        "airflow:\n  - {source: prod-prefect, url: 'https://airflow.example', token: 'env:T', public_key: k.pem}\n"
    )
    with pytest.raises(SettingsError, match="prod-prefect"):
        load(tmp_path, GOOD, airflow=airflow)
