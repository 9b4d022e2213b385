"""Where an Airflow's keys come from, and what happens when they change."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives import serialization

from taskgate.errors import SettingsError
from taskgate.identity.orchestrators.airflow import signing_keys
from taskgate.identity.orchestrators.airflow.signing_keys import (
    KeySetFile,
    PublicKeyFile,
    RemoteKeySet,
    SharedSecret,
)
from taskgate.identity.orchestrators.faults import OrchestratorAway
from taskgate.secrets.secret import Secret
from tests.unit.identity.orchestrators.airflow.signing import jwks, public_pem, rsa_key, write_jwks

KEY = rsa_key()
OTHER = rsa_key()


async def test_a_file_is_read_again_when_it_has_changed(tmp_path: Path) -> None:
    path = tmp_path / "key.pem"
    path.write_bytes(public_pem(KEY))
    keys = PublicKeyFile(path)
    first = await keys.find(None)
    assert await keys.find("whatever") is first
    path.write_bytes(public_pem(OTHER) + b"\n")
    assert await keys.find(None) is not first


async def test_a_set_in_a_file_is_read_again_too(tmp_path: Path) -> None:
    keys = KeySetFile(write_jwks(tmp_path / "jwks.json", a=KEY))
    assert await keys.find("a") is not None
    assert await keys.find("b") is None
    assert await keys.find(None) is None
    write_jwks(tmp_path / "jwks.json", bb=OTHER)
    assert await keys.find("bb") is not None
    assert await keys.find("a") is None


async def test_private_and_symmetric_keys_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "jwks.json"
    path.write_text(json.dumps({"keys": [{"kty": "oct", "k": "c2VjcmV0c2VjcmV0c2VjcmV0", "kid": "a"}]}))
    with pytest.raises(OrchestratorAway, match="symmetric"):
        await KeySetFile(path).find("a")
    pem = KEY.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (tmp_path / "key.pem").write_bytes(pem)
    with pytest.raises(OrchestratorAway) as caught:
        await PublicKeyFile(tmp_path / "key.pem").find(None)
    assert "PRIVATE" not in str(caught.value)


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"keys": []}', '{"keys": [{"kty": "RSA"}]}', "\x00"])
async def test_what_is_no_key_set(tmp_path: Path, content: str) -> None:
    (tmp_path / "jwks.json").write_text(content)
    with pytest.raises(OrchestratorAway):
        await KeySetFile(tmp_path / "jwks.json").find("a")
    with pytest.raises(OrchestratorAway):
        await KeySetFile(tmp_path / "missing").find("a")


class Server:
    """An HTTP server's answers, without a network."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer
        self.asked = 0

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked += 1
        if isinstance(self.answer, int):
            return httpx.Response(self.answer)
        return httpx.Response(200, json=self.answer)


async def test_an_unknown_key_id_has_the_set_fetched_again_but_not_for_every_forger(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server = Server(jwks(a=KEY))
    async with httpx.AsyncClient(transport=httpx.MockTransport(server)) as client:
        keys = RemoteKeySet("https://airflow/jwks.json", client)
        assert await keys.find("a") is not None
        for _ in range(20):
            assert await keys.find("b") is None
        assert server.asked == 1
        monkeypatch.setattr(signing_keys, "_RETRY", 0.0)
        server.answer = jwks(b=OTHER)
        assert await keys.find("b") is not None


async def test_the_last_good_set_serves_while_the_server_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signing_keys, "_RETRY", 0.0)
    monkeypatch.setattr(signing_keys, "_REFRESH", 0.0)
    server = Server(503)
    async with httpx.AsyncClient(transport=httpx.MockTransport(server)) as client:
        keys = RemoteKeySet("https://airflow/jwks.json", client)
        with pytest.raises(OrchestratorAway):
            await keys.find("a")
        server.answer = jwks(a=KEY)
        assert await keys.find("a") is not None
        server.answer = 500
        assert await keys.find("a") is not None


def test_a_guessable_shared_secret_is_refused() -> None:
    with pytest.raises(SettingsError, match="16"):
        SharedSecret(Secret("short"))
