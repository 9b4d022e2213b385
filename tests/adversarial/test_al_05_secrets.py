"""AL-05: after a whole story at debug level (masked reads, errors that quote values, an approval, wrong passwords,
malformed input, a crash of the target) no secret and no masked value stands anywhere it should not.

Looked through: every file of the gateway but the secrets' own, its log, the store, decrypted recordings, an export, the
API's answers, metrics, the processes' command lines and environments, the target's pg_stat_activity.
"""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import psycopg
import pytest

from taskgate.client import TaskClaim
from taskgate.demo import data
from taskgate.demo.stage import SOURCE, TARGET, Stage
from taskgate.recording.recordings import Recordings

CARD_PARAMETER = "4111111111111111"
APPROVED_PARAMETER = "parameter-for-the-approver-only"
WRONG_PASSWORD = "a-wrong-password-typed-by-hand"


def story(stage: Stage) -> tuple[list[str], list[str]]:
    """Returns the secrets of the story, and sessions that are over."""
    claim = TaskClaim(source=SOURCE, dag_id="d", run_id="r", task_id="t", attempt_id="a-1")
    with stage.client("airflow") as airflow:
        issued = airflow.issue_credential(TARGET, principal=claim)
    dsn = issued.dsn.get_secret_value()
    password = psycopg.conninfo.conninfo_to_dict(dsn)["password"]
    with psycopg.connect(dsn, autocommit=True, options="-c taskgate.wait=refuse") as task:
        task.execute("select email, card, ssn from public.customers").fetchall()
        task.execute("select id from public.orders where status = %s", (CARD_PARAMETER,))
        with contextlib.suppress(psycopg.Error):
            task.execute("select ssn::int from public.customers")
        with contextlib.suppress(psycopg.Error):
            task.execute("select card::date from public.customers")
        with contextlib.suppress(psycopg.Error):
            task.execute("update public.orders set status = %s where id = 1", (APPROVED_PARAMETER,))
        time.sleep(0.2)
    with contextlib.suppress(psycopg.Error):
        psycopg.connect(dsn, password=WRONG_PASSWORD)
    for noise in (b"\0\0\0\x08\x04\xd2\x16\x2f", b"GET / HTTP/1.0\r\n\r\n", b"\xff" * 40):
        with socket.create_connection(("127.0.0.1", stage.gateway.postgres_port)) as raw:
            raw.sendall(noise)
    with psycopg.connect(dsn, autocommit=True) as task, psycopg.connect(stage.postgres.dsn("shop")) as admin:
        shown = task.execute("show all").fetchall() if allowed(task, "show all") else []
        assert not [row for row in shown if password in str(row)]
        seen = admin.execute("select * from pg_stat_activity").fetchall()
        assert not [row for row in seen if any(one in str(row) for one in (*stage.target_passwords, password))]
        admin.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity where application_name like 'taskgate ses_%'"
        )
        with contextlib.suppress(psycopg.Error):
            task.execute("select 1")
    return [password, WRONG_PASSWORD, *stage.target_passwords, *stage.keys.values()], [issued.id]


def allowed(connection: psycopg.Connection, text: str) -> bool:
    try:
        connection.execute(text)
    except psycopg.Error:
        return False
    return True


def files(stage: Stage) -> Iterator[tuple[str, bytes]]:
    own = {f"{TARGET}.secret", f"{TARGET}.catalog.secret"}
    for path in stage.gateway.directory.rglob("*"):
        if path.is_file() and path.name not in own:
            yield str(path.relative_to(stage.gateway.directory)), path.read_bytes()


def process(stage: Stage) -> Iterator[tuple[str, bytes]]:
    for task in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            parent = (task / "stat").read_text().rpartition(")")[2].split()[1]
            if str(stage.gateway.pid) in (task.name, parent):
                yield f"{task.name} cmdline", (task / "cmdline").read_bytes()
                yield f"{task.name} environ", (task / "environ").read_bytes()


def answers(stage: Stage) -> Iterator[tuple[str, bytes]]:
    for person in ("dana", "rae", "airflow"):
        headers = {"Authorization": f"Bearer {stage.keys[person]}"}
        for path in ("sessions", "approvals", "credentials", "targets", "sessions/live", "policy"):
            yield f"{person} {path}", httpx.get(f"{stage.gateway.url}/v1/{path}", headers=headers, timeout=10).content
    for path in ("metrics", "healthz", "readyz", "openapi.json"):
        yield path, httpx.get(f"{stage.gateway.url}/{path}", timeout=10).content


def recorded(stage: Stage) -> Iterator[tuple[str, bytes]]:
    """What a reviewer reads, decrypted."""
    recordings = Recordings(stage.gateway.directory / "data")
    with stage.client("rae") as rae:
        sessions = [session.id for session in rae.sessions()]
    assert len(sessions) >= 2
    for session in sessions:
        for record in recordings.read(session):
            yield f"{session} {record.kind}", json.dumps(record.content, default=str).encode()


def exported(stage: Stage) -> Iterator[tuple[str, bytes]]:
    """Every file of a bundle, as `taskgate export` writes it for somebody outside."""
    bundle = stage.directory / "bundle.zip"
    bundle.unlink(missing_ok=True)
    data_dir = stage.gateway.directory / "data"
    command = [sys.executable, "-m", "taskgate.cli", "export", "--all", "--data-dir", str(data_dir), "-o", str(bundle)]
    done = subprocess.run(command, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    yield "what export prints", done.stdout + done.stderr
    with zipfile.ZipFile(bundle) as files:
        for name in files.namelist():
            yield name, files.read(name)


def core_file_size(process_id: int) -> str:
    """The hard limit: how much of a dying process may be written down."""
    limits = Path(f"/proc/{process_id}/limits").read_text().splitlines()
    (line,) = [line for line in limits if line.startswith("Max core file size")]
    return line.split()[5]


def found(places: Iterator[tuple[str, bytes]], canaries: list[str]) -> list[tuple[str, str]]:
    return [(where, canary[:12]) for where, text in places for canary in canaries if canary.encode() in text]


@pytest.mark.timeout(180)
def test_al_05_no_secret_and_no_masked_value_anywhere(start_stage: Callable[..., Stage]) -> None:
    stage = start_stage(settings={"log_level": "debug"})
    secrets, _ = story(stage)
    masked = [value for _, _, email, card, ssn, _ in data.customers(200) for value in (email, card, ssn)]
    everything = [*secrets, *masked, CARD_PARAMETER]
    time.sleep(1.5)
    assert found(files(stage), [*everything, APPROVED_PARAMETER]) == []
    assert found(process(stage), everything) == []
    assert found(answers(stage), everything) == []
    assert found(recorded(stage), everything) == []
    assert found(recorded(stage), ["select email, card, ssn"]), "the search itself finds what is there"
    assert core_file_size(stage.gateway.pid) == "0"
    stage.gateway.stop()
    assert found(exported(stage), everything) == []
    assert found(exported(stage), ["select email, card, ssn"]), "the bundle holds what was done"
    assert found(files(stage), [*everything, APPROVED_PARAMETER]) == []
    log = stage.gateway.log_file.read_text()
    assert "authentication_failed" in log, "the log says what happened all the same"
    stage.gateway.start()
