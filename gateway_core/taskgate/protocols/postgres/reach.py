"""From an admitted client to a target that is ready for it."""

from __future__ import annotations

import asyncio
import socket
import ssl
from typing import Any

from taskgate.enforcement.contracts import GovernedSession
from taskgate.errors import TargetFault
from taskgate.protocols.postgres.peer import Peer
from taskgate.protocols.postgres.service import Service
from taskgate.protocols.postgres.startup import Wishes
from taskgate.protocols.postgres.tls import end_point
from taskgate.protocols.postgres.upstream import Opened, Opening, dial


class Approach:
    """What can be done for a session while the store is still asked to let it in, for these take time that others need
    not wait for: its target's password is fetched, and a connection made. Nothing is said in the session's name, nor
    proven to anybody. `give_up` whatever became of it."""

    def __init__(self, service: Service, session: GovernedSession) -> None:
        self._password = asyncio.ensure_future(service.gate.target_secret(session))
        self._dialled = asyncio.ensure_future(dial(session.target))
        self._taken = False

    async def arrive(self) -> tuple[str, socket.socket, ssl.SSLContext | None]:
        """Password, connection, TLS context; the connection is the caller's from now on. Raises GatewayFault,
        TargetFault, OSError."""
        password = await self._password
        connection, context = await self._dialled
        self._taken = True
        return password, connection, context

    def give_up(self) -> None:
        """Nothing is left behind but what `arrive` has handed out."""
        self._password.cancel()
        self._password.add_done_callback(_looked_at)
        self._dialled.cancel()
        self._dialled.add_done_callback(self._hang_up)

    def _hang_up(self, dialled: asyncio.Future[tuple[socket.socket, ssl.SSLContext | None]]) -> None:
        if not self._taken and _looked_at(dialled):
            dialled.result()[0].close()


def _looked_at(done: asyncio.Future[Any]) -> bool:
    """Whether there is a result; a fault that nobody waits for any more is no news."""
    return not done.cancelled() and done.exception() is None


async def open_target(
    service: Service, session: GovernedSession, server: Peer, wishes: Wishes, approach: Approach
) -> Opened:
    """The session's one connection to its target, ready. `server` becomes its near end. Raises TargetFault."""
    limits = service.limits
    target = session.target
    try:
        async with asyncio.timeout(limits.connect_seconds):
            password, connection, context = await approach.arrive()
            loop = asyncio.get_running_loop()
            name = target.host if context is not None else None
            transport, _ = await loop.create_connection(
                lambda: server, sock=connection, ssl=context, server_hostname=name
            )
            binding = None
            if context is not None:
                certificate = transport.get_extra_info("ssl_object").getpeercert(binary_form=True)
                binding = end_point(certificate)
            parameters = _parameters(session, wishes)
            opening = Opening(target, password, parameters, service.keys, limits, binding=binding)
            server.write(opening.begin())
            while not opening.done:
                await server.peek(1)
                answer = opening.feed(await server.take(server.gathered))
                if answer:
                    server.write(answer)
            return opening.opened
    except TargetFault:
        raise
    except TimeoutError:
        raise TargetFault(f"target {target.name} did not answer in time") from None
    except OSError as error:  # TLS errors included
        reason = getattr(error, "verify_message", None) or type(error).__name__
        raise TargetFault(f"the connection to target {target.name} failed: {reason}") from None


def _parameters(session: GovernedSession, wishes: Wishes) -> dict[str, str]:
    """What the target's session starts with; ours stand last, and a client cannot name them."""
    parameters = dict(wishes.settings)
    parameters |= {
        "user": session.target.user,
        "database": session.target.database,
        "application_name": f"taskgate {session.id} {wishes.application_name}".strip()[:63],
        "client_encoding": "UTF8",
        "standard_conforming_strings": "on",
    }
    if session.read_only:
        parameters["default_transaction_read_only"] = "on"
    return parameters
