"""The listener that writes into a task's log what the gateway made of it: a line a session, approval and refusal.

It runs in the task's own process, for stock operators too, and holds no key: the gateway is asked about this attempt
with the credential that the task itself connected with. Nothing here fails a task.
"""

from __future__ import annotations

from typing import Any

import structlog
from pluggy import HookimplMarker

hookimpl = HookimplMarker("airflow")
log = structlog.get_logger(__name__)

_TIMEOUT = 2.0
_MOST_ASKED = 2
_spent: set[str] = set()
"""Users whose attempt was reported: a process that runs several tasks (`dag.test()`) still knows their hooks."""


@hookimpl
def on_task_instance_success() -> None:
    _report(None)


@hookimpl
def on_task_instance_skipped() -> None:
    _report(None)


@hookimpl
def on_task_instance_failed(error: Any) -> None:
    _report(error if isinstance(error, BaseException) else None)


def _report(error: BaseException | None) -> None:
    """Airflow calls it once a try, after the task's state was decided. Also in the API server, where somebody sets a
    task's state: no hook of that task is known there, so there is nothing to say."""
    # Imported here: Airflow loads plugins in the middle of its own imports, and whatever fails there fails every DAG.
    try:
        from taskgate_airflow.options import control_api

        if error is not None:
            _refusal(error)
        if (where := control_api()) is not None:
            _ask(where, error)
    except Exception as fault:  # noqa: BLE001
        log.debug("Taskgate could not be asked what it made of this task", error=type(fault).__name__)


def _refusal(error: BaseException) -> None:
    from taskgate_airflow.refusals import refusals_in

    for refusal in refusals_in(error):
        log.warning(f"Refused by the gateway: {refusal.text}", **refusal.facts)


def _ask(where: Any, error: BaseException | None) -> None:
    from taskgate_airflow.gateway_hooks import data_path_credentials

    credentials = [one for one in data_path_credentials(error) if one.user not in _spent]
    _spent.update(one.user for one in credentials)
    for credential in credentials[::-1][:_MOST_ASKED]:
        try:
            lines = _lines(where, credential)
        except Exception as fault:  # noqa: BLE001  an older credential may have ended: another may not have
            log.debug("Taskgate did not say what it made of this task", error=type(fault).__name__)
            continue
        for line in lines:
            log.info(line)
        return  # whichever of its credentials asks, the answer is about the whole attempt


def _lines(where: Any, credential: Any) -> list[str]:
    from taskgate.client import Client
    from taskgate.client.report_lines import report_lines
    from taskgate_airflow.options import option

    with Client(where.url, credential.bearer(), ca_file=where.ca_file, timeout=_TIMEOUT, tries=1) as client:
        return list(report_lines(client.attempt(), option("dashboard_url")))
