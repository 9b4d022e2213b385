"""What a notifier is."""

from __future__ import annotations

from importlib.metadata import entry_points
from typing import Any, Protocol, runtime_checkable

from taskgate.approvals.notifiers.notification import Notification
from taskgate.domain import Approval
from taskgate.errors import SettingsError, TaskgateError

ENTRY_POINT_GROUP = "taskgate.notifiers"


class DeliveryFault(TaskgateError):
    """The notification did not arrive; it will be tried again. Names no secret."""


class Notifier(Protocol):
    """`name` tells one endpoint from another: deliveries and their failures are kept by it."""

    @property
    def name(self) -> str: ...

    async def deliver(self, notification: Notification) -> None:
        """Hand it over, or raise DeliveryFault (anything else counts as one). May be called again for a notification
        that did arrive: `notification.id` tells."""

    async def close(self) -> None: ...


@runtime_checkable
class Selective(Protocol):
    """A notifier that has no use for every approval."""

    def concerns(self, approval: Approval) -> bool: ...


def notifier_class(kind: str) -> type[Any]:
    """The class behind an entry point's name. Raises SettingsError."""
    found = tuple(entry_points(group=ENTRY_POINT_GROUP, name=kind))
    if len(found) != 1:
        problem = "There is no notifier" if not found else "Several packages bring a notifier"
        raise SettingsError(f"{problem} {kind!r}.")
    loaded: type[Any] = found[0].load()
    return loaded
