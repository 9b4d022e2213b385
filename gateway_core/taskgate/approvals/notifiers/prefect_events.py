"""What is asked and decided as Prefect's own events: automations there can act on them (`taskgate.approval.requested`,
`.approved`, `.denied`, `.expired`, `.withdrawn`). They announce; nothing follows from them here."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import httpx

from taskgate.approvals.notifiers.notification import Notification
from taskgate.approvals.notifiers.notifier import DeliveryFault
from taskgate.domain import Approval
from taskgate.identity.orchestrators.faults import OrchestratorAway
from taskgate.identity.orchestrators.fetching import Fetch
from taskgate.identity.orchestrators.prefect.account import PrefectAccount
from taskgate.identity.orchestrators.prefect.rest import PrefectRest
from taskgate.identity.orchestrators.trust import trusting
from taskgate.settings_prefect import PrefectSettings


class PrefectEvents:
    """A notifier for what one Prefect's flow runs ask for, and nothing else."""

    def __init__(
        self, settings: PrefectSettings, fetch: Fetch, *, transport: httpx.AsyncBaseTransport | None = None
    ) -> None:
        verify = trusting(settings.source, settings.ca_file)
        self._source = settings.source
        self._client = httpx.AsyncClient(
            timeout=settings.timeout, verify=verify, follow_redirects=False, trust_env=False, transport=transport
        )
        self._rest = PrefectRest(settings.source, PrefectAccount(settings, fetch, self._client))

    @property
    def name(self) -> str:
        return f"events of Prefect {self._source}"

    def concerns(self, approval: Approval) -> bool:
        return approval.principal.source == self._source and approval.principal.task is not None

    async def deliver(self, notification: Notification) -> None:
        try:
            await self._rest.emit([event_of(notification)])
        except OrchestratorAway as fault:
            raise DeliveryFault(fault.message) from None

    async def close(self) -> None:
        await self._client.aclose()


def event_of(notification: Notification) -> Mapping[str, Any]:
    """An event as `POST /events` takes it. Its id is the notification's: delivered twice it is still one."""
    what = "requested" if notification.event == "approval.requested" else notification.state
    task = notification.task or {}
    related = {
        "prefect.resource.id": f"prefect.flow-run.{task.get('run_id')}",
        "prefect.resource.role": "flow-run",
        "prefect.resource.name": str(task.get("run_name") or ""),
    }
    return {
        "id": str(UUID(notification.id.partition("_")[2])),
        "occurred": datetime.now(UTC).isoformat(),
        "event": f"taskgate.approval.{what}",
        "resource": {
            "prefect.resource.id": f"taskgate.approval.{notification.approval_id}",
            "prefect.resource.name": notification.approval_id,
            "taskgate.target": notification.target,
            "taskgate.task": str(task.get("task_id") or ""),
        },
        "related": [related],
        "payload": {
            "summary": notification.summary,
            "url": notification.url,
            "command": notification.command,
            "rules": list(notification.rules),
            "approvers": list(notification.approvers),
            "expires_at": notification.expires_at,
            "decided_by": notification.decided_by,
        },
    }
