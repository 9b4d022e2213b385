"""The API server's secrets backend: what a task asks for becomes a credential that its own token has proven.

    [secrets]
    backend = taskgate_airflow.server_secrets.TaskgateServerSecretsBackend
    backend_kwargs = {"url": "https://taskgate.example:8400", "source": "prod-airflow",
                      "api_key_file": "/run/secrets/taskgate-api-server", "connections": {"orders_db": "orders-db"}}

The same configuration serves every process of an Airflow; what the backend does depends on which it is in:

- API server, answering a task: forwards the task's token, which the gateway verifies.
- The triggerer's process in which triggers run: asks with the triggerer's own key for what the deferred task's worker
  already held.
- A task's process, or one that parses DAGs: has the API server asked, and denies what that does not answer.
- Anything else: denies.

Airflow asks the next backend, and in the end its own database with the real password, whenever a backend raises an
ordinary exception. So nothing here does: a mapped connection is answered or denied, whatever goes wrong.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NoReturn

import structlog

from taskgate.errors import TaskgateError
from taskgate_airflow import compat
from taskgate_airflow.compat import AirflowSecretsBackendAccessDenied, BaseSecretsBackend, Process
from taskgate_airflow.configuration import GatewayAccess, KeptClient, NotConfigured
from taskgate_airflow.gateway_silence import GatewaySilence
from taskgate_airflow.handed_out import HandedOut, HandedOutConnections
from taskgate_airflow.mapping import MappedConnection, MappingError, read_mapping
from taskgate_airflow.refusal_reasons import RefusalReasons, asked_for, reason_key
from taskgate_airflow.rewriting import check_extras, through_the_gateway
from taskgate_airflow.stored_connections import (
    GOVERNED,
    as_text,
    described,
    from_text,
    mapped_by,
    mapping_asked_for,
    mapping_key,
)
from taskgate_airflow.task_token import TaskToken, current_token, only_describes

if TYPE_CHECKING:  # a task connects without it, and it costs a fifth of a second to import
    from taskgate.client import AirflowDeferredTask, AirflowTaskToken

_TIMEOUT = 4.0  # a worker waits five seconds for the API server, then asks again
_TRIES = 2
_NO_TASK = "it is governed by Taskgate and only handed to a running task"
_LEFT_ALONE_FOR = 60.0
_MOST_LEFT_ALONE = 1000

log = structlog.get_logger(__name__)


class Refused(Exception):
    """Why a connection is not handed out, in words for its task's author."""


class TaskgateServerSecretsBackend(BaseSecretsBackend):
    """Answers for the connections mapped to targets, and for nothing else.

    :param url: the gateway's control API.
    :param source: the name policy knows this Airflow by.
    :param api_key_file: file with the API server's service key; `[taskgate] api_key_file` where it is left out. The
        triggerer's is always `[taskgate] api_key_file` of its own configuration. Workers need none.
    :param connections: connection id → target name, or → `{"target": …, "host": …, "port": …, "sslmode": …,
        "sslrootcert": …, "extra": {…}}`. Connections of type `governed_…` stored in Airflow are mapped as well.
    :param ttl: how long a credential lives, in seconds, where that is less than the gateway gives.
    :param host: connect here instead of where the gateway says (a load balancer, a forwarded port); likewise `port`.
    :param sslmode: libpq's, for the way to the gateway; likewise `sslrootcert`.
    :param ca_file: certificates to trust for the control API; `timeout` in seconds for one call.

    Wrong or missing arguments make it deny every connection: Airflow itself turns unreadable arguments into none at
    all, and an empty mapping would let every task fall through to the stored passwords.
    """

    def __init__(
        self,
        *,
        url: str | None = None,
        source: str | None = None,
        api_key_file: str | None = None,
        connections: Mapping[str, Any] | str | None = None,
        ttl: float | str | None = None,
        host: str | None = None,
        port: int | str | None = None,
        sslmode: str | None = None,
        sslrootcert: str | None = None,
        ca_file: str | None = None,
        timeout: float | str = _TIMEOUT,
        **unknown: Any,
    ) -> None:
        super().__init__()
        self.address: Mapping[str, Any] = {}
        self._problem: str | None = None
        self._connections: Mapping[str, MappedConnection] = {}
        self._defaults: dict[str, Any] = {"host": host, "port": port, "sslmode": sslmode, "sslrootcert": sslrootcert}
        self._ttl: float | None = None
        self._source = source or ""
        self._api_key_file = api_key_file or ""
        self._clients: dict[str, KeptClient] = {}
        self._handed_out = HandedOutConnections()
        self._reasons = RefusalReasons()
        self._silence = GatewaySilence()
        self._left_alone: dict[str, float] = {}
        self._found_mapped: set[str] = set()
        try:
            if connections:
                self._connections = read_mapping(connections, **self._defaults)
                check_extras(self._connections)
            if unknown:
                raise MappingError(f"unknown arguments: {', '.join(sorted(unknown))}")
            missing = [name for name, value in (("url", url), ("source", source)) if not value]
            if missing:
                raise MappingError(f"{' and '.join(missing)} missing")
            self._ttl = None if ttl is None else float(ttl)
            self.address = {"url": url, "ca_file": ca_file, "timeout": float(timeout)}
        except (MappingError, ValueError, TypeError) as error:
            self._problem = str(error)

    # --- what Airflow calls --------------------------------------------------------------------------------------

    def get_connection(self, conn_id: str, team_name: str | None = None) -> Any:
        """The connection with an endpoint of the gateway and a credential; None for an id that is not mapped. Raises
        AirflowSecretsBackendAccessDenied, and nothing else."""
        with self._denying(conn_id):
            return self._connection(conn_id, team_name)

    async def aget_connection(self, conn_id: str) -> Any:
        """As `get_connection`, for asynchronous tasks and triggers: their event loop goes on meanwhile."""
        if compat.process() is not Process.CLIENT:
            # The thread has this task's context variables: they say which trigger asks.
            return await asyncio.to_thread(self.get_connection, conn_id)
        with self._denying(conn_id):
            if conn_id not in self._connections:
                return None
            found = await compat.aconnection_of_the_api_server(conn_id)
            reason = None if found else await compat.avariable_of_the_api_server(reason_key(conn_id))
            return _handed_to_client(found, reason)

    def get_conn_value(self, conn_id: str, team_name: str | None = None) -> str | None:
        """Not used: connections are made as objects, so that no URI with a password in it exists."""
        if compat.process() is not Process.CLIENT and (self._problem is not None or conn_id in self._connections):
            self._deny(conn_id, "it is only handed out as a connection")
        return None

    def get_variable(self, key: str, team_name: str | None = None) -> str | None:
        """Variables are not ours; but a task may ask why it was refused, and a triggerer what is mapped."""
        if compat.process() is not Process.SERVER or self._problem is not None:
            return None
        if (conn_id := mapping_asked_for(key)) is not None:
            mapped = self._mapped(conn_id, team_name)
            return None if mapped is None else as_text(mapped)
        if (conn_id := asked_for(key)) is not None:
            return self._reasons.find(_attempt(current_token()), conn_id)
        return None

    def get_config(self, key: str) -> str | None:
        """Configuration is not ours."""
        return None

    @contextmanager
    def _denying(self, conn_id: str) -> Iterator[None]:
        """Whatever is raised within becomes a denial."""
        try:
            yield
        except AirflowSecretsBackendAccessDenied:
            raise
        except (Refused, MappingError) as refused:
            self._deny(conn_id, str(refused))
        except Exception as error:  # noqa: BLE001  anything else would make Airflow hand out the stored password
            self._deny(conn_id, f"{type(error).__name__} in the secrets backend")

    # --- for the middleware --------------------------------------------------------------------------------------

    def may_wait(self, conn_id: str) -> bool:
        """Whether the gateway may have to be asked for it: not where it was none of ours a moment ago."""
        if self._problem is not None:
            return False
        seen = self._left_alone.get(conn_id)
        return self.knows_mapped(conn_id) or seen is None or time.monotonic() - seen > _LEFT_ALONE_FOR

    def knows_mapped(self, conn_id: str) -> bool:
        """Whether it is mapped, without looking it up: configured so, or found stored so before."""
        return conn_id in self._connections or conn_id in self._found_mapped

    def forget(self, attempt_id: str) -> None:
        """The attempt is given new credentials from now on."""
        self._handed_out.forget(attempt_id)

    def tell_posted(self, attempts: list[str]) -> None:
        """Tell the gateway that these attempts have just said how they ended. Raises TaskgateError, NotConfigured."""
        for attempt_id in attempts:
            self._handed_out.ending(attempt_id)
        self._client(self._servers_key_file()).attempts_posted(self._source, attempts)

    # --- one of each process ---------------------------------------------------------------------------------------

    def _connection(self, conn_id: str, team_name: str | None) -> Any:
        where = compat.process()
        if where is Process.CLIENT:
            return self._for_client(conn_id)
        if self._problem is not None:
            raise Refused(f"the secrets backend is misconfigured: {self._problem}")
        if where is Process.TRIGGER_RUNNER:
            return self._for_trigger(conn_id)
        mapped = self._mapped(conn_id, team_name)
        if mapped is None:
            return None
        token = current_token()
        if token is None and only_describes():
            return compat.description(self, conn_id, GOVERNED + (mapped.protocol or "postgres"), described(mapped))
        if token is None:
            raise Refused(_NO_TASK)
        handed = self._handed_out.get(token.attempt_id, conn_id, lambda: self._exchanged(mapped, token))
        return compat.as_connection(self, conn_id, handed.fields)

    def _for_client(self, conn_id: str) -> Any:
        """The API server is asked before this process's environment would be, and nothing after it."""
        if conn_id not in self._connections:
            return None
        found = compat.connection_of_the_api_server(conn_id)
        reason = None if found else compat.variable_of_the_api_server(reason_key(conn_id))
        return _handed_to_client(found, reason)

    def _for_trigger(self, conn_id: str) -> Any:
        if compat.in_event_loop():
            try:
                return compat.awaited_from_sync(asyncio.to_thread(self._for_trigger, conn_id))
            except RuntimeError:
                raise Refused("a synchronous call would block the triggerer: use aget_connection") from None
        mapped = self._connections.get(conn_id)
        if mapped is None:
            text = compat.variable_of_the_api_server(mapping_key(conn_id))
            if text is None:
                return None
            mapped = from_text(conn_id, text)
        waiting = compat.deferred_task()
        if waiting is None:
            raise Refused("it is governed by Taskgate and only handed to a trigger that a task waits for")
        handed = self._handed_out.get(waiting.id, conn_id, lambda: self._delegated(mapped, waiting))
        return compat.as_connection(self, conn_id, handed.fields)

    def _mapped(self, conn_id: str, team_name: str | None) -> MappedConnection | None:
        if (mapped := self._connections.get(conn_id)) is not None:
            return mapped
        mapped = mapped_by(conn_id, compat.next_connection(self, conn_id, team_name), self._defaults)
        if mapped is not None:
            self._found_mapped.add(conn_id)  # as many as Airflow has connections of our types
        else:
            self._found_mapped.discard(conn_id)
            if len(self._left_alone) >= _MOST_LEFT_ALONE:
                self._left_alone.clear()
            self._left_alone[conn_id] = time.monotonic()
        return mapped

    # --- the gateway ------------------------------------------------------------------------------------------------

    def _exchanged(self, mapped: MappedConnection, token: TaskToken) -> HandedOut:
        instance = compat.task_instance_key(token.attempt_id)
        if instance is None:
            raise Refused("Airflow does not know the task instance that asks, or no longer")
        from pydantic import SecretStr

        from taskgate.client import AirflowTaskToken

        principal = AirflowTaskToken(
            source=self._source,
            dag_id=instance.dag_id,
            run_id=instance.run_id,
            task_id=instance.task_id,
            map_index=instance.map_index,
            token=SecretStr(token.text),
        )
        return self._issued(mapped, principal, self._servers_key_file())

    def _delegated(self, mapped: MappedConnection, waiting: compat.TaskInstanceKey) -> HandedOut:
        key_file = compat.configured("taskgate", "api_key_file")
        if key_file is None:
            raise Refused("the triggerer has no key of its own: [taskgate] api_key_file")
        from taskgate.client import AirflowDeferredTask

        principal = AirflowDeferredTask(
            source=self._source,
            dag_id=waiting.dag_id,
            run_id=waiting.run_id,
            task_id=waiting.task_id,
            map_index=waiting.map_index,
            attempt_id=waiting.id,
        )
        return self._issued(mapped, principal, key_file)

    def _issued(
        self, mapped: MappedConnection, principal: AirflowTaskToken | AirflowDeferredTask, key_file: str
    ) -> HandedOut:
        from taskgate.client import ConnectionSettingsError

        if self._silence:
            raise Refused("Taskgate has not answered a moment ago, and is asked again in a few seconds")
        try:
            with self._silence.noticed():
                credential = self._client(key_file).issue_credential(mapped.target, ttl=self._ttl, principal=principal)
            return HandedOut.of(mapped, credential)
        except TaskgateError as error:
            reason = f"Taskgate did not issue a credential for target {mapped.target}: {error}"
            raise Refused(reason) from None
        except (NotConfigured, ConnectionSettingsError, MappingError) as error:
            raise Refused(str(error)) from None

    def _servers_key_file(self) -> str:
        key_file = self._api_key_file or compat.configured("taskgate", "api_key_file")
        if not key_file:
            raise Refused("the API server has no key: api_key_file is missing")
        return key_file

    def _client(self, key_file: str) -> Any:
        kept = self._clients.get(key_file)
        if kept is None:
            access = GatewayAccess.of({**self.address, "api_key_file": key_file})
            kept = self._clients.setdefault(key_file, KeptClient(access, tries=_TRIES))
        return kept.get()

    def _deny(self, conn_id: str, reason: str) -> NoReturn:
        message = f"Connection {conn_id!r} refused: {reason}"
        if compat.process() is not Process.SERVER:
            raise AirflowSecretsBackendAccessDenied(message) from None
        attempt = _attempt(current_token())
        self._reasons.keep(attempt, conn_id, reason)
        log.warning("taskgate: connection refused", conn_id=conn_id, reason=reason, attempt=attempt or None)
        raise compat.denied_on_the_api_server(message) from None


def _attempt(token: TaskToken | None) -> str:
    """Empty where nobody proved to be a task, as in `dag.test()`: what is said then is of no task in particular."""
    return token.attempt_id if token is not None else ""


def _handed_to_client(found: Any, reason: str | None) -> Any:
    """What the API server answered, or why it is refused. It may be configured otherwise than this process."""
    if found is None:
        unsaid = _NO_TASK if compat.current_task() is None else "the API server does not hand it out; its log says why"
        raise Refused(reason or unsaid)
    if not through_the_gateway(found):
        raise Refused("the API server handed out another connection than the gateway's: is it configured there?")
    return found
