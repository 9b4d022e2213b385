"""Flows that a worker starts in all ways, and whose hooks it runs."""

from __future__ import annotations

import os
import time
from typing import Any

from credentials import credential
from noting import note
from prefect import flow, suspend_flow_run


def looks_from_a_hook(flow: Any, flow_run: Any, state: Any) -> None:
    os.environ["PREFECT__FLOW_RUN_ID"] = str(flow_run.id)
    note("hook", environment=dict(os.environ))
    del os.environ["PREFECT__FLOW_RUN_ID"]


@flow(on_cancellation=[looks_from_a_hook])
def is_cancelled() -> None:
    note("runs")
    time.sleep(300)


@flow
def suspends() -> None:
    note("try", dsn=credential().dsn.get_secret_value())
    suspend_flow_run(timeout=300, key="suspends")
    note("resumed", dsn=credential().dsn.get_secret_value())
