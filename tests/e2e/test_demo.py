"""The demo as a newcomer runs it: every promise kept, and everything served for other clients."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import psycopg
import pytest

from taskgate.client import Client

TASKGATE = [sys.executable, "-m", "taskgate.cli"]


@pytest.mark.timeout(420)
def test_unattended_demo_keeps_every_promise() -> None:
    done = subprocess.run([*TASKGATE, "demo", "--exit"], capture_output=True, text=True, timeout=400, check=False)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-3000:]
    assert "BROKEN" not in done.stdout
    assert done.stdout.count("│ kept ") == 6


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
