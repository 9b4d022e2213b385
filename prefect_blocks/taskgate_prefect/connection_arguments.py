"""What a driver is told to reach a target through the gateway: the credential, who is trusted, how it waits."""

from __future__ import annotations

import ipaddress
import ssl
from collections.abc import Callable, Mapping
from typing import Any

from taskgate.client import IssuedCredential

Arguments = dict[str, Any]

_AROUND = frozenset(
    "host hostaddr port user password passfile passwd dbname database dsn conninfo service servicefile "
    "async_creator_fn loop requirepeer sslcert sslkey sslpassword gssencmode krbsrvname".split()
)
"""They would lead around the gateway, or prove somebody else to it."""


def check(connect_args: Mapping[str, Any]) -> None:
    """Raises ValueError for what belongs to the gateway."""
    if around := sorted(_AROUND & set(connect_args)):
        raise ValueError(
            f"connect_args may not hold {', '.join(around)}: where to connect and as whom says the gateway"
        )
    settings = connect_args.get("server_settings") or {}
    if "taskgate." in str(connect_args.get("options") or "") or any(
        str(name).startswith("taskgate.") for name in settings
    ):
        raise ValueError("connect_args may not set options of taskgate: use the block's fields")


def libpq(issued: IssuedCredential, wait: str, ca_file: str | None, connect_args: Mapping[str, Any]) -> Arguments:
    """For psycopg and psycopg2."""
    given = dict(connect_args)
    options = " ".join(part for part in (given.pop("options", None), f"-ctaskgate.wait={wait}") if part)
    if ca_file and "sslrootcert" not in given:
        given["sslrootcert"] = ca_file
    given.setdefault(
        "sslmode", "prefer" if _is_loopback(issued.host) and not given.get("sslrootcert") else "verify-full"
    )
    return given | {
        "host": issued.host,
        "port": issued.port,
        "user": issued.user,
        "password": issued.password.get_secret_value(),
        "dbname": issued.database,
        "options": options,
    }


def asyncpg(issued: IssuedCredential, wait: str, ca_file: str | None, connect_args: Mapping[str, Any]) -> Arguments:
    given = dict(connect_args)
    settings = {**(given.pop("server_settings", None) or {}), "taskgate.wait": wait}
    if "ssl" not in given:
        plain = _is_loopback(issued.host) and not ca_file
        given["ssl"] = "prefer" if plain else ssl.create_default_context(cafile=ca_file)
    return given | {
        "host": issued.host,
        "port": issued.port,
        "user": issued.user,
        "password": issued.password.get_secret_value(),
        "database": issued.database,
        "server_settings": settings,
    }


OF_DRIVER: Mapping[str, Callable[[IssuedCredential, str, str | None, Mapping[str, Any]], Arguments]] = {
    "psycopg": libpq,
    "psycopg2": libpq,
    "asyncpg": asyncpg,
}


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
