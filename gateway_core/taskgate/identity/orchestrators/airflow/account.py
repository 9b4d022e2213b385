"""The gateway's own account at an Airflow: every request to its REST API goes through here."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping
from typing import Any

import httpx
import structlog

from taskgate.identity.orchestrators.bounded import TooLarge, bounded
from taskgate.identity.orchestrators.faults import AnswerTooLarge, OrchestratorAway
from taskgate.identity.orchestrators.fetching import Fetch
from taskgate.settings_airflow import AirflowSettings

log = structlog.get_logger(__name__)

_MOST_BYTES = 8 * 1024 * 1024


class AirflowAccount:
    """Signs in with a user name and password, or has a token. Never follows a redirect: the password would go along."""

    def __init__(self, settings: AirflowSettings, fetch: Fetch, client: httpx.AsyncClient) -> None:
        self._settings = settings
        self._fetch = fetch
        self._client = client
        self._base = settings.url.rstrip("/")
        self._token: str | None = None
        self._signing_in = asyncio.Lock()

    async def get(self, path: str, query: Mapping[str, Any] | None = None) -> Any | None:
        """The answer's JSON; None where there is no such thing (404). Raises OrchestratorAway: AnswerTooLarge is a kind
        of it."""
        answer = await self._send("GET", path, params=query)
        return None if answer.status_code == httpx.codes.NOT_FOUND else self._json(answer, path)

    async def patch(self, path: str, body: Mapping[str, Any]) -> bool:
        """False where somebody else came first or there is nothing to change (404, 409). Raises OrchestratorAway."""
        answer = await self._send("PATCH", path, json=dict(body))
        if answer.status_code in (httpx.codes.NOT_FOUND, httpx.codes.CONFLICT):
            return False
        self._json(answer, path)
        return True

    async def _send(self, method: str, path: str, **content: Any) -> httpx.Response:
        token = self._token or await self._sign_in(None)
        answer = await self._request(method, path, token, **content)
        if answer.status_code == httpx.codes.UNAUTHORIZED:
            answer = await self._request(method, path, await self._sign_in(token), **content)
        return answer

    async def _request(self, method: str, path: str, token: str, **content: Any) -> httpx.Response:
        headers = {"Authorization": f"Bearer {token}", "Accept": "application/json"}
        try:
            url = f"{self._base}/api/v2{path}"
            return await bounded(self._client, method, url, _MOST_BYTES, headers=headers, **content)
        except TooLarge:
            raise AnswerTooLarge(f"Airflow {self._settings.source} answers more than {_MOST_BYTES} bytes") from None
        except (httpx.HTTPError, ssl.SSLError) as error:
            raise self._away(type(error).__name__) from None

    async def _sign_in(self, refused: str | None) -> str:
        """A token other than `refused`; of several that find theirs expired one signs in."""
        async with self._signing_in:
            if self._token is None or self._token == refused:
                self._token = await self._new_token()
            return self._token

    async def _new_token(self) -> str:
        settings = self._settings
        if settings.token is not None:
            return (await self._fetch(settings.token)).reveal()
        password = (await self._fetch(settings.password or "")).reveal()
        credentials = {"username": settings.username, "password": password}
        try:
            answer = await bounded(self._client, "POST", f"{self._base}/auth/token", _MOST_BYTES, json=credentials)
        except (httpx.HTTPError, ssl.SSLError) as error:
            raise self._away(type(error).__name__) from None
        if not answer.is_success:
            raise self._away(f"it answered {answer.status_code} to the sign-in of {settings.username}")
        token = self._json(answer, "/auth/token").get("access_token")
        if not isinstance(token, str) or not token:
            raise self._away("its sign-in gave no token")
        return token

    def _json(self, answer: httpx.Response, path: str) -> Any:
        if not answer.is_success:
            raise self._away(f"it answered {answer.status_code} to {path.split('/')[-1] or path}")
        try:
            found = answer.json()
        except ValueError:
            raise self._away("its answer is no JSON") from None
        if not isinstance(found, dict):
            raise self._away("its answer is not what its API describes")
        return found

    def _away(self, why: str) -> OrchestratorAway:
        return OrchestratorAway(
            f"Airflow {self._settings.source} cannot be asked: {why}",
            hint="Is its API server up, and may the gateway's account there read task instances, runs and DAGs?",
        )
