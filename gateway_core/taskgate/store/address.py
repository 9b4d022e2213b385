"""Where the store is: from the URL of the settings to what its driver is told."""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from taskgate.errors import SettingsError

_DRIVERS = {"sqlite": "sqlite+aiosqlite", "postgresql": "postgresql+asyncpg", "postgres": "postgresql+asyncpg"}
_UNCHECKED = ("disable", "allow", "prefer", "require")
_CHECKED = ("verify-ca", "verify-full")
_OPTIONS = ("sslmode", "sslrootcert")


@dataclass(frozen=True, slots=True)
class StoreAddress:
    """`url` without options; `connect`: what they say, in the driver's words."""

    url: URL
    connect: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def parse(cls, text: str) -> StoreAddress:
        """`sqlite:///path/to/file` or `postgresql://user:password@host:port/database`, which takes libpq's `sslmode`
        and `sslrootcert` (without it the system's authorities count). Raises SettingsError, never with the text: it has
        a password."""
        try:
            url = make_url(text)
        except ArgumentError:
            raise SettingsError("The store's URL is not a database URL.") from None
        driver = _DRIVERS.get(url.drivername.partition("+")[0])
        if driver is None:
            raise SettingsError(f"The store cannot be {url.drivername!r}: use sqlite or postgresql.")
        if driver.startswith("sqlite"):
            if url.database in (None, "", ":memory:"):
                raise SettingsError("A store in memory would forget every revocation: give SQLite a file.")
            return cls(url.set(drivername=driver))
        return cls(url.set(drivername=driver, query={}), _connect(url))


def _connect(url: URL) -> dict[str, Any]:
    unknown = sorted(set(url.query) - {*_OPTIONS})
    if unknown:
        raise SettingsError(
            f"The store's URL has options that the gateway does not know: {', '.join(unknown)}.",
            hint=f"It knows {' and '.join(_OPTIONS)}.",
        )
    mode, authorities = (url.query.get(name) for name in _OPTIONS)
    if mode is None and authorities is None:
        return {}
    if mode in _UNCHECKED:
        return {"ssl": mode}
    if mode not in (*_CHECKED, None):
        raise SettingsError(f"The store's sslmode is none of {', '.join((*_UNCHECKED, *_CHECKED))}.")
    try:
        context = ssl.create_default_context(cafile=None if authorities is None else str(authorities))
    except OSError as error:
        why = "not a certificate in PEM" if isinstance(error, ssl.SSLError) else error.strerror
        raise SettingsError(f"The store's sslrootcert cannot be read from {authorities}: {why}.") from None
    context.check_hostname = mode != "verify-ca"
    return {"ssl": context}
