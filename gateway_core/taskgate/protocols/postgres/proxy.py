"""The story of one connection: admit the client, open its session, reach the target, relay until either side or the
gateway ends it. The only place that moves bytes between sockets; what the bytes mean is the relay's business."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import structlog

from taskgate.domain import Target
from taskgate.enforcement.contracts import GovernedSession
from taskgate.errors import AuthenticationFault, ClientFault, TaskgateError
from taskgate.protocols.postgres.governed import GovernedConnection, close
from taskgate.protocols.postgres.greeting import Admitted, Greeting
from taskgate.protocols.postgres.peer import Peer
from taskgate.protocols.postgres.reach import Approach
from taskgate.protocols.postgres.refusals import fatal, fatal_for
from taskgate.protocols.postgres.service import Service
from taskgate.protocols.postgres.startup import CancelRequest, Wishes

log = structlog.get_logger(__name__)

PROTOCOL = "postgres"
_HEARD_BY = 0.5  # seconds: every process on the store has heard of a signal by then


class Connection:
    """One client's connection. `run` ends when it is over; nothing is left behind."""

    def __init__(
        self, service: Service, peer: Peer, address: str, *, encrypted: bool, admitted: Callable[[], None]
    ) -> None:
        self._service = service
        self._client = peer
        self._address = address
        self._encrypted = encrypted
        self._on_admitted = admitted

    async def run(self) -> None:
        client, gate = self._client, self._service.gate
        try:
            async with asyncio.timeout(self._service.limits.startup_seconds):
                came = await Greeting(self._service, client, self._address, encrypted=self._encrypted).admit()
            if isinstance(came, CancelRequest):
                await self._cancel(came)
                return
            self._on_admitted()
            await self._govern(came)
        except (ConnectionResetError, BrokenPipeError):
            pass
        except TimeoutError:
            gate.malformed(protocol=PROTOCOL, client_address=self._address, reason="no startup in time")
            client.write(fatal("08P01", "taskgate: the connection was not authenticated in time"))
        except AuthenticationFault as fault:
            client.write(fatal_for(fault))
        except ClientFault as fault:
            gate.malformed(protocol=PROTOCOL, client_address=self._address, reason=str(fault))
            client.write(fatal_for(fault))
        except TaskgateError as fault:
            client.write(fatal_for(fault))
        except Exception:
            log.exception("postgres.connection_failed", address=self._address)
            client.write(fatal("58000", "taskgate: internal error"))
        finally:
            await close(client, self._service.limits.close_seconds)

    async def _cancel(self, request: CancelRequest) -> None:
        cancel = self._service.cancels.find(request.process, request.secret)
        if cancel is None:
            if self._service.gate.cancel_elsewhere(request.process, request.secret, self._address):
                # A client that waits for this connection's end must not see its next statement cancelled.
                await asyncio.sleep(_HEARD_BY)
                return
            reason = "cancel request without a matching session"
            self._service.gate.malformed(protocol=PROTOCOL, client_address=self._address, reason=reason)
            return
        await cancel()

    async def _govern(self, admitted: Admitted) -> None:
        wishes, credential = admitted.wishes, admitted.credential
        approach: Approach | None = None

        def begun(session: GovernedSession) -> None:
            nonlocal approach
            if wishes.database in (session.target.name, session.target.database, wishes.user):
                approach = Approach(self._service, session)

        try:
            session = await self._service.gate.open(
                credential, protocol=PROTOCOL, client_address=self._address, options=wishes.options, begun=begun
            )
            reason = "the gateway failed"
            try:
                if approach is None:
                    raise _another_database(wishes, session.target)
                governed = GovernedConnection(self._service, self._client, session, approach)
                reason = await governed.run(wishes)
            except TaskgateError as error:
                reason = str(error)
                raise
            except (ConnectionResetError, BrokenPipeError):
                reason = "the client disconnected"
                raise
            finally:
                await session.close(reason)
        finally:
            if approach is not None:
                approach.give_up()


def _another_database(wishes: Wishes, target: Target) -> ClientFault:
    fault = ClientFault(
        f'database "{wishes.database}" is not what this credential is for',
        hint=f'Connect to "{target.name}".',
    )
    fault.sqlstate = "3D000"
    return fault
