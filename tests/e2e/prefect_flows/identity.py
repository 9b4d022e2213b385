"""Flows that look who they are, hold what they are given, and end in all ways."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

from credentials import TARGET, credential, read
from noting import note, tried
from prefect import flow, task
from prefect.runtime import task_run
from prefect.task_runners import ProcessPoolTaskRunner

from taskgate.client import Client
from taskgate_prefect.run_identity import run_access


@task
def reads() -> str:
    issued = credential()
    note("issued", who=issued.principal.model_dump(mode="json"), id=issued.id, dsn=issued.dsn.get_secret_value())
    note("environment", names=sorted(name for name in os.environ if name.startswith("TASKGATE_")))
    tried("read", lambda: read(issued))
    return issued.id


@flow
def looks() -> None:
    note("before", names=sorted(name for name in os.environ if name.startswith("TASKGATE_")))
    reads()
    tried("flow itself", lambda: credential().principal.model_dump(mode="json"))


@flow
def below() -> str:
    return reads()


@flow
def has_a_subflow() -> None:
    below()


@task
def reads_in_a_process(number: int) -> None:
    """The processes were started before anybody asked, so each has the secret."""
    note("started with", names=sorted(name for name in os.environ if name.startswith("TASKGATE_RUN_")))
    issued = tried("issued", credential)
    if issued is not None:
        note("who", attempt=issued.principal.attempt.id, task_run=str(task_run.id), number=number)
        tried("read", lambda: read(issued))


@flow(task_runner=ProcessPoolTaskRunner(max_workers=2))
def in_processes() -> None:
    for future in reads_in_a_process.map(range(4)):
        future.result()
    tried("parent", lambda: read(credential()))


@task(retries=1)
def fails_once() -> None:
    issued = credential()
    note("try", count=task_run.run_count, attempt=issued.principal.attempt.id, dsn=issued.dsn.get_secret_value())
    if task_run.run_count == 1:
        raise RuntimeError("the first try fails")
    read(issued)


@flow
def retries() -> None:
    fails_once()


@flow
def fails() -> None:
    """What a person then retries: the same flow run in a new process."""
    issued = credential()
    note("try", attempt=issued.principal.attempt.id, dsn=issued.dsn.get_secret_value())
    read(issued)
    raise RuntimeError("fails")


@task
def holds(seconds: float) -> None:
    """A child that leaves the process group goes on with the credential, and asks for new ones, whatever becomes of the
    run."""
    issued = credential()
    access = run_access()
    assert access is not None
    program = Path(__file__).with_name("goes_on.py")
    given = {"DSN": issued.dsn.get_secret_value(), "RUN_URL": access.url, "RUN_TOKEN": access.token, "TARGET": TARGET}
    # Not with this process' output: its worker takes the run to go on for as long as anybody holds that.
    subprocess.Popen(
        [sys.executable, str(program)],
        env={**os.environ, **given},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    note("holds", id=issued.id, dsn=issued.dsn.get_secret_value())
    time.sleep(seconds)


@flow
def sleeps(seconds: float = 300) -> None:
    holds(seconds)


@flow
def claims(foreign_flow_run: str, foreign_task_run: str, finished_flow_run: str) -> None:
    """What is not one's own."""
    own = credential()
    note("own", id=own.id)
    forged = "00000000-0000-4000-8000-000000000000"
    tried("forged flow run", lambda: credential(flow_run_id=forged).id)
    tried("forged task run", lambda: credential(task_run_id=forged).id)
    tried("foreign flow run", lambda: credential(flow_run_id=foreign_flow_run).id)
    tried("foreign task run", lambda: credential(task_run_id=foreign_task_run).id)
    tried("finished flow run", lambda: credential(flow_run_id=finished_flow_run).id)
    tried("another try", lambda: credential(run_count=7).id)
    tried("no uuid", lambda: credential(flow_run_id="../../admin/settings").id)
    tried("still", lambda: credential().id)


@flow
def shows_its_secret(exchange_first: bool, seconds: float = 60) -> None:
    """The test takes the secret and uses it as well. Without `exchange_first` the test is the first."""
    note("secret", secret=os.environ["TASKGATE_RUN_SECRET"])
    if exchange_first:
        note("dsn", dsn=credential().dsn.get_secret_value())
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if Path(os.environ["RUNS_OUT"], f"{os.environ['PREFECT__FLOW_RUN_ID']}.go").exists():
            break
        time.sleep(0.1)
    tried("asked", lambda: credential().id)
    access = None if not exchange_first else run_access()
    if access is not None:
        with Client(access.url, access.token) as gateway:
            tried("asked again", lambda: gateway.issue_run_credential(TARGET).id)
