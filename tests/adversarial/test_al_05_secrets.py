"""AL-05: after a whole story at debug level (masked reads, errors that quote values, an approval, wrong passwords,
malformed input, a crash of the target) no secret and no masked value stands anywhere it should not.

Looked through: every file of the gateway but the secrets' own, its log, the store, decrypted recordings (rows decoded,
where a rule records them), exports as zip and without contents, the API's answers, metrics, the processes' command
lines and environments, the target's pg_stat_activity. And a gateway that dies leaves no core.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import re
import resource
import signal
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
# Rows are recorded too: as the client got them.
ROWS_POLICY = """\
version: 1
rules:
  - id: rows-are-recorded
    match: {targets: [orders-db], principals: {kind: task, assurance: asserted}, effects: [sql.select],
            objects: [public.customers]}
    verdict: allow
    record: results
"""
WRONG_PASSWORD = "a-wrong-password-typed-by-hand"


def story(stage: Stage) -> tuple[list[str], list[str]]:
    """Returns the secrets of the story, and sessions that are over."""
    claim = TaskClaim(source=SOURCE, dag_id="d", run_id="r", task_id="t", attempt_id="a-1")
    with stage.client("airflow") as airflow:
        issued = airflow.issue_credential(TARGET, principal=claim)
    dsn = issued.dsn.get_secret_value()
    password = psycopg.conninfo.conninfo_to_dict(dsn)["password"]
    with psycopg.connect(dsn, autocommit=True, options="-c taskgate.wait=refuse") as task:
        task.execute("select email, card, ssn, name from public.customers").fetchall()
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
    """The gateway, and any process it has started."""
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
            yield from decoded(f"{session} {record.kind}", json.dumps(record.content, default=str).encode())


_STRING = re.compile(rb'"([A-Za-z0-9+/]{4,}={0,2})"')


def decoded(where: str, text: bytes) -> Iterator[tuple[str, bytes]]:
    """The text, and whatever stands in it as base64: rows do."""
    yield where, text
    for one in _STRING.finditer(text):
        with contextlib.suppress(ValueError):
            yield f"{where}, decoded", base64.b64decode(one[1], validate=True)


def exported(stage: Stage, folder: Path, *options: str) -> Iterator[tuple[str, bytes]]:
    """What `taskgate export` writes: the bytes of the bundle, and every file in it taken out."""
    output = folder / f"bundle{len(list(folder.iterdir()))}{'' if '--headers-only' in options else '.zip'}"
    command = [sys.executable, "-m", "taskgate.cli", "export", "--all", "--output", str(output), *options]
    subprocess.run([*command, "--data-dir", str(stage.gateway.directory / "data")], check=True, timeout=60)
    if output.is_file():
        yield output.name, output.read_bytes()
        with zipfile.ZipFile(output) as bundle:
            members = [(name, bundle.read(name)) for name in bundle.namelist()]
    else:
        members = [(str(path), path.read_bytes()) for path in output.rglob("*") if path.is_file()]
    assert [name for name, _ in members if name.endswith(".jsonl")]
    for name, text in members:
        yield from decoded(name, text)


def found(places: Iterator[tuple[str, bytes]], canaries: list[str]) -> list[tuple[str, str]]:
    return [(where, canary[:12]) for where, text in places for canary in canaries if canary.encode() in text]


@pytest.mark.timeout(180)
def test_al_05_no_secret_and_no_masked_value_anywhere(start_stage: Callable[..., Stage], tmp_path: Path) -> None:
    # Dumps allowed: else only root could look at the process's environment, and others would find nothing in it.
    stage = start_stage(settings={"log_level": "debug", "core_dumps": True}, policies=[ROWS_POLICY])
    secrets, _ = story(stage)
    masked = [value for _, _, email, card, ssn, _ in data.customers(200) for value in (email, card, ssn)]
    everything = [*secrets, *masked, CARD_PARAMETER]
    time.sleep(1.5)
    assert found(files(stage), [*everything, APPROVED_PARAMETER]) == []
    assert found(process(stage), everything) == []
    assert found(process(stage), ["NO_COLOR"]), "the environment can be read"
    assert found(answers(stage), everything) == []
    assert found(recorded(stage), everything) == []
    assert found(recorded(stage), ["select email, card, ssn"]), "the search itself finds what is there"
    for options in ((), ("--headers-only",)):
        hidden = [*everything, APPROVED_PARAMETER] if options else everything
        assert found(exported(stage, tmp_path, *options), hidden) == []
    names = [name for _, name, *_ in data.customers(3)]
    shown = ["select email, card, ssn", *names]
    assert {canary for _, canary in found(exported(stage, tmp_path), shown)} == {one[:12] for one in shown}
    stage.gateway.stop()
    assert found(files(stage), [*everything, APPROVED_PARAMETER]) == []
    log = stage.gateway.log_file.read_text()
    assert "authentication_failed" in log, "the log says what happened all the same"
    stage.gateway.start()


@pytest.mark.timeout(120)
def test_al_05_a_gateway_that_dies_leaves_no_core(
    start_stage: Callable[..., Stage], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Started where cores are allowed, killed by what usually leaves one; `core_dumps: true` shows that it would."""
    monkeypatch.chdir(tmp_path)
    before = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (before[1], before[1]))
    try:
        dumped = {}
        for allowed_ in (True, False):
            stage = start_stage(settings={"core_dumps": allowed_})
            story(stage)
            process = stage.gateway.process
            assert process is not None
            os.kill(process.pid, signal.SIGSEGV)
            _, status = os.waitpid(process.pid, 0)
            process.returncode = -os.WTERMSIG(status)
            dumped[allowed_] = os.WCOREDUMP(status)
            if allowed_:
                for core in tmp_path.iterdir():
                    core.unlink()
    finally:
        resource.setrlimit(resource.RLIMIT_CORE, (before[0], before[1]))
    assert dumped == {True: True, False: False}
    assert list(tmp_path.iterdir()) == []


@pytest.mark.timeout(120)
def test_al_05_the_gateway_starts_no_process_and_hands_on_no_environment(start_stage: Callable[..., Stage]) -> None:
    stage = start_stage()
    story(stage)
    children = [
        child
        for task in Path(f"/proc/{stage.gateway.pid}/task").iterdir()
        for child in (task / "children").read_text().split()
    ]
    assert children == []
