"""Waiting on Airflow's own page for a human."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any, NoReturn


def can_park() -> bool:
    """Whether a task can wait on Airflow's own page without a trigger: since 3.3."""
    from airflow.sdk import exceptions

    return hasattr(exceptions, "TaskAwaitingInput")


def park(
    instance_id: Any, subject: str, body: str, options: Sequence[str], *, method_name: str, kwargs: dict[str, Any],
    timeout: timedelta | None,
) -> NoReturn:  # fmt: skip
    """Ask on Airflow's own page and wait there, in the state awaiting_input: no trigger, no worker, no pool slot.
    Raises what makes the task wait."""
    from airflow.sdk.exceptions import TaskAwaitingInput
    from airflow.sdk.execution_time.hitl import upsert_hitl_detail

    # Without `params` the row is refused (422), although the function says that they may be left out.
    upsert_hitl_detail(ti_id=instance_id, options=list(options), subject=subject, body=body, params={})
    raise TaskAwaitingInput(method_name=method_name, kwargs=kwargs, timeout=timeout)
