"""Wait in the triggerer for a human's decision: no worker is held, and nothing secret is stored."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine, Sequence
from typing import Any, TypeVar

from airflow.triggers.base import BaseTrigger, TriggerEvent

from taskgate.domain import ApprovalState
from taskgate_airflow.configuration import GatewayAccess, NotConfigured
from taskgate_airflow.feed import UNKNOWN, outcome

_AT_LEAST = 3.0  # seconds between a task's deferral and its going on
_CONFIGURED_EVERY = 5.0  # seconds, while nothing says where Taskgate is


Result = TypeVar("Result")


class ApprovalTrigger(BaseTrigger):
    """Fires once every approval is given, or as soon as one will not be.

    :param approval_ids: the request's id, or several. The only thing that is serialised: address and key are the
        triggerer's own configuration, and the key needs the scope `approvals:watch` and no other.

    The event: `{"state": "approved" | "denied" | "expired" | "withdrawn" | "unknown", "approvals": [id, …],
    "approval": the id that decided it}`. Who decided and why is not for the triggerer to know: the task asks when it
    resumes. All triggers of one triggerer wait on one connection. A gateway that is away is asked again for as long as
    the deferral lasts; `unknown` stands where it keeps answering that there is no such approval. Nothing is withdrawn
    when the task is cleared or its state is set: the gateway finds that out by itself.
    """

    def __init__(self, approval_ids: str | Sequence[str]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.approval_ids = [approval_ids] if isinstance(approval_ids, str) else list(approval_ids)

    def serialize(self) -> tuple[str, dict[str, Any]]:
        return "taskgate_airflow.triggers.ApprovalTrigger", {"approval_ids": self.approval_ids}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        state, approval_id = await self._not_at_once(self._decision())
        event = {"state": state, "approvals": self.approval_ids, "approval": approval_id}
        yield TriggerEvent(event)  # type: ignore[no-untyped-call]

    async def _not_at_once(self, decision: Coroutine[Any, Any, Result]) -> Result:
        """A task that goes on before its scheduler has heard that the worker which deferred it is through is marked
        failed (apache/airflow#72716)."""
        decided: tuple[Result, None] = await asyncio.gather(decision, asyncio.sleep(_AT_LEAST))
        return decided[0]

    async def _decision(self) -> tuple[str, str | None]:
        """The first state that is no approval, or that of the last approval; and whose it is."""
        access = await self._access()
        waiting = {asyncio.create_task(outcome(access, one)): one for one in dict.fromkeys(self.approval_ids)}
        state, approval_id, pending = UNKNOWN, None, set(waiting)
        try:
            while pending:
                done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    state, approval_id = task.result(), waiting[task]
                    if state != ApprovalState.APPROVED:
                        return state, approval_id
            return state, approval_id
        finally:
            for task in waiting:
                task.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)

    async def _access(self) -> GatewayAccess:
        """The triggerer's configuration, once there is any. Reading it touches files: not in the event loop."""
        told = False
        while True:
            try:
                return await asyncio.to_thread(GatewayAccess.from_airflow)
            except NotConfigured as error:
                if not told:
                    self.log.warning("Waiting until it is: %s", error)
                told = True
                await asyncio.sleep(_CONFIGURED_EVERY)
