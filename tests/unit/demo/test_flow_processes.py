"""The processes of a flow run are told from their worker's and from another run's."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from taskgate.demo.flow_processes import FlowProcesses
from taskgate.demo.process_session import ProcessSession

WORKER = """
import os, subprocess, sys, time
for run, seconds in (("run-1", 2), ("run-1", 600), ("run-2", 600)):
    code = f"import time; time.sleep({seconds})"
    subprocess.Popen([sys.executable, "-c", code], env={**os.environ, "PREFECT__FLOW_RUN_ID": run, "FOR": str(seconds)})
time.sleep(600)
"""


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[FlowProcesses]:
    worker = ProcessSession("the worker", [sys.executable, "-c", WORKER], dict(os.environ), tmp_path / "log")
    worker.start()
    watched = FlowProcesses(worker, "run-1")
    watched.start()
    yield watched
    watched.stop()
    worker.stop(seconds=0)


def until(done: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not done():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_who_lives_and_who_was_seen(processes: FlowProcesses) -> None:
    until(lambda: len(processes.environments) == 2)
    until(lambda: processes.living() == 1)
    assert sorted(one["FOR"] for one in processes.environments) == ["2", "600"], "gone, and remembered"
    assert {one["PREFECT__FLOW_RUN_ID"] for one in processes.environments} == {"run-1"}
