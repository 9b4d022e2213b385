"""Airflow's connection test for a `governed_postgres` connection: through the gateway, as the operator's own probe.

Nobody's task runs, so no task's credential can be had: the test asks for one with `[taskgate] probe_key_file`, a
service key with the scope `credentials:issue`, for that key itself, and runs `SELECT 1` with it. Policy needs no rule
for that (`builtin-session`), and the probe can read nothing unless some rule lets that service key.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from typing import Any

from taskgate.client import Client, ConnectionSettingsError, IssuedCredential
from taskgate.errors import TaskgateError
from taskgate_airflow.compat import connection_under_test
from taskgate_airflow.configuration import GatewayAccess, NotConfigured
from taskgate_airflow.connection_form import CONNECTION_TYPE
from taskgate_airflow.options import control_api, option

_TTL = 60.0
_TIMEOUT = 10.0


class ProbeFailed(Exception):
    """Why, in words for the person who pressed the button. Never holds a secret."""


def run_connection_test(conn_id: str) -> tuple[bool, str]:
    """What Airflow shows: whether it works, and with which session, or why not. Raises nothing."""
    try:
        return True, _probed(conn_id)
    except ProbeFailed as failed:
        return False, str(failed)
    except Exception as error:  # noqa: BLE001  its text could hold anything
        return False, f"the test itself failed: {type(error).__name__}"


def _probed(conn_id: str) -> str:
    stored = connection_under_test(conn_id)
    if stored is None or stored.conn_type != CONNECTION_TYPE:
        raise ProbeFailed("only a connection of type governed_postgres, as stored in Airflow, can be tested")
    said = dict(stored.extra_dejson)
    target = said.get("target")
    if not target:
        raise ProbeFailed("it names no target")
    try:
        with _client() as client:
            credential = client.issue_credential(str(target), ttl=_TTL)
            try:
                return _connected(credential, said)
            finally:
                with contextlib.suppress(TaskgateError):  # without credentials:revoke it expires in a minute
                    client.revoke_credential(credential.id, reason="the connection test is over")
    except TaskgateError as error:
        raise ProbeFailed(f"Taskgate did not issue a credential for target {target}: {error}") from None
    except (NotConfigured, ConnectionSettingsError) as error:
        raise ProbeFailed(str(error)) from None


def _client() -> Client:
    where, key_file = control_api(), option("probe_key_file")
    if where is None or key_file is None:
        missing = "url" if where is None else "probe_key_file"
        raise ProbeFailed(f"the test needs [taskgate] {missing} where it runs; tasks need neither it nor the test")
    return GatewayAccess(where.url, key_file, where.ca_file, _TIMEOUT).client(tries=1)


def _connected(credential: IssuedCredential, said: Mapping[str, Any]) -> str:
    """Runs `SELECT 1` the way a task's hook would. Raises ProbeFailed."""
    from airflow.sdk import Connection

    from taskgate_airflow.hooks import GovernedPostgresHook

    password = credential.password.get_secret_value()
    extra = {name: str(said[name]) for name in ("sslmode", "sslrootcert") if said.get(name)}
    if "sslrootcert" in extra:
        extra.setdefault("sslmode", "verify-full")
    extra |= {"application_name": "airflow connection test", "connect_timeout": str(int(_TIMEOUT))}
    connection = Connection(
        conn_id="taskgate_probe",
        conn_type="postgres",
        host=str(said.get("host") or credential.host),
        port=int(said.get("port") or credential.port),
        login=credential.user,
        password=password,
        schema=credential.database,
        extra=json.dumps(extra),
    )
    hook = GovernedPostgresHook(postgres_conn_id="taskgate_probe", connection=connection, log_sql=False)
    where = f"{connection.host}:{connection.port}"
    try:
        hook.get_first("SELECT 1")
    except Exception as error:  # noqa: BLE001  the driver's
        text = str(error).replace(password, "***").strip()
        raise ProbeFailed(f"Taskgate issued a credential, but through {where}: {text}") from None
    session = f", session {hook.sessions[-1]}" if hook.sessions else ""
    return f"Through Taskgate at {where} to target {credential.target} as {credential.principal.name}{session}"
