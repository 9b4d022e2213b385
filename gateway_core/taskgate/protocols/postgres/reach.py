"""From an admitted client to a target that is ready for it."""

from __future__ import annotations

import asyncio

from taskgate.enforcement.contracts import GovernedSession
from taskgate.errors import TargetFault
from taskgate.protocols.postgres.peer import Peer
from taskgate.protocols.postgres.service import Service
from taskgate.protocols.postgres.startup import Wishes
from taskgate.protocols.postgres.tls import end_point
from taskgate.protocols.postgres.upstream import Opened, Opening, dial


async def open_target(service: Service, session: GovernedSession, server: Peer, wishes: Wishes) -> Opened:
    """The session's one connection to its target, ready. `server` becomes its near end. Raises TargetFault."""
    limits = service.limits
    target = session.target
    try:
        async with asyncio.timeout(limits.connect_seconds):
            password = await service.gate.target_secret(session)
            connection, context = await dial(target)
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
