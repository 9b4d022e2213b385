"""The listener that revokes what a task's process was issued, once the task is through: succeeded, failed, up for
retry, skipped or deferred (a task that resumes is issued another). Called last, after callbacks."""

from __future__ import annotations

from typing import Any

import structlog
from pluggy import HookimplMarker

hookimpl = HookimplMarker("airflow")
log = structlog.get_logger(__name__)


@hookimpl
def before_stopping(component: Any) -> None:
    """Called by every component of Airflow; only a task's process has something to revoke."""
    # Imported here: Airflow loads plugins in the middle of its own imports, and whatever fails there fails every DAG.
    try:
        from taskgate_airflow.compat import secrets_backends
        from taskgate_airflow.secrets import TaskgateSecretsBackend

        for backend in secrets_backends():
            if isinstance(backend, TaskgateSecretsBackend):
                backend.revoke_issued("the task attempt is over")
    except Exception as error:  # noqa: BLE001  expiry ends what this cannot, and a task must not fail for it
        log.warning("taskgate: credentials could not be revoked and live until they expire", error=type(error).__name__)
