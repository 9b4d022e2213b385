"""Notifications as signed HTTP POSTs. What arrives is described in docs/approvals.md."""

from __future__ import annotations

import asyncio
import json
import time

import httpx

from taskgate.approvals.notifiers.notification import Notification
from taskgate.approvals.notifiers.notifier import DeliveryFault
from taskgate.approvals.notifiers.signature import HEADER, sign
from taskgate.errors import SettingsError
from taskgate.secrets import Secret
from taskgate.settings_values import is_loopback


class WebhookNotifier:
    """`timeout` in seconds for one delivery. Off loopback the URL is https. Redirects are not followed: the signature
    is for this endpoint and no other."""

    def __init__(
        self,
        name: str,
        url: str,
        secret: Secret,
        *,
        timeout: float = 10.0,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        try:
            parsed = httpx.URL(url)
        except httpx.InvalidURL:
            raise SettingsError(f"The webhook {name} has no usable URL.") from None
        if not parsed.host or parsed.scheme not in ("http", "https"):
            raise SettingsError(f"The webhook {name} has no usable URL.")
        if parsed.scheme == "http" and not is_loopback(parsed.host):
            raise SettingsError(f"The webhook {name} leaves this machine, so it needs https.")
        if len(secret.reveal()) < 16:
            raise SettingsError(f"The webhook {name} needs a signing secret of at least 16 characters.")
        self._name = name
        self._url = parsed
        self._secret = secret
        self._timeout = timeout
        self._client = httpx.AsyncClient(timeout=timeout, follow_redirects=False, trust_env=False, transport=transport)

    @property
    def name(self) -> str:
        return self._name

    async def deliver(self, notification: Notification) -> None:
        body = json.dumps(notification.to_json(), separators=(",", ":")).encode()
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "taskgate",
            "Taskgate-Delivery": notification.id,
            "Taskgate-Event": notification.event,
            HEADER: sign(self._secret.reveal(), body, int(time.time())),
        }
        try:
            # Streamed, and never read: an endless answer costs nothing.
            request = self._client.build_request("POST", self._url, content=body, headers=headers)
            async with asyncio.timeout(self._timeout):
                response = await self._client.send(request, stream=True)
                await response.aclose()
        except (httpx.HTTPError, TimeoutError) as error:
            raise DeliveryFault(f"The webhook did not answer: {type(error).__name__}.") from None
        if not response.is_success:
            raise DeliveryFault(f"The webhook answered {response.status_code}.")

    async def close(self) -> None:
        await self._client.aclose()
