"""Whether the control API answers this machine, and whether each key may do what it is for, and nothing more."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from taskgate.client import Client, ConnectionSettingsError, TaskgateApiError
from taskgate.client.models import WhoAmI
from taskgate_airflow.configuration import GatewayAccess, NotConfigured
from taskgate_airflow.doctor.finding import Finding, Level
from taskgate_airflow.doctor.form import Form, Setup
from taskgate_airflow.options import control_api, option

_TIMEOUT = 5.0
_ASSERTS = "credentials:issue"


@dataclass(frozen=True, slots=True)
class Key:
    """A key's file and what it is for. `needs`: sets of scopes, any one of which will do."""

    purpose: str
    file: str
    needs: tuple[frozenset[str], ...]
    may_assert: bool = False


def keys(setup: Setup) -> Iterator[Key]:
    """The keys that this machine's configuration names."""
    own, shared, probe = setup.arguments.get("api_key_file"), option("api_key_file"), option("probe_key_file")
    exchange = frozenset({"credentials:exchange"})
    wait = frozenset({"credentials:delegate", "approvals:watch"})
    if setup.form is Form.WORKER:
        if own:
            needs = frozenset({_ASSERTS, "credentials:revoke", "approvals:watch"})
            yield Key("the worker form's key", str(own), (needs,), may_assert=True)
    elif setup.form is Form.SERVER:
        if own:
            yield Key("the API server's key", str(own), (exchange,))
        if shared and shared != own:
            needs_one = (wait,) if own else (exchange, wait)
            yield Key("[taskgate] api_key_file", shared, needs_one)
    if probe:
        yield Key("the probe key", probe, (frozenset({_ASSERTS}),), may_assert=True)


def gateway(setup: Setup) -> Iterator[Finding]:
    where = control_api()
    if where is None:
        if setup.form is not Form.NONE:
            yield Finding("gateway", Level.FAIL, "no address of its control API", "set `url`")
        return
    try:
        with Client(where.url, ca_file=where.ca_file, timeout=_TIMEOUT, tries=1) as client:
            client.readiness()
    except (TaskgateApiError, ConnectionSettingsError) as error:
        yield Finding("gateway", Level.FAIL, f"{where.url}: {error}", "is it up, and reachable from this machine?")
        return
    yield Finding("gateway", Level.OK, f"ready at {where.url}")
    for key in keys(setup):
        yield from _key(key, GatewayAccess(where.url, key.file, where.ca_file, _TIMEOUT))


def _key(key: Key, access: GatewayAccess) -> Iterator[Finding]:
    try:
        mode = stat.S_IMODE(Path(key.file).stat().st_mode)
        with access.client(tries=1) as client:
            who = client.whoami()
    except (OSError, NotConfigured) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        yield Finding(
            key.purpose, Level.WARN, f"{key.file}: {reason}",
            "well where this machine does not need it; put it there where it does",
        )  # fmt: skip
        return
    except (TaskgateApiError, ConnectionSettingsError) as error:
        yield Finding(key.purpose, Level.FAIL, str(error), f"put a live service key into {key.file}")
        return
    if mode & 0o077:
        yield Finding(key.purpose, Level.FAIL, f"{key.file} is open to others (mode {mode:04o})", "chmod 600 it")
    yield from _scopes(key, who)


def _scopes(key: Key, who: WhoAmI) -> Iterator[Finding]:
    held = set(who.scopes)
    named = f"{who.name}, {' '.join(sorted(held)) or 'no scopes'}"
    if who.kind != "service":
        yield Finding(key.purpose, Level.FAIL, f"{who.name} is a person's key", "make a service key (--service)")
    lacking: list[tuple[int, list[str], list[str]]] = sorted(
        (len(needs - held), sorted(needs - held), sorted(needs)) for needs in key.needs
    )
    _, missing, nearest = lacking[0]
    if missing and "admin" not in held:
        yield Finding(
            key.purpose,
            Level.FAIL,
            f"{named}: lacks {' '.join(missing)}",
            f"make a key with these scopes: {' '.join(nearest)}",
        )
    elif "admin" in held or (_ASSERTS in held and not key.may_assert):
        what = "admin" if "admin" in held else _ASSERTS
        yield Finding(
            key.purpose, Level.FAIL, f"{named}: with {what} whoever reads it can claim to be any task",
            "make a key with no more than it needs",
        )  # fmt: skip
    else:
        yield Finding(key.purpose, Level.OK, named)
