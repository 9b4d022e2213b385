"""Flows by which the tests' Prefect is tried itself."""

from __future__ import annotations

import os
import time

from prefect import flow, get_run_logger, pause_flow_run, task
from prefect.artifacts import create_markdown_artifact
from prefect.events import emit_event


@task
def packages() -> str:
    import taskgate_prefect

    return str(taskgate_prefect.__file__)


@flow
def shows_itself() -> None:
    get_run_logger().info("packages from %s, process %s", packages(), os.getpid())
    create_markdown_artifact("# Seen", key="seen")
    emit_event("harness.shown", resource={"prefect.resource.id": "harness.itself"})


@flow
def asks() -> None:
    get_run_logger().info("asking")
    pause_flow_run(timeout=300, poll_interval=1, key="harness")
    get_run_logger().info("answered")


@flow
def sleeps(seconds: float = 300) -> None:
    get_run_logger().info("sleeping")
    time.sleep(seconds)
