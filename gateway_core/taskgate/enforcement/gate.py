"""The gateway as a protocol's listener sees it: who may come in, and what an open session is made of."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

from taskgate.domain import Credential
from taskgate.enforcement.contracts import GovernedSession, WaitMode
from taskgate.enforcement.early_events import EarlyEvents
from taskgate.enforcement.live import LiveSessions
from taskgate.enforcement.services import Services
from taskgate.enforcement.session import Session
from taskgate.enforcement.targets import GovernedTarget
from taskgate.errors import ClientFault, GatewayFault, StoreFault, TargetFault
from taskgate.store.ids import IdPrefix, new_id


class TaskgateGate:
    """Implements `enforcement.contracts.Gate`. One a process, one event loop."""

    def __init__(self, services: Services, targets: Mapping[str, GovernedTarget], live: LiveSessions) -> None:
        self._services = services
        self._targets = targets
        self._live = live
        self._early = EarlyEvents(services.own_recording, services.metrics)

    async def credential(self, user: str) -> Credential | None:
        return await self._services.credentials.find(user)

    async def open(
        self,
        credential: Credential,
        *,
        protocol: str,
        client_address: str,
        options: Mapping[str, str],
        begun: Callable[[GovernedSession], None],
    ) -> Session:
        wait = _wait(options)
        services = self._services
        target = self._targets.get(credential.target)
        if target is None:
            raise TargetFault(f"taskgate: target {credential.target} is not configured here")
        if services.store_lost:
            raise StoreFault("taskgate: the store is out of reach, so nobody new is let in")
        self._live.reserve(target.target)
        session: Session | None = None
        try:
            await target.ready()
            session = Session(
                new_id(IdPrefix.SESSION), credential, target, services, protocol=protocol,
                client_address=client_address, options=options, wait=wait, on_close=self._live.remove,
            )  # fmt: skip
            # Before the store is asked: a revocation from here on finds the session in the list.
            self._live.add(session)
            session.end_at(credential.expires_at, "the credential expired")
            if credential.confined_until is not None:
                session.confine(credential.confined_until)
            begun(session)
            await services.index.opened(
                session.id, credential.principal, target.target.name, protocol=protocol, client_address=client_address,
                policy_version=services.policy.current.version, credential_id=credential.id,
                confined=credential.confined_until is not None,
            )  # fmt: skip
            session.commit()
        except BaseException:
            if session is None:
                self._live.release(target.target)
            else:
                await asyncio.shield(session.close("the session could not be opened"))
            raise
        services.metrics.session_opened(protocol, target.target.name)
        return session

    async def target_secret(self, session: GovernedSession) -> str:
        target = self._targets.get(session.target.name)
        if target is None:
            raise GatewayFault(f"taskgate: target {session.target.name} is not configured here")
        return await target.secret()

    def cancel_name(self, process: int, secret: bytes) -> str:
        return self._services.cancels.name(process, secret)

    def cancel_elsewhere(self, process: int, secret: bytes, client_address: str) -> bool:
        return self._services.cancels.pass_on(process, secret, client_address)

    def on_cancel(self, called: Callable[[str], None]) -> None:
        self._services.cancels.listen(called)

    def authentication_failed(self, *, protocol: str, client_address: str, user: str, reason: str) -> None:
        self._services.metrics.authentication_failed(protocol)
        self._early.note(
            "authentication_failed", client_address=client_address, protocol=protocol, user=user, reason=reason
        )

    def malformed(self, *, protocol: str, client_address: str, reason: str) -> None:
        self._services.metrics.malformed_message(protocol)
        self._early.note("malformed", client_address=client_address, protocol=protocol, reason=reason)

    def close(self) -> None:
        """Nobody comes in any more: what was only counted so far is recorded."""
        self._early.close()


def _wait(options: Mapping[str, str]) -> WaitMode:
    unknown = sorted(set(options) - {"wait"})
    if unknown:
        raise ClientFault(f"taskgate: there is no startup option taskgate.{unknown[0]}", hint="There is taskgate.wait.")
    wanted = options.get("wait", WaitMode.HOLD)
    if wanted not in set(WaitMode):
        raise ClientFault(f"taskgate: taskgate.wait is {', '.join(WaitMode)}, not {wanted[:20]!r}")
    return WaitMode(wanted)
