from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from taskgate_airflow.doctor import __main__, examination
from taskgate_airflow.doctor.finding import Finding, Level
from taskgate_airflow.doctor.form import Setup


def _well(setup: Setup) -> Iterator[Finding]:
    yield Finding("well", Level.OK, "it is")


def _doubtful(setup: Setup) -> Iterator[Finding]:
    yield Finding("doubtful", Level.WARN, "a name with\nline breaks", "look")


def broken_check(setup: Setup) -> Iterator[Finding]:
    yield Finding("half", Level.OK, "before it broke")
    raise RuntimeError("s3cret")


def test_a_check_that_fails_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(examination, "CHECKS", (broken_check, _well))
    found = examination.examine()
    assert [(one.check, one.level) for one in found] == [
        ("half", Level.OK),
        ("broken check", Level.FAIL),
        ("well", Level.OK),
    ]
    assert "s3cret" not in str(found)


def test_it_ends_with_one_where_something_is_wrong(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(examination, "CHECKS", (_well, _doubtful))
    assert __main__.main(["--json"]) == 0
    assert json.loads(capsys.readouterr().out) == [
        {"check": "well", "level": "ok", "found": "it is", "do": None},
        {"check": "doubtful", "level": "warn", "found": "a name with\nline breaks", "do": "look"},
    ]
    monkeypatch.setattr(examination, "CHECKS", (_doubtful, broken_check))
    assert __main__.main([]) == 1
    assert capsys.readouterr().out.splitlines() == [
        "warn  doubtful      a name with\\nline breaks",
        "                    → look",
        "ok    half          before it broke",
        "fail  broken check  could not be checked: RuntimeError",
        "                    → is Airflow configured where this runs?",
    ]
