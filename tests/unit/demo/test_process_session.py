"""What a process of an orchestrator's has started ends with it, wherever it has gone."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from taskgate.demo.process_session import ProcessSession

CHILD = "import time; time.sleep(600)"
PARENT = f"""
import os, subprocess, sys, time
apart = {{sys.argv[1]: True}} if sys.argv[1] == "start_new_session" else {{sys.argv[1]: 0}}
child = subprocess.Popen([sys.executable, "-c", {CHILD!r}], env={{**os.environ, "CHILD": "1"}}, **apart)
print("started", child.pid, flush=True)
time.sleep(600)
"""


@pytest.fixture(params=["process_group", "start_new_session"])
def session(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[ProcessSession]:
    """With a child in a process group of its own, as Airflow's tasks are, or in a session of its own."""
    environment = {**os.environ, "GIVEN": "this"}
    one = ProcessSession("the worker", [sys.executable, "-c", PARENT, request.param], environment, tmp_path / "log")
    one.start()
    deadline = time.monotonic() + 20
    while "started" not in one.tail():
        assert time.monotonic() < deadline, one.tail()
        time.sleep(0.05)
    yield one
    one.stop(seconds=0)


def test_it_ends_with_its_child(session: ProcessSession) -> None:
    session.check()
    assert [one.get("CHILD") for one in session.environments()] == [None, "1"]
    assert {one["GIVEN"] for one in session.environments()} == {"this"}
    processes = session.processes()
    session.stop(seconds=5)
    deadline = time.monotonic() + 10
    while [one for one in processes if one.is_running() and one.status() != psutil.STATUS_ZOMBIE]:
        assert time.monotonic() < deadline, "it lives on"
        time.sleep(0.05)


def test_one_that_has_ended_says_what_it_wrote_last(session: ProcessSession) -> None:
    session.terminate()
    assert session.process is not None
    session.process.wait(10)
    with pytest.raises(RuntimeError, match="the worker ended:\nstarted "):
        session.check()
    assert [one.environ().get("CHILD") for one in session.processes() if one.status() != "zombie"] == ["1"]
