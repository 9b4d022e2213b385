"""Telling people that they are asked. A notifier is a class of the shape below and an entry point in the group
`taskgate.notifiers`; whatever it does, approvals go on without it."""

from taskgate.approvals.notifiers.notification import Notification
from taskgate.approvals.notifiers.notifier import DeliveryFault, Notifier, notifier_class

__all__ = ["DeliveryFault", "Notification", "Notifier", "notifier_class"]
