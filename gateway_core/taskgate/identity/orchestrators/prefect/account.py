"""The gateway's own account at a Prefect: every request to its REST API goes through here."""

from __future__ import annotations

import asyncio
import base64
import ssl
from collections.abc import Mapping
from typing import Any

import httpx

from taskgate.errors import GatewayFault
from taskgate.identity.orchestrators.bounded import TooLarge, bounded
from taskgate.identity.orchestrators.faults import AnswerTooLarge, OrchestratorAway
from taskgate.identity.orchestrators.fetching import Fetch
from taskgate.settings_prefect import PrefectSettings

_MOST_BYTES = 2 * 1024 * 1024  # a run with the largest parameters that a server takes has half a MiB
_AT_ONCE = 16
_NO_SUCH_ADDRESS = {"detail": "Not Found"}  # of a run that is not there Prefect says so in other words
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
        self._free = asyncio.Semaphore(_AT_ONCE)

    async def get(self, path: str) -> Any | None:
        """The answer's JSON; None where there is no such thing (404). Raises OrchestratorAway: AnswerTooLarge is a kind
        of it."""
        answer = await self._send("GET", path)
        if answer.status_code != httpx.codes.NOT_FOUND:
            return self._json(answer, path)
        self._nothing(answer)
        return None

    async def post(self, path: str, body: object) -> Any | None:
        """The answer's JSON; None where there is none, or no such thing (404). Raises OrchestratorAway."""
        answer = await self._send("POST", path, json=body)
        if answer.status_code == httpx.codes.NOT_FOUND:
            self._nothing(answer)
            return None
        if answer.status_code == httpx.codes.NO_CONTENT:
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
            try:
                if self._settings.api_key is not None:
                    self._authorization = f"Bearer {(await self._fetch(self._settings.api_key)).reveal()}"
                elif self._settings.auth_string is not None:
                    text = (await self._fetch(self._settings.auth_string)).reveal()
                    self._authorization = f"Basic {base64.b64encode(text.encode()).decode()}"
            except GatewayFault as fault:
                raise self._away(f"the secret of the gateway's account there: {fault.message}") from None
        authorization = {"Authorization": self._authorization} if self._authorization else {}
        return {"Accept": "application/json", **authorization}

    async def _request(self, method: str, path: str, headers: Mapping[str, str], **content: Any) -> httpx.Response:
        url = f"{self._base}{path}"
        try:
            async with self._free:
                return await bounded(self._client, method, url, _MOST_BYTES, headers=dict(headers), **content)
        except TooLarge:
            raise AnswerTooLarge(f"Prefect {self._settings.source} answers more than {_MOST_BYTES} bytes") from None
        except (httpx.HTTPError, ssl.SSLError, UnicodeError) as error:  # a key that is no ASCII: not to be quoted
            raise self._away(type(error).__name__) from None

    def _json(self, answer: httpx.Response, path: str) -> Any:
        if not answer.is_success:
            why = "its API refuses the gateway's account" if answer.status_code in _REFUSED else ""
            raise self._away(why or f"it answered {answer.status_code} to {path.split('/')[1]}")
        return self._parsed(answer)

    def _nothing(self, answer: httpx.Response) -> None:
        """Prefect knows of no such thing. Raises OrchestratorAway where a proxy does not, or there is no such address:
        then nobody has been asked."""
        if self._parsed(answer) == _NO_SUCH_ADDRESS:
            raise self._away("its API is not at this url (a server's ends in /api)")

    def _parsed(self, answer: httpx.Response) -> Any:
        try:
            found = answer.json()
        except (ValueError, RecursionError):
            found = None
        if found is None:
            raise self._away("its answer is no JSON")
        return found

    def _away(self, why: str) -> OrchestratorAway:
        return OrchestratorAway(
            f"Prefect {self._settings.source} cannot be asked: {why}",
            hint="Is its API up at the url of the gateway's settings, and may the account there read flow runs, task "
            "runs, flows and deployments?",
        )
