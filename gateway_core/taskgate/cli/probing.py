"""Can a target be used: name resolution, TCP, certificate, password, and what the catalogue's reader needs."""

from __future__ import annotations

import asyncio
import ssl
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from taskgate.domain import Target, TlsMode
from taskgate.errors import TaskgateError

if TYPE_CHECKING:
    import asyncpg

_TIMEOUT = 10.0
_SUPPORTED = range(15, 19)


@dataclass(frozen=True, slots=True)
class Probe:
    """What was found. `problem` says what is wrong and what to do; None: the target can be used."""

    target: str
    server: str | None = None
    tls: str | None = None
    user: str | None = None
    problem: str | None = None

    @property
    def ok(self) -> bool:
        return self.problem is None

    def as_data(self) -> dict[str, Any]:
        return {**asdict(self), "ok": self.ok}


async def probe(target: Target) -> Probe:
    """Log in as the gateway's sessions would, then as its catalogue reader. Never raises; never holds a secret."""
    found = await _login(target, target.user, target.secret)
    if found.ok and target.catalog_user and target.catalog_secret:
        reader = await _login(target, target.catalog_user, target.catalog_secret)
        if not reader.ok:
            return Probe(
                target.name, found.server, found.tls, found.user, f"as the catalogue's reader: {reader.problem}"
            )
    return found


async def _login(target: Target, user: str, reference: str) -> Probe:
    import asyncpg

    from taskgate.secrets import SecretSources

    try:
        secret = await SecretSources().fetch(reference)
        connection = await asyncpg.connect(
            host=target.host,
            port=target.port,
            database=target.database,
            user=user,
            password=secret.reveal(),
            ssl=_tls(target),
            timeout=_TIMEOUT,
            command_timeout=_TIMEOUT,
            server_settings={"application_name": "taskgate target test"},
        )
    except TaskgateError as error:
        return Probe(target.name, problem=f"its secret: {error.message}")
    except TimeoutError:
        return Probe(target.name, problem=f"{target.host}:{target.port} did not answer within {_TIMEOUT:.0f} s")
    except ssl.SSLCertVerificationError as error:
        return Probe(
            target.name, problem=f"its certificate is not trusted ({error.verify_message}): check tls and ca_file"
        )
    except (OSError, ssl.SSLError) as error:
        return Probe(target.name, problem=f"{target.host}:{target.port}: {error.strerror or error}")
    except asyncpg.PostgresError as error:
        return Probe(target.name, problem=f"the server says {error.sqlstate}: {error}")
    except asyncpg.InterfaceError as error:
        return Probe(target.name, problem=str(error))
    try:
        return await _inspect(target, connection)
    except (asyncpg.PostgresError, OSError, TimeoutError) as error:
        return Probe(target.name, problem=f"logged in, but then: {error}")
    finally:
        with_timeout = asyncio.wait_for(connection.close(), _TIMEOUT)
        await asyncio.gather(with_timeout, return_exceptions=True)


async def _inspect(target: Target, connection: asyncpg.Connection) -> Probe:
    version = connection.get_server_version()
    numbers = str(await connection.fetchval("show server_version")).partition(" ")[0]  # packagers add their own words
    user = await connection.fetchval("select current_user")
    tls = await connection.fetchval("select version from pg_stat_ssl where pid = pg_backend_pid()")
    await connection.fetchval("select count(*) from pg_catalog.pg_class")
    problem = None
    if version.major not in _SUPPORTED:
        problem = f"PostgreSQL {version.major} is not supported: 15 to 18 are"
    return Probe(target.name, f"PostgreSQL {numbers}", tls or "none", user, problem)


def _tls(target: Target) -> ssl.SSLContext | bool:
    if target.tls is TlsMode.DISABLE:
        return False
    context = ssl.create_default_context(cafile=target.ca_file)
    context.check_hostname = target.tls is TlsMode.VERIFY_FULL
    return context
