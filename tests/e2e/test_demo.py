"""The demo as a newcomer runs it: every promise kept, and everything served for other clients."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import psutil
import psycopg
import pytest

from taskgate.client import Client
from tests.servers.folders import server_folder

TASKGATE = [sys.executable, "-m", "taskgate.cli"]


@pytest.mark.timeout(420)
def test_unattended_demo_keeps_every_promise() -> None:
    done = subprocess.run([*TASKGATE, "demo", "--exit"], capture_output=True, text=True, timeout=400, check=False)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-3000:]
    assert "BROKEN" not in done.stdout
    assert done.stdout.count("│ kept ") == 7
    assert "Assurance shown: asserted" in done.stdout


def started_for(name: str, home: Path) -> list[str]:
    """The processes, by command line, that were started for the Airflow or Prefect of this home."""
    found = []
    for one in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if one.environ().get(name) == str(home):
                found.append(" ".join(one.cmdline()))
    return found


def of_airflow(home: Path) -> list[str]:
    return started_for("AIRFLOW_HOME", home)


def of_prefect(home: Path) -> list[str]:
    return started_for("PREFECT_HOME", home)


@pytest.mark.timeout(420)
def test_unattended_demo_of_a_prefect_keeps_every_promise_and_leaves_nothing() -> None:
    with server_folder("demo") as folder:
        done = subprocess.run(
            [*TASKGATE, "demo", "--prefect", "--exit", "--directory", str(folder)],
            env={**os.environ, "COLUMNS": "200"}, capture_output=True, text=True, timeout=400, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-3000:]
        assert "BROKEN" not in done.stdout
        assert done.stdout.count("│ kept ") == 8
        assert "Assurance shown: verified" in done.stdout
        assert "no process lives, no connection is held (Prefect: Suspended)" in done.stdout
        assert "waits in its process, which holds no connection (Prefect: Paused)" in done.stdout
        known = (
            "the gateway knew it: verified (prefect:demo-prefect, by its worker): try 1, deployment orders-cleanup/demo"
        )
        assert done.stdout.count(known) == 4
        assert "in the task's log: Refused by the gateway: refused by rule no-production-ddl" in done.stdout
        assert (folder / "prefect" / "home" / "storage").is_dir(), (
            "what it kept was kept elsewhere, and was not looked at"
        )
        assert of_prefect(folder / "prefect" / "home") == []


def interruptible(command: Sequence[str]) -> subprocess.Popen[str]:
    """SIGINT means something to it even where these tests run in a shell's background, which has them ignore it."""
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize(("told", "once"), [(signal.SIGTERM, "server start"), (signal.SIGINT, "prefect.engine")])
def test_a_prefect_ends_with_the_demo_however_early(told: signal.Signals, once: str) -> None:
    """Its server is started before anything else is; in the other case a process of the flow runs already."""
    with server_folder("demo") as folder:
        home = folder / "prefect" / "home"
        command = [*TASKGATE, "demo", "--prefect", "--directory", str(folder)]
        with interruptible(command) as demo:
            try:
                deadline = time.monotonic() + 300
                while not any(once in one for one in of_prefect(home)):
                    assert demo.poll() is None, "the demo ended"
                    assert time.monotonic() < deadline, f"no {once} was started"
                    time.sleep(0.1)
            finally:
                demo.send_signal(told)
            output = demo.communicate(timeout=60)[0]
            assert demo.returncode == 130, output
        assert of_prefect(home) == []


@pytest.mark.long
@pytest.mark.timeout(900)
def test_unattended_demo_of_a_whole_airflow_keeps_every_promise_and_leaves_nothing() -> None:
    with server_folder("demo") as folder:
        done = subprocess.run(
            [*TASKGATE, "demo", "--airflow-full", "--exit", "--directory", str(folder)],
            env={**os.environ, "COLUMNS": "200"}, capture_output=True, text=True, timeout=880, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-3000:]
        assert "BROKEN" not in done.stdout
        assert done.stdout.count("│ kept ") == 8
        assert "Assurance shown: verified" in done.stdout
        assert "holds its connection (Airflow: running)" in done.stdout
        assert "no connection is held (Airflow: deferred)" in done.stdout
        known = "the gateway knew it: verified (airflow:demo-airflow, by its token): try 1, bundle dags-folder"
        assert done.stdout.count(known) == 4
        own = "lee, of group dba too, started the DAG and may not decide: whoever stands behind a request"
        assert done.stdout.count(own) == 2
        assert "in the task's log: Refused by the gateway: refused by rule no-production-ddl" in done.stdout
        assert of_airflow(folder / "airflow") == []


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize("told", [signal.SIGINT, signal.SIGTERM])
def test_a_whole_airflow_ends_with_the_demo_however_early(told: signal.Signals) -> None:
    with server_folder("demo") as folder:
        command = [*TASKGATE, "demo", "--airflow-full", "--serve", "--directory", str(folder)]
        with interruptible(command) as demo:
            deadline = time.monotonic() + 300
            while len(of_airflow(folder / "airflow")) < 4:  # all four have been started, none is up
                assert demo.poll() is None, "the demo ended"
                assert time.monotonic() < deadline, "Airflow was not started"
                time.sleep(0.2)
            demo.send_signal(told)
            output = demo.communicate(timeout=60)[0]
            assert demo.returncode == 130, output
        assert of_airflow(folder / "airflow") == []


@pytest.mark.timeout(180)
def test_served_demo_is_there_for_any_client(tmp_path: Path) -> None:
    environment = tmp_path / "demo.json"
    with subprocess.Popen([*TASKGATE, "demo", "--serve", "--env", str(environment)], stdout=subprocess.PIPE) as demo:
        try:
            deadline = time.monotonic() + 120
            while not (environment.exists() and environment.stat().st_size):
                assert demo.poll() is None, "the demo ended"
                assert time.monotonic() < deadline, "the demo did not come up"
                time.sleep(0.2)
            assert environment.stat().st_mode & 0o077 == 0, "it holds keys"
            described = json.loads(environment.read_text())
            with psycopg.connect(described["targets"]["orders-db"]["dsn"]) as connection:
                row = connection.execute("select email, ssn from public.customers where id = 1").fetchone()
                assert row is not None
                assert row[1] == "[redacted]"
                assert row[0].endswith("@example.org")
                assert row[0].startswith("*")
            with Client(described["api_url"], described["api_keys"]["rae"]) as rae:
                assert [session.target for session in rae.sessions()] == ["orders-db"]
        finally:
            demo.send_signal(signal.SIGINT)
            assert demo.wait(30) == 0
