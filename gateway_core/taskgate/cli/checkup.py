"""What `taskgate doctor` looks at, each check on its own: what is so, and what to do where it is not well."""

from __future__ import annotations

import os
import resource
import shutil
import stat
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

from taskgate.errors import TaskgateError

if TYPE_CHECKING:
    from taskgate.settings import Settings

_LOW_DISK, _NO_DISK = 2 * 1024**3, 200 * 1024**2
_SOON = 21  # days
_SLOW_SYNC = 0.02  # seconds: every change a task makes waits for one


class Level(StrEnum):
    OK = "ok"
    WARN = "warn"  # works, but somebody should look
    FAIL = "fail"  # the gateway would refuse to start, or refuse its clients


@dataclass(frozen=True, slots=True)
class Finding:
    """`do` is what to do about it; nothing where it is well."""

    check: str
    level: Level
    found: str
    do: str | None = None


def environment(settings: Settings) -> Iterator[Finding]:
    for doubt in settings.doubts():
        yield Finding("environment", Level.WARN, doubt, "correct its name, or take it away: it sets nothing")


def data_directory(settings: Settings) -> Iterator[Finding]:
    path = settings.data_dir
    if not path.exists():
        yield Finding("data directory", Level.WARN, f"{path} does not exist yet", "`taskgate serve` makes it (0700)")
        return
    if not os.access(path, os.W_OK | os.X_OK):
        yield Finding("data directory", Level.FAIL, f"{path} is not writable", "give it to the gateway's user")
        return
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & 0o077:
        yield Finding("data directory", Level.WARN, f"{path} is open to others (mode {mode:04o})", f"chmod 700 {path}")
    else:
        yield Finding("data directory", Level.OK, str(path))
    free = shutil.disk_usage(path).free
    level = Level.FAIL if free < _NO_DISK else Level.WARN if free < _LOW_DISK else Level.OK
    do = None if level is Level.OK else "make room: without it nothing can be recorded, and then nothing is let through"
    yield Finding("disk space", level, f"{free / 1024**3:.1f} GiB free", do)
    yield _journal(path)


def _journal(path: Path) -> Finding:
    """How long a record takes to reach the disk, where the journal will be."""
    probe = path / f".doctor-{os.getpid()}"
    try:
        descriptor = os.open(probe, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        try:
            started = time.perf_counter()
            os.write(descriptor, b"x" * 4096)
            os.fsync(descriptor)
            took = time.perf_counter() - started
        finally:
            os.close(descriptor)
            probe.unlink()
    except OSError as error:
        return Finding(
            "journal",
            Level.FAIL,
            f"cannot write in {path}: {error.strerror}",
            "nothing runs unrecorded: repair the disk",
        )
    if took > _SLOW_SYNC:
        return Finding(
            "journal", Level.WARN, f"a synced write took {took * 1000:.0f} ms", "put data_dir on a faster disk"
        )
    return Finding("journal", Level.OK, f"a synced write took {took * 1000:.1f} ms")


def private_files(settings: Settings) -> Iterator[Finding]:
    """Keys and passwords in files: for their owner only."""
    files = [settings.api.tls_key, settings.postgres.tls_key]
    for target in settings.targets:
        for reference in (target.secret, target.catalog_secret):
            if reference and reference.startswith("file:"):
                files.append(Path(reference.removeprefix("file:")))
    keys = settings.data_dir / "keys"
    files += (
        sorted(path for path in keys.glob("*") if path.is_file() and path.suffix != ".pub") if keys.is_dir() else []
    )
    well = 0
    for path in {file for file in files if file is not None}:
        try:
            mode = stat.S_IMODE(path.stat().st_mode)
        except OSError as error:
            yield Finding(
                "private files", Level.FAIL, f"{path}: {error.strerror}", "put it there, or correct the settings"
            )
            continue
        if mode & 0o077:
            yield Finding(
                "private files", Level.FAIL, f"{path} is open to others (mode {mode:04o})", f"chmod 600 {path}"
            )
        else:
            well += 1
    if well:
        yield Finding("private files", Level.OK, f"{well} for their owner only")


def certificates(settings: Settings) -> Iterator[Finding]:
    for name, listener in (("api", settings.api), ("postgres", settings.postgres)):
        check = f"certificate of {name}"
        if listener.tls_cert is None or listener.tls_key is None:
            yield Finding(check, Level.OK, f"none: {listener.host} is loopback")
            continue
        yield _certificate(check, listener.tls_cert, listener.tls_key)


def _certificate(check: str, cert: Path, key: Path) -> Finding:
    import ssl

    from cryptography import x509

    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(cert, key)
        end = x509.load_pem_x509_certificate(cert.read_bytes()).not_valid_after_utc
    except (OSError, ssl.SSLError, ValueError) as error:
        return Finding(
            check, Level.FAIL, f"{cert}: {error}", "the certificate and its key must be PEM and belong together"
        )
    days = (end - datetime.now(UTC)).days
    if days < 0:
        return Finding(check, Level.FAIL, f"expired on {end:%Y-%m-%d}", "renew it and restart")
    if days < _SOON:
        return Finding(check, Level.WARN, f"expires in {days} days", "renew it")
    return Finding(check, Level.OK, f"valid until {end:%Y-%m-%d}")


def descriptors(settings: Settings) -> Iterator[Finding]:
    """Every session needs one for its client and one for its target."""
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = 2 * settings.postgres.max_connections + 256
    if limit != resource.RLIM_INFINITY and limit < needed:
        do = f"raise it to {needed} (ulimit -n, LimitNOFILE=), or lower postgres.max_connections"
        yield Finding("file descriptors", Level.WARN, f"the limit is {limit}", do)
    else:
        yield Finding("file descriptors", Level.OK, f"the limit is {limit}")


def policy(settings: Settings) -> Iterator[Finding]:
    from taskgate.policy.load import load

    try:
        found = load(settings.policy)
    except TaskgateError as error:
        yield Finding("policy", Level.FAIL, error.message, "`taskgate policy check` shows each problem")
        return
    builtin = sum(rule.builtin for rule in found.rules)
    rules = f"{len(found.rules) - builtin} rules ({builtin} more are built in)"
    yield Finding("policy", Level.OK, f"{rules}, {len(found.all_masks)} masks, version {found.version[:12]}")
    for warning in found.warnings:
        yield Finding("policy", Level.WARN, str(warning), "`taskgate policy check` explains it")


async def store(settings: Settings) -> Finding:
    from taskgate.cli.local import open_store

    kind = "shared" if settings.store_url.startswith("postgres") else "SQLite"
    if kind == "SQLite" and settings.store.url is None and not (settings.data_dir / "store.sqlite").exists():
        return Finding("store", Level.WARN, "there is none yet", "`taskgate serve` makes it")
    try:
        async with open_store(settings):
            return Finding("store", Level.OK, f"{kind}, its schema is this version's")
    except TaskgateError as error:
        return Finding("store", Level.FAIL, error.message, error.hint or "`taskgate db migrate`")


async def targets(settings: Settings) -> list[Finding]:
    from taskgate.cli.probing import probe

    found = []
    for target in settings.targets:
        result = await probe(target.target())
        check = f"target {target.name}"
        if result.problem:
            found.append(
                Finding(check, Level.FAIL, result.problem, f"`taskgate target test {target.name}` tries again")
            )
        else:
            found.append(Finding(check, Level.OK, f"{result.server}, TLS {result.tls}, as {result.user}"))
    return found


async def prefects(settings: Settings) -> list[Finding]:
    from contextlib import AsyncExitStack

    from taskgate.identity.orchestrators.prefect.source import PrefectSource
    from taskgate.secrets import SecretSources

    found = []
    for one in settings.prefect:
        check = f"prefect {one.source}"
        async with AsyncExitStack() as stack:
            try:
                source = await PrefectSource.open(one, SecretSources().fetch, stack)
                await source.rest.answers()
            except (TaskgateError, OSError) as error:
                do = getattr(error, "hint", None) or "look at its url, ca_file and key in the settings"
                found.append(Finding(check, Level.FAIL, str(error), do))
            else:
                found.append(Finding(check, Level.OK, f"its API answers at {one.url}"))
    return found


def running(settings: Settings) -> Finding:
    """Whether a gateway answers at the address the settings give to others."""
    from taskgate.client import Client, ConnectionSettingsError, TaskgateApiError, Unreachable

    try:
        with Client(settings.api_url, timeout=3.0, tries=1, allow_plain_http=True) as client:
            client.readiness()
    except Unreachable:
        return Finding("gateway", Level.WARN, f"nothing answers at {settings.api_url}", "`taskgate serve` starts it")
    except (TaskgateApiError, ConnectionSettingsError) as error:
        return Finding("gateway", Level.FAIL, str(error), "its log says more")
    return Finding("gateway", Level.OK, f"ready at {settings.api_url}")
