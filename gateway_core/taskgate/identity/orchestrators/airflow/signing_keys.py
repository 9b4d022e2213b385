"""The keys that an Airflow signs its task tokens with: a PEM file, a JWKS file or address, or a shared secret.

Files are read again when they have changed. A remote set is fetched again every hour, and at once (but not more often
than every ten seconds) for a key id that it does not hold: then Airflow may have rotated its key.
"""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path
from typing import Any, Protocol

import httpx
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, KeySet, OctKey, OKPKey, RSAKey, import_key

from taskgate.errors import SettingsError
from taskgate.identity.orchestrators.bounded import bounded
from taskgate.identity.orchestrators.faults import OrchestratorAway
from taskgate.secrets.secret import Secret

PublicKey = RSAKey | ECKey | OKPKey
VerifyingKey = PublicKey | OctKey

_REFRESH = 3600.0
_RETRY = 10.0
_MOST_BYTES = 1024 * 1024
_UNREADABLE = (ValueError, TypeError, KeyError, JoseError)  # what comes of keys that are none


class SigningKeys(Protocol):
    """`symmetric`: whoever can verify with these keys can sign with them too."""

    symmetric: bool

    async def find(self, kid: str | None) -> VerifyingKey | None:
        """The key with this id; None where there is none. Raises OrchestratorAway where the keys cannot be had."""


class PublicKeyFile:
    """One public key in PEM. What key id a token names makes no difference: there is no other key."""

    symmetric = False

    def __init__(self, path: Path) -> None:
        self._path = path
        self._read_at: tuple[int, int] | None = None
        self._key: PublicKey | None = None

    async def find(self, kid: str | None) -> VerifyingKey | None:
        return await asyncio.to_thread(self.load)

    def load(self) -> PublicKey:
        """Raises OrchestratorAway for what is no public key."""
        try:
            status = self._path.stat()
            version = (status.st_mtime_ns, status.st_size)
            if self._key is None or version != self._read_at:
                self._key, self._read_at = _public(import_key(self._path.read_bytes(), _pem_type(self._path))), version
        except (OSError, *_UNREADABLE) as error:
            raise OrchestratorAway(f"no public key can be read from {self._path}: {_kind(error)}") from None
        return self._key


class KeySetFile:
    """A JWKS in a file."""

    symmetric = False

    def __init__(self, path: Path) -> None:
        self._path = path
        self._read_at: tuple[int, int] | None = None
        self._keys: dict[str, PublicKey] = {}

    async def find(self, kid: str | None) -> VerifyingKey | None:
        return (await asyncio.to_thread(self.load)).get(kid or "")

    def load(self) -> dict[str, PublicKey]:
        try:
            status = self._path.stat()
            version = (status.st_mtime_ns, status.st_size)
            if version != self._read_at:
                self._keys, self._read_at = _key_set(json.loads(self._path.read_bytes())), version
        except (OSError, *_UNREADABLE) as error:
            raise OrchestratorAway(f"no key set can be read from {self._path}: {_kind(error)}") from None
        return self._keys


class RemoteKeySet:
    """A JWKS at an address. Without an answer the last good set goes on serving."""

    symmetric = False

    def __init__(self, url: str, client: httpx.AsyncClient) -> None:
        self._url = url
        self._client = client
        self._keys: dict[str, PublicKey] = {}
        self._fetched = float("-inf")
        self._tried = float("-inf")
        self._fetching = asyncio.Lock()

    async def find(self, kid: str | None) -> VerifyingKey | None:
        async with self._fetching:
            now = time.monotonic()
            due = now - self._fetched > _REFRESH or (kid or "") not in self._keys
            if due and now - self._tried > _RETRY:
                self._tried = now
                await self._fetch()
        if not self._keys:
            raise OrchestratorAway(f"no key set could be fetched from {self._url}")
        return self._keys.get(kid or "")

    async def _fetch(self) -> None:
        try:
            answer = await bounded(self._client, "GET", self._url, _MOST_BYTES)
            answer.raise_for_status()
            self._keys = _key_set(answer.json())
            self._fetched = time.monotonic()
        except (httpx.HTTPError, *_UNREADABLE) as error:
            if not self._keys:
                raise OrchestratorAway(f"no key set could be fetched from {self._url}: {_kind(error)}") from None


class SharedSecret:
    """The symmetric key that Airflow both signs and verifies with."""

    symmetric = True

    def __init__(self, secret: Secret) -> None:
        value = secret.reveal()
        if len(value) < 16:
            raise SettingsError("an Airflow's symmetric_key is shorter than 16 bytes: anybody could guess it")
        self._key = OctKey.import_key(value)

    async def find(self, kid: str | None) -> VerifyingKey | None:
        return self._key


def _pem_type(path: Path) -> Any:
    """joserfc wants to be told what kind of key a PEM holds; cryptography can tell."""
    from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    key = load_pem_public_key(path.read_bytes())
    match key:
        case rsa.RSAPublicKey():
            return "RSA"
        case ec.EllipticCurvePublicKey():
            return "EC"
        case ed25519.Ed25519PublicKey() | ed448.Ed448PublicKey():
            return "OKP"
        case _:
            raise ValueError("not an RSA, EC or Ed25519 key")


def _key_set(found: Any) -> dict[str, PublicKey]:
    """By key id. A set with a symmetric key in it is no set of public keys: it is refused as a whole."""
    if not isinstance(found, dict):
        raise ValueError("no JSON object")  # noqa: TRY004  the reader handles one kind of fault
    keys = {}
    for key in KeySet.import_key_set(found).keys:  # type: ignore[arg-type]
        if key.kid:
            keys[key.kid] = _public(key)
    if not keys:
        raise ValueError("no key with an id in it")
    return keys


def _public(key: object) -> PublicKey:
    if not isinstance(key, RSAKey | ECKey | OKPKey):
        raise ValueError("holds a symmetric key")  # noqa: TRY004  the reader handles one kind of fault
    if key.is_private:
        raise ValueError("holds a private key, which has no business here")
    return key


def _kind(error: Exception) -> str:
    if isinstance(error, OSError):
        return error.strerror or type(error).__name__
    return str(error) if type(error) is ValueError else type(error).__name__
