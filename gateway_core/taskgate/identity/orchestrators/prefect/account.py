"""The gateway's own account at a Prefect: every request to its REST API goes through here."""

from __future__ import annotations

import base64
import ssl
from collections.abc import Mapping
from typing import Any

import httpx

from taskgate.identity.orchestrators.bounded import TooLarge, bounded
from taskgate.identity.orchestrators.faults import AnswerTooLarge, OrchestratorAway
from taskgate.identity.orchestrators.fetching import Fetch
from taskgate.settings_prefect import PrefectSettings

_MOST_BYTES = 8 * 1024 * 1024
_REFUSED = (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN)


class PrefectAccount:
    """With an API key (Cloud), an auth string (a server's), or nothing at all. Never follows a redirect: the key would
    go along. A key that is refused is fetched again, once: it may have been exchanged."""

    def __init__(self, settings: PrefectSettings, fetch: Fetch, client: httpx.AsyncClient) -> None:
        self._settings = settings
        self._fetch = fetch
        self._client = client
        self._base = settings.url.rstrip("/")
        self._authorization: str | None = None

    async def get(self, path: str) -> Any | None:
        """The answer's JSON; None where there is no such thing (404). Raises OrchestratorAway: AnswerTooLarge is a kind
        of it."""
        answer = await self._send("GET", path)
        return None if answer.status_code == httpx.codes.NOT_FOUND else self._json(answer, path)

    async def post(self, path: str, body: object) -> Any | None:
        """The answer's JSON; None where there is none, or no such thing (404). Raises OrchestratorAway."""
        answer = await self._send("POST", path, json=body)
        if answer.status_code in (httpx.codes.NOT_FOUND, httpx.codes.NO_CONTENT):
            return None
        return self._json(answer, path)

    async def _send(self, method: str, path: str, **content: Any) -> httpx.Response:
        answer = await self._request(method, path, await self._headers(), **content)
        if answer.status_code == httpx.codes.UNAUTHORIZED and self._authorization is not None:
            self._authorization = None
            answer = await self._request(method, path, await self._headers(), **content)
        return answer

    async def _headers(self) -> Mapping[str, str]:
        if self._authorization is None:
            if self._settings.api_key is not None:
                self._authorization = f"Bearer {(await self._fetch(self._settings.api_key)).reveal()}"
            elif self._settings.auth_string is not None:
                text = (await self._fetch(self._settings.auth_string)).reveal()
                self._authorization = f"Basic {base64.b64encode(text.encode()).decode()}"
        authorization = {"Authorization": self._authorization} if self._authorization else {}
        return {"Accept": "application/json", **authorization}

    async def _request(self, method: str, path: str, headers: Mapping[str, str], **content: Any) -> httpx.Response:
        try:
            return await bounded(
                self._client, method, f"{self._base}{path}", _MOST_BYTES, headers=dict(headers), **content
            )
        except TooLarge:
            raise AnswerTooLarge(f"Prefect {self._settings.source} answers more than {_MOST_BYTES} bytes") from None
        except (httpx.HTTPError, ssl.SSLError) as error:
            raise self._away(type(error).__name__) from None

    def _json(self, answer: httpx.Response, path: str) -> Any:
        if not answer.is_success:
            why = "its API refuses the gateway's account" if answer.status_code in _REFUSED else ""
            raise self._away(why or f"it answered {answer.status_code} to {path.split('/')[1]}")
        try:
            return answer.json()
        except (ValueError, RecursionError):
            raise self._away("its answer is no JSON") from None

    def _away(self, why: str) -> OrchestratorAway:
        return OrchestratorAway(
            f"Prefect {self._settings.source} cannot be asked: {why}",
            hint="Is its API up at the url of the gateway's settings, and may the account there read flow runs, task "
            "runs, flows and deployments?",
        )
