"""The worker's secrets backend: hands tasks a gateway endpoint and a credential of their own in place of a connection.

    [workers]
    secrets_backend = taskgate_airflow.secrets.TaskgateSecretsBackend
    secrets_backend_kwargs = {"url": "https://taskgate.example:8400", "api_key_file": "/run/secrets/taskgate",
                              "source": "prod-airflow", "connections": {"orders_db": "orders-db"}}

Airflow asks the next backend, and in the end its own database with the real password, whenever a backend raises an
ordinary exception. So nothing here does: a mapped connection is answered or denied, whatever goes wrong.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NoReturn

import airflow as _airflow  # noqa: F401  first: while it is imported it imports a secrets backend of ours

from taskgate.client import ConnectionSettingsError, TaskClaim
from taskgate.errors import TaskgateError
from taskgate_airflow.compat import (
    AirflowSecretsBackendAccessDenied,
    BaseSecretsBackend,
    CurrentTask,
    as_connection,
    current_task,
)
from taskgate_airflow.configuration import GatewayAccess, NotConfigured
from taskgate_airflow.handed_out import HandedOut, HandedOutConnections
from taskgate_airflow.mapping import MappedConnection, MappingError, read_mapping
from taskgate_airflow.rewriting import check_extras


class TaskgateSecretsBackend(BaseSecretsBackend):
    """Answers for the connections mapped to targets, and for nothing else.

    :param url: the gateway's control API.
    :param api_key_file: file with this Airflow's service key.
    :param source: the name policy knows this Airflow by.
    :param connections: connection id → target name, or → `{"target": …, "host": …, "port": …, "extra": {…}}`.
    :param ttl: how long a credential lives, in seconds; the gateway may give less.
    :param host: connect here instead of where the gateway says (a load balancer, a forwarded port); likewise `port`.
    :param sslmode: libpq's, for the way to the gateway; likewise `sslrootcert`.
    :param ca_file: certificates to trust for the control API; `timeout` in seconds for one call.

    Wrong or missing arguments make it deny every connection: Airflow itself turns unreadable arguments into none at
    all, and an empty mapping would let every task fall through to the stored passwords.
    """

    def __init__(
        self,
        *,
        source: str | None = None,
        connections: Mapping[str, Any] | str | None = None,
        ttl: float | str = 3600,
        host: str | None = None,
        port: int | str | None = None,
        sslmode: str | None = None,
        sslrootcert: str | None = None,
        **access: Any,
    ) -> None:
        super().__init__()
        self.access: GatewayAccess | None = None
        self._problem: str | None = None
        self._connections: Mapping[str, MappedConnection] = {}
        self._source = source or ""
        self._issued = HandedOutConnections()
        try:
            self._ttl = float(ttl)
            self._connections = read_mapping(
                connections, host=host, port=port, sslmode=sslmode, sslrootcert=sslrootcert
            )
            check_extras(self._connections)
            self.access = _access(access)
            if not self._source:
                raise MappingError("source missing: the name policy knows this Airflow by")
        except (MappingError, NotConfigured, ValueError, TypeError) as error:
            self._problem = str(error)

    def get_connection(self, conn_id: str, team_name: str | None = None) -> Any:
        """The connection with an endpoint of the gateway and a credential of the running attempt; None for an id that
        is not mapped. Raises AirflowSecretsBackendAccessDenied, and nothing else."""
        try:
            return self._connection(conn_id)
        except AirflowSecretsBackendAccessDenied:
            raise
        except Exception as error:  # noqa: BLE001  anything else would make Airflow hand out the stored password
            _deny(conn_id, f"{type(error).__name__} in the secrets backend")

    def get_conn_value(self, conn_id: str, team_name: str | None = None) -> str | None:
        """Not used: connections are made as objects, so that no URI with a password in it exists."""
        if self._problem is not None or conn_id in self._connections:
            _deny(conn_id, "it is only handed out as a connection")
        return None

    def get_variable(self, key: str, team_name: str | None = None) -> str | None:
        """Variables are not ours."""
        return None

    def get_config(self, key: str) -> str | None:
        """Configuration is not ours."""
        return None

    def revoke_issued(self, reason: str) -> None:
        """Revoke what this process was given: the attempt is over. Never raises: expiry ends what this cannot."""
        issued = self._issued.take_all()
        if not issued or self.access is None:
            return
        try:
            with self.access.client(timeout=3.0, tries=2) as client:  # a gateway that is away holds up no worker
                for one in issued:
                    client.revoke_credential(one.credential_id, reason=reason)
        except (TaskgateError, NotConfigured, ConnectionSettingsError):
            return

    def _connection(self, conn_id: str) -> Any:
        if self._problem is not None or self.access is None:
            _deny(conn_id, f"the secrets backend is misconfigured: {self._problem}")
        mapped = self._connections.get(conn_id)
        if mapped is None:
            return None
        task = current_task()
        if task is None:
            _deny(conn_id, "it is governed by Taskgate and only handed to a running task")
        access = self.access
        issued = self._issued.get(task.id, conn_id, lambda: self._issue(conn_id, mapped, task, access))
        return as_connection(self, conn_id, issued.fields)

    def _issue(self, conn_id: str, mapped: MappedConnection, task: CurrentTask, access: GatewayAccess) -> HandedOut:
        claim = TaskClaim(
            source=self._source,
            dag_id=task.dag_id,
            run_id=task.run_id,
            task_id=task.task_id,
            map_index=task.map_index,
            try_number=task.try_number,
            attempt_id=task.id,
            attributes=task.attributes,
        )
        try:
            with access.client() as client:
                credential = client.issue_credential(mapped.target, ttl=self._ttl, principal=claim)
        except TaskgateError as error:
            _deny(conn_id, f"Taskgate did not issue a credential for target {mapped.target}: {error}")
        except (NotConfigured, ConnectionSettingsError) as error:
            _deny(conn_id, str(error))
        try:
            return HandedOut.of(mapped, credential)
        except MappingError as error:
            _deny(conn_id, str(error))


def _access(options: dict[str, Any]) -> GatewayAccess:
    unknown = set(options) - {"url", "api_key_file", "ca_file", "timeout"}
    if unknown:
        raise MappingError(f"unknown arguments: {', '.join(sorted(unknown))}")
    return GatewayAccess.of(options)


def _deny(conn_id: str, reason: str) -> NoReturn:
    raise AirflowSecretsBackendAccessDenied(f"Connection {conn_id!r} refused: {reason}") from None
