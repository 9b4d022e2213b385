"""PostgreSQL: a stock `postgres` connection, for PostgresHook and everything that is built on it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from taskgate_airflow.mapping import MappedConnection, MappingError
from taskgate_airflow.rewriting.rewriting import ConnectionFields

if TYPE_CHECKING:
    from taskgate.client import IssuedCredential


class PostgresRewriting:
    """The credential's user, password and database at the gateway's address.

    PostgresHook hands every extra that it does not know to libpq, and BaseSQLOperator hands all of them to the hook:
    one that libpq does not know breaks every statement. `host`, `hostaddr`, `service` and the like are not among those
    allowed because they would lead around the gateway."""

    protocol = "postgres"
    conn_type = "postgres"
    extras = frozenset(
        {
            "application_name",
            "channel_binding",
            "client_encoding",
            "connect_timeout",
            "keepalives",
            "keepalives_count",
            "keepalives_idle",
            "keepalives_interval",
            "options",
            "sslmode",
            "sslrootcert",
            "tcp_user_timeout",
        }
    )

    def fields(self, mapped: MappedConnection, credential: IssuedCredential) -> ConnectionFields:
        if unknown := set(mapped.extra) - self.extras:
            raise MappingError(
                f"extra {', '.join(sorted(unknown))} would break the driver; known: {', '.join(sorted(self.extras))}"
            )
        extra = {
            name: value for name, value in (("sslmode", mapped.sslmode), ("sslrootcert", mapped.sslrootcert)) if value
        }
        extra.update(mapped.extra)
        if "sslrootcert" in extra:
            extra.setdefault("sslmode", "verify-full")
        return ConnectionFields(
            conn_type=self.conn_type,
            host=mapped.host or credential.host,
            port=mapped.port or credential.port,
            login=credential.user,
            password=credential.password.get_secret_value(),
            schema=credential.database,
            extra=extra,
        )
