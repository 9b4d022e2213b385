"""How people are asked: requests and grants, who is told of them, and how sessions wait."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

import structlog

from taskgate.approvals.digest import ActionDigest
from taskgate.approvals.keys import ApprovalKeys
from taskgate.approvals.notifiers.notifier import Notifier, notifier_class
from taskgate.approvals.notifiers.outbox import Outbox
from taskgate.approvals.notifiers.prefect_events import PrefectEvents
from taskgate.approvals.notifiers.webhook import WebhookNotifier
from taskgate.approvals.requests import Approvals
from taskgate.approvals.sealing import ParameterSeal
from taskgate.enforcement.parking import Parking
from taskgate.errors import StoreFault
from taskgate.secrets import SecretSources
from taskgate.settings import Settings
from taskgate.wiring.background import Background
from taskgate.wiring.store import StoreSide

log = structlog.get_logger(__name__)

_PRUNE_INTERVAL = 86_400.0


@dataclass(frozen=True, slots=True)
class ApprovalSide:
    approvals: Approvals
    parking: Parking
    keys: ApprovalKeys
    outbox: Outbox
    notifies: bool

    def start(self, background: Background) -> None:
        background.spawn("approvals", self.approvals.run())
        if self.notifies:
            background.spawn("notifiers", self.outbox.run())
            background.spawn("old notifications", _prune(self.outbox))


async def approval_side(
    settings: Settings, store: StoreSide, secrets: SecretSources, url: Callable[[str], str | None]
) -> ApprovalSide:
    """`url`: where a person sees an approval, if anywhere. Raises GatewayFault where a key or secret is missing."""
    notifiers: list[Notifier] = [
        WebhookNotifier(webhook.name, webhook.url, await secrets.fetch(webhook.secret))
        for webhook in settings.approvals.webhooks
    ]
    for other in settings.approvals.notifiers:
        notifiers.append(notifier_class(other.kind)(name=other.name, **other.options))
    notifiers += [PrefectEvents(prefect, secrets.fetch) for prefect in settings.prefect if prefect.events]
    outbox = Outbox(store.database, notifiers, url)
    keys = ApprovalKeys.at(settings.data_dir / "keys" / "approvals.key")
    people = {one.source: one.people for one in settings.airflow}
    people |= {one.source: one.people for one in settings.prefect}
    approvals = Approvals(store.database, store.signals, store.api_keys, ParameterSeal(keys.sealing), outbox, people)
    parking = Parking(approvals, ActionDigest(keys.digest), url, settings.approvals.max_parked_per_target)
    return ApprovalSide(approvals, parking, keys, outbox, bool(notifiers))


async def _prune(outbox: Outbox) -> None:
    """Forget old notifications, once a day."""
    while True:
        try:
            await outbox.prune()
        except StoreFault as fault:
            log.warning("notifications.not_pruned", reason=fault.message)
        await asyncio.sleep(_PRUNE_INTERVAL)
