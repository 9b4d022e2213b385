"""How a client reaches the control API: address, key, trust. Nothing here does I/O but reading the key's file."""

from __future__ import annotations

import ipaddress
import os
import platform
import ssl
from collections.abc import Generator
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import httpx

from taskgate import __version__

USER_AGENT = f"taskgate-client/{__version__} python/{platform.python_version()}"
_DEFAULT_URL = "http://127.0.0.1:8400"
_TRUE = {"1", "true", "yes", "on"}


class ConnectionSettingsError(ValueError):
    """The address or the key cannot be used as given. Never quotes the key."""


class ApiKeyAuth(httpx.Auth):
    """Adds the key to each request. Holds it where no repr, pickle or log reaches it."""

    __slots__ = ("_header",)

    def __init__(self, key: str) -> None:
        if not key or any(not 0x21 <= ord(char) <= 0x7E for char in key):
            # An illegal header value would be quoted by the HTTP library's own error.
            raise ConnectionSettingsError("the API key is empty or holds spaces, line breaks or non-ASCII characters")
        self._header = f"Bearer {key}"

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        request.headers["Authorization"] = self._header
        yield request

    def __repr__(self) -> str:
        return "ApiKeyAuth(…)"

    def __reduce__(self) -> str:
        raise TypeError("an API key is not pickled")


@dataclass(frozen=True, slots=True)
class ConnectionSettings:
    """Where the control API is and how to be let in. `ca_file`: trust these certificates instead of the system's."""

    url: str
    auth: ApiKeyAuth | None = field(repr=False)
    ca_file: str | None = None

    @classmethod
    def resolve(
        cls,
        url: str | None = None,
        api_key: str | None = None,
        *,
        ca_file: str | None = None,
        allow_plain_http: bool | None = None,
    ) -> ConnectionSettings:
        """What is given, else the environment: TASKGATE_URL (http://127.0.0.1:8400), TASKGATE_API_KEY or
        TASKGATE_API_KEY_FILE, TASKGATE_CA_FILE, TASKGATE_ALLOW_PLAIN_HTTP.

        Without a key the client can only ask whether the gateway is ready. A key goes over plain http to loopback
        only, unless `allow_plain_http`. Raises ConnectionSettingsError.
        """
        address = (url or os.environ.get("TASKGATE_URL") or _DEFAULT_URL).rstrip("/")
        key = api_key or os.environ.get("TASKGATE_API_KEY") or _key_from_file()
        if allow_plain_http is None:
            allow_plain_http = os.environ.get("TASKGATE_ALLOW_PLAIN_HTTP", "").lower() in _TRUE
        _check_address(address, has_key=bool(key), allow_plain_http=allow_plain_http)
        trust = ca_file or os.environ.get("TASKGATE_CA_FILE") or None
        return cls(address, ApiKeyAuth(key) if key else None, trust)

    def verify(self) -> ssl.SSLContext:
        """What httpx checks the server's certificate against: always something. Over plain http there will be none, so
        nobody is trusted. Reading authorities takes longer than the call: what was read is kept until the file
        changes."""
        if self.ca_file is None:
            if self.url.startswith("http:"):
                return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            return _trusting_the_usual(os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR"))
        try:
            found = Path(self.ca_file).stat()
            return _trusting(self.ca_file, (found.st_dev, found.st_ino, found.st_mtime_ns, found.st_size))
        except (OSError, ssl.SSLError) as error:
            raise ConnectionSettingsError(f"cannot read the certificates in {self.ca_file}: {error}") from error


@lru_cache(maxsize=8)
def _trusting(ca_file: str, version: tuple[int, ...]) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=ca_file)


@lru_cache(maxsize=2)
def _trusting_the_usual(file: str | None, folder: str | None) -> ssl.SSLContext:
    """httpx reads the two from the environment, else takes certifi's."""
    return httpx.create_ssl_context()


def _key_from_file() -> str | None:
    path = os.environ.get("TASKGATE_API_KEY_FILE")
    if not path:
        return None
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConnectionSettingsError(f"cannot read the API key from {path} (TASKGATE_API_KEY_FILE)") from error


def _check_address(address: str, *, has_key: bool, allow_plain_http: bool) -> None:
    try:
        url = httpx.URL(address)
    except httpx.InvalidURL as error:
        raise ConnectionSettingsError(f"not a URL: {error}") from error
    if url.scheme not in ("http", "https") or not url.host:
        raise ConnectionSettingsError("the gateway's URL must start with http:// or https:// and name a host")
    if url.userinfo or url.query or url.fragment:
        raise ConnectionSettingsError("the gateway's URL must hold no user, query or fragment")
    if url.scheme == "http" and has_key and not allow_plain_http and not _is_loopback(url.host):
        raise ConnectionSettingsError(
            f"the API key would cross the network in clear on its way to {url.host}: use https, "
            "or set TASKGATE_ALLOW_PLAIN_HTTP=1 where the network itself is trusted"
        )


def _is_loopback(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
