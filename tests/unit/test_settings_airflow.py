"""The settings of an Airflow: everything wrong is told with its place, and nothing unsafe is taken."""

from __future__ import annotations

from pathlib import Path

import pytest

from taskgate.errors import SettingsError
from taskgate.settings import Settings

TARGET = "{name: db, host: 127.0.0.1, database: d, user: u, secret: 'env:S', tls: disable}"
GOOD = {
    "source": "prod",
    "url": "https://airflow.example/base",
    "username": "taskgate",
    "password": "file:airflow.password",
    "public_key": "airflow.pem",
}


def load(folder: Path, *sources: dict[str, object]) -> Settings:
    lines = [f"policy: [p.yaml]\ntargets: [{TARGET}]\nairflow:"]
    for source in sources:
        entries = [f"{name}: {value!r}" for name, value in source.items() if value is not None]
        lines.append("  - " + "\n    ".join(entries))
    (folder / "taskgate.yaml").write_text("\n".join(lines))
    return Settings.load(folder / "taskgate.yaml")


def test_paths_and_references_start_at_the_files_folder(tmp_path: Path) -> None:
    (one,) = load(tmp_path, GOOD).airflow
    assert one.public_key == tmp_path / "airflow.pem"
    assert one.password == f"file:{tmp_path / 'airflow.password'}"
    assert (one.audience, one.check_interval, one.lost_after) == ("urn:airflow.apache.org:task", 5.0, 600.0)
    (one,) = load(tmp_path, {**GOOD, "public_key": None, "jwks": "jwks.json"}).airflow
    assert (one.jwks, one.jwks_is_remote) == (str(tmp_path / "jwks.json"), False)
    (one,) = load(tmp_path, {**GOOD, "public_key": None, "jwks": "https://keys/jwks.json"}).airflow
    assert (one.jwks, one.jwks_is_remote) == ("https://keys/jwks.json", True)


@pytest.mark.parametrize(
    ("other", "problem"),
    [
        ({"public_key": None}, "exactly one of public_key, jwks and symmetric_key"),
        ({"jwks": "jwks.json"}, "exactly one of public_key, jwks and symmetric_key"),
        ({"password": None}, "username and password go together"),
        ({"username": None, "password": None}, "either username and password, or token"),
        ({"token": "env:T"}, "either username and password, or token"),
        ({"password": "hunter22"}, "never the secret itself"),
        ({"url": "http://airflow.example"}, "http is for loopback addresses only"),
        ({"url": "https://airflow.example?x=1"}, "url"),
        ({"public_key": None, "jwks": "http://keys/jwks.json"}, "http is for loopback addresses only"),
        ({"sources": "x"}, "sources"),
    ],
    ids=str,
)
def test_what_is_wrong_is_told_with_its_line(tmp_path: Path, other: dict[str, object], problem: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load(tmp_path, {**GOOD, **other})
    assert problem in str(caught.value)
    assert "taskgate.yaml:" in str(caught.value)
    assert "hunter22" not in str(caught.value)


def test_a_source_stands_once(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="source prod stands twice"):
        load(tmp_path, GOOD, GOOD)
