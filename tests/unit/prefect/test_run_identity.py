"""Who a process' flow run is: exchanged once for all of its processes, and never shown."""

from __future__ import annotations

import copy
import os
import pickle
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from taskgate.client import Unreachable
from taskgate_prefect.run_faults import IncompleteEnvironment, RunSecretRefused, RunSecretUsed
from taskgate_prefect.run_identity import RunAccess, run_access
from taskgate_prefect.run_token_file import folder, token_file
from tests.unit.prefect.control_api import TOKEN, ControlApi, control_api, problem

SECRET = "tgr_1.one-time-secret"
EXCHANGE = ("/v1/prefect/run/token", SECRET)


@pytest.fixture
def gateway(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ControlApi]:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    for name in [name for name in os.environ if name.startswith("TASKGATE_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("TASKGATE_RUN_TOKEN", "")  # so that what a test sets is taken away again
    monkeypatch.delenv("TASKGATE_RUN_TOKEN")
    with control_api() as api:
        monkeypatch.setenv("TASKGATE_URL", api.url)
        monkeypatch.setenv("TASKGATE_SOURCE", "demo-prefect")
        yield api


def given_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TASKGATE_RUN_SECRET", SECRET)


def test_without_a_worker_of_ours_there_is_none(gateway: ControlApi) -> None:
    assert run_access() is None
    assert gateway.asked == []


def test_the_secret_is_exchanged_once_and_leaves_the_environment(
    gateway: ControlApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    given_secret(monkeypatch)
    access = run_access()
    assert access == RunAccess(gateway.url, None, "demo-prefect", TOKEN)
    assert run_access() == access
    assert gateway.asked == [EXCHANGE]
    assert "TASKGATE_RUN_SECRET" not in os.environ
    assert os.environ["TASKGATE_RUN_TOKEN"] == TOKEN


def test_a_process_started_with_the_secret_takes_what_another_got_for_it(
    gateway: ControlApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A task runner's process gets the environment it was started with back after every task."""
    for _ in range(3):
        given_secret(monkeypatch)
        os.environ.pop("TASKGATE_RUN_TOKEN", None)
        access = run_access()
        assert access is not None
        assert access.token == TOKEN
    assert gateway.asked == [EXCHANGE]


def test_many_processes_and_threads_at_once_exchange_once(gateway: ControlApi, monkeypatch: pytest.MonkeyPatch) -> None:
    gateway.delay = 0.3
    given_secret(monkeypatch)
    program = f"import tempfile; tempfile.tempdir = {str(folder().parent)!r}\n"
    program += "from taskgate_prefect.run_identity import run_access; print(run_access().token)"
    others = [
        subprocess.Popen([sys.executable, "-c", program], env=dict(os.environ), stdout=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    tokens: list[str | None] = []

    def ask() -> None:
        access = run_access()
        tokens.append(access.token if access else None)

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for one in threads:
        one.start()
    for one in threads:
        one.join(90)
    tokens += [process.communicate(timeout=90)[0].strip() for process in others]
    assert tokens == [TOKEN] * 11
    assert gateway.asked == [EXCHANGE]


def test_a_secret_that_somebody_else_used_is_named_as_such(
    gateway: ControlApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    gateway.used.add(SECRET)
    given_secret(monkeypatch)
    with pytest.raises(RunSecretUsed, match="somebody else, outside this run's processes") as caught:
        run_access()
    assert "revoked" in str(caught.value)
    assert SECRET not in f"{caught.value} {caught.value.hint} {caught.value.__cause__!r}"
    assert "TASKGATE_RUN_TOKEN" not in os.environ


def test_a_process_that_died_half_way_is_named_as_well(gateway: ControlApi, monkeypatch: pytest.MonkeyPatch) -> None:
    with token_file(SECRET) as file:
        file.asked = True
    gateway.used.add(SECRET)
    given_secret(monkeypatch)
    with pytest.raises(RunSecretUsed, match="died while it was exchanging it, or somebody else"):
        run_access()


def test_a_secret_that_is_worth_nothing_any_more_is_refused_with_the_gateways_reason(
    gateway: ControlApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    gateway.answers[EXCHANGE[0]] = problem(401, "not_authenticated", "the flow run is over")
    given_secret(monkeypatch)
    with pytest.raises(RunSecretRefused, match="the flow run is over"):
        run_access()


def test_a_gateway_that_is_away_spends_nothing(gateway: ControlApi, monkeypatch: pytest.MonkeyPatch) -> None:
    given_secret(monkeypatch)
    monkeypatch.setenv("TASKGATE_URL", "http://127.0.0.1:1")
    with pytest.raises(Unreachable, match=r"127\.0\.0\.1:1"):
        run_access()
    assert os.environ["TASKGATE_RUN_SECRET"] == SECRET
    monkeypatch.setenv("TASKGATE_URL", gateway.url)
    access = run_access()
    assert access is not None
    assert access.token == TOKEN


@pytest.mark.parametrize("name", ["TASKGATE_URL", "TASKGATE_SOURCE"])
def test_what_is_missing_is_named(gateway: ControlApi, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    given_secret(monkeypatch)
    monkeypatch.delenv(name)
    with pytest.raises(IncompleteEnvironment, match=name):
        run_access()


def test_the_token_is_in_no_repr_and_no_pickle() -> None:
    access = RunAccess("https://gateway", None, "demo-prefect", TOKEN)
    assert TOKEN not in repr(access)
    for take in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="not pickled"):
            take(access)
