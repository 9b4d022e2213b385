"""Wait in the triggerer for a human's decision: no worker is held, and nothing secret is stored."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from taskgate.client import Approval, AsyncClient, NotAuthenticated, NotFound, NotPermitted, TaskgateApiError
from taskgate.domain import ApprovalState
from taskgate_airflow.configuration import GatewayAccess

_POLL = 50.0  # seconds a long poll may take; the server's bound is 60
_FIRST_PAUSE = 1.0
_LONGEST_PAUSE = 30.0
_LOST_AFTER = 10  # answers in a row that say there is no such approval, or that the key may not see it


class ApprovalTrigger(BaseTrigger):
    """Fires once every approval is given, or as soon as one will not be.

    :param approval_ids: the request's id, or several. The only thing that is serialised: address and key are the
        triggerer's own configuration.

    The event: `{"state": "approved" | "denied" | "expired" | "withdrawn" | "unknown", "approvals": [id, …],
    "decided_by": …, "comment": …, "approval": the id that decided it}`. A gateway that is away is asked again with
    backoff, for as long as the deferral lasts; `unknown` only stands where it keeps answering that it knows of no
    such approval, or does not let this Airflow's key see it.
    """

    def __init__(self, approval_ids: str | Sequence[str]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.approval_ids = [approval_ids] if isinstance(approval_ids, str) else list(approval_ids)

    def serialize(self) -> tuple[str, dict[str, Any]]:
        return "taskgate_airflow.triggers.ApprovalTrigger", {"approval_ids": self.approval_ids}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        yield TriggerEvent(await self._decision())  # type: ignore[no-untyped-call]

    async def _decision(self) -> dict[str, Any]:
        # Reading configuration and key touches files: not in the triggerer's event loop.
        access = await asyncio.to_thread(GatewayAccess.from_airflow)
        event: dict[str, Any] = {"state": "approved", "approvals": self.approval_ids}
        async with await asyncio.to_thread(access.async_client) as client:
            for approval_id in self.approval_ids:
                event.update(await self._decided(client, approval_id))
                if event["state"] != ApprovalState.APPROVED:
                    break
        return event

    async def _decided(self, client: AsyncClient, approval_id: str) -> dict[str, Any]:
        pause, lost = _FIRST_PAUSE, 0
        while True:
            try:
                approval = await client.approval(approval_id, wait=_POLL)
            except TaskgateApiError as error:
                lost = lost + 1 if isinstance(error, (NotFound, NotPermitted, NotAuthenticated)) else 0
                if lost >= _LOST_AFTER:
                    return {"state": "unknown", "approval": approval_id, "comment": str(error)}
                self.log.warning("Taskgate cannot be asked about %s, trying again: %s", approval_id, error)
                pause = min(pause * 2, _LONGEST_PAUSE)
            else:
                if approval.state is not ApprovalState.PENDING:
                    return _outcome(approval)
                pause, lost = _FIRST_PAUSE, 0
            await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311  spreads waiters, guards nothing


def _outcome(approval: Approval) -> dict[str, Any]:
    return {
        "state": approval.state.value,
        "approval": approval.id,
        "decided_by": approval.decided_by,
        "comment": approval.comment,
    }
