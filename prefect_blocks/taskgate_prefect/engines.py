"""SQLAlchemy engines whose connections are made with the credential of the run attempt that they belong to.

An engine's URL holds neither a user nor a password nor an address: those are known when a connection is made, and
nothing keeps them afterwards.
"""

from __future__ import annotations

import select
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import URL, Engine, event
from sqlalchemy.engine import create_engine
from sqlalchemy.exc import DisconnectionError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.util import await_only

from taskgate.client import TaskgateApiError
from taskgate_prefect.connection_arguments import OF_DRIVER, check
from taskgate_prefect.credentials import AttemptCredential, in_this_process
from taskgate_prefect.gateway import TaskgateGateway
from taskgate_prefect.run_attempt import RunAttempt

_UNTIL = "taskgate_until"
_PAST_THE_GATEWAY = frozenset({"async_creator", "creator", "module", "pool", "url"})


@dataclass(frozen=True, slots=True)
class GovernedEngine:
    """What an engine's connections have in common. `wait`: what a statement does that needs a human (`hold`, `refuse`,
    `ask`). `opened` is told of each connection that was made."""

    gateway: TaskgateGateway
    target: str
    attempt: RunAttempt
    driver: str
    wait: str
    connect_args: Mapping[str, Any] = field(repr=False)
    opened: Callable[[Any, AttemptCredential], None]

    def create(self, **kwargs: Any) -> Engine:
        """With SQLAlchemy's own arguments. Raises ValueError for those that lead past the gateway."""
        governed, arguments = self._with(kwargs)
        engine = create_engine(self._url(), **arguments)
        self._listen(engine, governed._connect)
        return engine

    def create_async(self, **kwargs: Any) -> AsyncEngine:
        """As `create`."""
        governed, arguments = self._with(kwargs)
        engine = create_async_engine(self._url(), **arguments)
        self._listen(engine.sync_engine, governed._connect_awaiting)
        return engine

    def _url(self) -> URL:
        return URL.create(f"postgresql+{self.driver}", database=self.target)

    def _with(self, kwargs: Mapping[str, Any]) -> tuple[GovernedEngine, dict[str, Any]]:
        """Errors name no parameters, unless the caller wants it: they end up in the run's log."""
        if past := sorted(_PAST_THE_GATEWAY & set(kwargs)):
            raise ValueError(f"a governed engine takes no {', '.join(past)}: its connections are the gateway's to make")
        arguments = {"hide_parameters": True, **kwargs}
        connect_args = {**self.connect_args, **arguments.pop("connect_args", {})}
        check(connect_args)
        return replace(self, connect_args=connect_args), arguments

    def _listen(self, engine: Engine, connect: Callable[..., Any]) -> None:
        event.listen(engine, "do_connect", connect)
        event.listen(engine, "checkout", _check_out)

    def _connect(self, dialect: Any, record: Any, _cargs: Any, cparams: Mapping[str, Any]) -> Any:
        access = self.gateway.access()
        credential = in_this_process.current(access, self.target, self.attempt)
        try:
            connection = dialect.connect(**self._arguments(cparams, credential))
        except Exception as error:
            if credential.is_new():
                raise
            try:  # it may have been revoked
                credential = in_this_process.current(access, self.target, self.attempt, after=credential)
            except TaskgateApiError as why:
                raise why from error
            connection = dialect.connect(**self._arguments(cparams, credential))
        return self._opened(connection, record, credential)

    def _connect_awaiting(self, dialect: Any, record: Any, _cargs: Any, cparams: Mapping[str, Any]) -> Any:
        access = await_only(self.gateway.aaccess())
        credential = await_only(in_this_process.acurrent(access, self.target, self.attempt))
        try:
            connection = dialect.connect(**self._arguments(cparams, credential))
        except Exception as error:
            if credential.is_new():
                raise
            try:
                again = in_this_process.acurrent(access, self.target, self.attempt, after=credential)
                credential = await_only(again)
            except TaskgateApiError as why:
                raise why from error
            connection = dialect.connect(**self._arguments(cparams, credential))
        return self._opened(connection, record, credential)

    def _arguments(self, of_dialect: Mapping[str, Any], credential: AttemptCredential) -> dict[str, Any]:
        """In a dictionary of their own: SQLAlchemy keeps the one that it passes."""
        ours = OF_DRIVER[self.driver](credential.issued, self.wait, credential.access.ca_file, self.connect_args)
        return {**of_dialect, **ours}

    def _opened(self, connection: Any, record: Any, credential: AttemptCredential) -> Any:
        if record is not None:
            record.info[_UNTIL] = credential.issued.expires_at
        self.opened(connection, credential)
        return connection


def _check_out(_connection: Any, record: Any, _proxy: Any) -> None:
    """A pooled connection whose credential has ended, or that the gateway has closed while the run waited for a human,
    is made anew, not found out about by a statement's failure."""
    until = record.info.get(_UNTIL)
    if until is not None and until <= datetime.now(UTC):
        raise DisconnectionError("the credential of this connection has ended")
    if _is_cut_off(record.driver_connection):
        raise DisconnectionError("the gateway has closed this connection")


def _is_cut_off(connection: Any) -> bool:
    """Found out without asking: something has come that nobody waits for, such as the end."""
    if hasattr(connection, "is_closed"):  # asyncpg, which reads all the time
        return bool(connection.is_closed())
    arrived = select.poll()
    arrived.register(connection.fileno(), select.POLLIN)
    return bool(arrived.poll(0))
