"""A worker's process as it starts: nothing taken out of its environment yet."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from taskgate import core_dumps
from taskgate_prefect import worker_access
from tests.unit.prefect.control_api import ControlApi, control_api

WORKER_KEY = "tgk_1.the-workers-own-key"


@pytest.fixture
def fresh_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tests' own process stays open to debuggers."""
    monkeypatch.setattr(worker_access, "_taken", None)
    monkeypatch.setattr(core_dumps, "hide", lambda: None)
    for name in [name for name in os.environ if name.startswith("TASKGATE_")]:
        monkeypatch.delenv(name)


@pytest.fixture
def gateway_of_worker(fresh_worker: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[ControlApi]:
    with control_api() as api:
        monkeypatch.setenv("TASKGATE_URL", api.url)
        monkeypatch.setenv("TASKGATE_SOURCE", "demo-prefect")
        monkeypatch.setenv("TASKGATE_WORKER_KEY", WORKER_KEY)
        yield api
