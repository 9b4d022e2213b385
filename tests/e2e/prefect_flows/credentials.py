"""How a flow of the tests asks for a credential by hand, as the blocks do: by what its worker gave it, or by a key."""

from __future__ import annotations

import os

import psycopg
from prefect.runtime import flow_run, task_run

from taskgate.client import Client, IssuedCredential, PrefectRun
from taskgate_prefect.run_identity import run_access

TARGET = "orders-db"


def credential(**claimed: object) -> IssuedCredential:
    """For the task run that asks, or the flow run where none does; `claimed` in place of what is true."""
    task_run_id = str(task_run.id) if task_run.id else None
    count = int(task_run.run_count if task_run_id else flow_run.run_count)
    asked = {"flow_run_id": str(flow_run.id), "task_run_id": task_run_id, "run_count": count, **claimed}
    access = run_access()
    if access is not None:
        with Client(access.url, access.token, ca_file=access.ca_file) as gateway:
            return gateway.issue_run_credential(TARGET, **asked)  # type: ignore[arg-type]
    principal = PrefectRun(source=os.environ["TASKGATE_SOURCE"], **asked)  # type: ignore[arg-type]
    with Client() as gateway:
        return gateway.issue_credential(TARGET, principal=principal)


def read(issued: IssuedCredential, sql: str = "SELECT count(*) FROM orders") -> object:
    with psycopg.connect(issued.dsn.get_secret_value(), connect_timeout=5) as connection:
        row = connection.execute(sql).fetchone()  # type: ignore[arg-type]
        return row and row[0]
