"""What `taskgate demo` says before it starts anything. That it runs is shown in tests/e2e."""

from __future__ import annotations

import importlib.util
from typing import Any

import pytest

from taskgate.cli.exit_codes import ExitCode
from tests.unit.cli.conftest import Cli


def test_one_orchestrator_at_a_time(cli: Cli) -> None:
    done = cli("demo", "--prefect", "--airflow-full")
    assert done.exit_code == ExitCode.USAGE
    assert "either --airflow-full or" in done.output


@pytest.mark.parametrize(("arguments", "needs"), [((), "airflow"), (("--prefect",), "prefect, prefect_sqlalchemy")])
def test_what_is_missing_is_said(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], needs: str
) -> None:
    def without(name: str, *rest: Any) -> Any:
        return None if name in ("airflow", "prefect", "prefect_sqlalchemy") else found(name, *rest)

    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", without)
    done = cli("demo", *arguments)
    assert done.exit_code != ExitCode.DONE
    assert f"the demo needs {needs}" in done.output + str(done.exception)
