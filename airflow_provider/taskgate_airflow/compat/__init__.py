"""Everything of Airflow that is not its public interface, in one place: what a new Airflow version may break.

Written for Airflow 3.3 (task SDK 1.3); 3.1 and 3.2 as far as they go (docs/airflow.md has the table). Secrets backends
are imported in the middle of Airflow's own import of its configuration: what is imported here must bear that. What only
the doctor reads is in `metadata.py`.
"""

from __future__ import annotations

try:
    from airflow.sdk.bases.secrets_backend import BaseSecretsBackend
except ImportError:  # 3.1
    from airflow.secrets.base_secrets import BaseSecretsBackend  # type: ignore[assignment]

try:
    from airflow.sdk.exceptions import AirflowFailException, TaskDeferralTimeout
except ImportError:  # 3.1
    from airflow.exceptions import AirflowFailException, TaskDeferralTimeout  # type: ignore[no-redef]

from airflow.sdk.log import mask_secret

from taskgate_airflow.compat.configuration import configured, secrets_backends, server_secrets_backends
from taskgate_airflow.compat.connections import (
    aconnection_of_the_api_server,
    as_connection,
    avariable_of_the_api_server,
    connection_of_the_api_server,
    connection_under_test,
    description,
    next_connection,
    variable_of_the_api_server,
)
from taskgate_airflow.compat.denials import (
    DENIAL_IS_AN_EXCEPTION,
    AirflowSecretsBackendAccessDenied,
    denied_on_the_api_server,
)
from taskgate_airflow.compat.event_loops import awaited_from_sync, in_event_loop
from taskgate_airflow.compat.human_input import can_park, park
from taskgate_airflow.compat.operators import hook_lineage_collector, hook_lineage_readers, sql_decorated_operator
from taskgate_airflow.compat.processes import TRIGGERS_SAY_WHOSE_THEY_ARE, Process, process
from taskgate_airflow.compat.tasks import CurrentTask, TaskInstanceKey, current_task, deferred_task, task_instance_key

__all__ = [
    "DENIAL_IS_AN_EXCEPTION",
    "TRIGGERS_SAY_WHOSE_THEY_ARE",
    "AirflowFailException",
    "AirflowSecretsBackendAccessDenied",
    "BaseSecretsBackend",
    "CurrentTask",
    "Process",
    "TaskDeferralTimeout",
    "TaskInstanceKey",
    "aconnection_of_the_api_server",
    "as_connection",
    "avariable_of_the_api_server",
    "awaited_from_sync",
    "can_park",
    "configured",
    "connection_of_the_api_server",
    "connection_under_test",
    "current_task",
    "deferred_task",
    "denied_on_the_api_server",
    "description",
    "hook_lineage_collector",
    "hook_lineage_readers",
    "in_event_loop",
    "mask_secret",
    "next_connection",
    "park",
    "process",
    "secrets_backends",
    "server_secrets_backends",
    "sql_decorated_operator",
    "task_instance_key",
    "variable_of_the_api_server",
]
