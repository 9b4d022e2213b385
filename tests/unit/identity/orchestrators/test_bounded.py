"""An answer without end costs its bound, not the memory."""

from __future__ import annotations

import gzip
from collections.abc import AsyncIterator

import httpx
import pytest

from taskgate.identity.orchestrators.airflow import account, signing_keys
from taskgate.identity.orchestrators.airflow.signing_keys import RemoteKeySet
from taskgate.identity.orchestrators.bounded import TooLarge, bounded
from taskgate.identity.orchestrators.faults import OrchestratorAway
from taskgate.secrets.secret import Secret
from taskgate.settings_airflow import AirflowSettings

PIECE = b" " * 1024


class Endless(httpx.AsyncByteStream):
    """A body that never stops; counts what was taken of it."""

    def __init__(self) -> None:
        self.taken = 0
        self.closed = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while True:
            self.taken += len(PIECE)
            yield PIECE

    async def aclose(self) -> None:
        self.closed = True


def serving(body: Endless) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.MockTransport(lambda _: httpx.Response(200, stream=body)))


async def test_an_endless_answer_is_left_at_its_bound() -> None:
    body = Endless()
    async with serving(body) as client:
        with pytest.raises(TooLarge, match="10000"):
            await bounded(client, "GET", "https://airflow/jwks.json", 10_000)
    assert body.taken <= 10_000 + len(PIECE)
    assert body.closed


async def test_what_unpacks_to_more_than_the_bound_is_too_large() -> None:
    packed = gzip.compress(b"0" * 1_000_000)
    answer = httpx.Response(200, content=packed, headers={"Content-Encoding": "gzip"})
    async with httpx.AsyncClient(transport=httpx.MockTransport(lambda _: answer)) as client:
        with pytest.raises(TooLarge):
            await bounded(client, "GET", "https://airflow/jwks.json", 100_000)
        found = await bounded(client, "GET", "https://airflow/jwks.json", 1_000_000)
    assert found.content == b"0" * 1_000_000


async def test_an_airflow_that_answers_without_end_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signing_keys, "_MOST_BYTES", 10_000)
    monkeypatch.setattr(account, "_MOST_BYTES", 10_000)

    async def password(_: str) -> Secret:
        return Secret("canary-password")

    settings = AirflowSettings(
        source="prod", url="https://airflow.example", username="taskgate", password="env:P", public_key="unused.pem"
    )
    async with serving(Endless()) as client:
        with pytest.raises(OrchestratorAway, match="TooLarge"):
            await RemoteKeySet("https://airflow/jwks.json", client).find("a")
        with pytest.raises(OrchestratorAway, match="TooLarge"):  # the sign-in
            await account.AirflowAccount(settings, password, client).get("/dags/x")
