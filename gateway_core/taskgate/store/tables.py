"""The store's tables. Principals, terms and the like are whole, as JSON; what is searched has columns of its own."""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    text,
)

from taskgate.store.clock import UtcTime

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)
_ID = String(40)

processes = Table(
    "processes",
    metadata,
    Column("id", _ID, primary_key=True),
    Column("host", Text, nullable=False),
    Column("pid", BigInteger, nullable=False),
    Column("version", Text, nullable=False),
    Column("started_at", UtcTime, nullable=False),
    Column("heartbeat_at", UtcTime, nullable=False),
    Column("stopped_at", UtcTime),
)

credentials = Table(
    "credentials",
    metadata,
    Column("id", _ID, primary_key=True),
    Column("principal", JSON, nullable=False),
    Column("principal_key", Text, nullable=False, index=True),
    Column("owner_key", Text, nullable=False, index=True),
    Column("attempt_id", Text, index=True),
    Column("target", Text, nullable=False, index=True),
    Column("issued_at", UtcTime, nullable=False),
    Column("expires_at", UtcTime, nullable=False, index=True),
    Column("issued_by", Text, nullable=False),
    Column("scram", Text, nullable=False),
    Column("bearer_hash", String(64), nullable=False),
    Column("revoked_at", UtcTime),
    Column("revoked_by", Text),
    Column("revoked_reason", Text),
    Column("confined_until", UtcTime),  # its attempt is over; callbacks may read until then
)

# Task attempts that hold, or held, a credential, and whose orchestrator can be asked about them.
attempts = Table(
    "attempts",
    metadata,
    Column("id", Text, primary_key=True),  # the orchestrator's own: Airflow's is a uuid
    Column("source", Text, nullable=False),
    Column("dag_id", Text, nullable=False),
    Column("run_id", Text, nullable=False),
    Column("task_id", Text, nullable=False),
    Column("map_index", Integer, nullable=False),
    Column("owner_key", Text, nullable=False, index=True),
    Column("try_number", Integer, nullable=False),
    # Another number later: it was started over, not retried (Airflow: max_tries; Prefect: the flow run's run count).
    Column("max_tries", Integer, nullable=False, key="generation"),
    # Where the run goes on in another's process (a subflow of Prefect's): that run, and its generation then.
    Column("process_run_id", Text),
    Column("process_generation", Integer),
    Column("began_at", UtcTime, nullable=False),
    Column("seen_at", UtcTime, nullable=False),  # last found alive
    Column("check_at", UtcTime, nullable=False),
    Column("over_at", UtcTime),
    Column("over_because", Text),
    Index(
        "ix_attempts_alive",
        "source",
        "check_at",
        sqlite_where=text("over_at IS NULL"),
        postgresql_where=text("over_at IS NULL"),
    ),
    Index("ix_attempts_over_at", "over_at"),
)

# Flow runs that a worker has made known before it started them: a secret that works once, then a token.
registered_runs = Table(
    "registered_runs",
    metadata,
    Column("id", _ID, primary_key=True),
    Column("source", Text, nullable=False),
    Column("flow_run_id", Text, nullable=False),
    Column("facts", JSON, nullable=False),  # what its orchestrator said of it then: later others may change it
    Column("secret_hash", String(64), nullable=False),
    Column("token_hash", String(64)),  # there once the secret was used
    Column("registered_by", Text, nullable=False),
    Column("registered_at", UtcTime, nullable=False, index=True),
    Column("expires_at", UtcTime, nullable=False),  # until then the secret works
    Column("exchanged_at", UtcTime),
    Column("ended_at", UtcTime),
    Column("ended_because", Text),
    Index("ix_registered_runs_flow_run", "source", "flow_run_id"),
    Index(
        "ix_registered_runs_live",
        "source",
        "id",
        sqlite_where=text("ended_at IS NULL"),
        postgresql_where=text("ended_at IS NULL"),
    ),
)

api_keys = Table(
    "api_keys",
    metadata,
    Column("id", _ID, primary_key=True),
    Column("kind", String(16), nullable=False),
    Column("name", Text, nullable=False, index=True),
    Column("secret_hash", String(64), nullable=False),
    Column("scopes", JSON, nullable=False),
    Column("groups", JSON, nullable=False),
    Column("aliases", JSON, nullable=False),
    Column("created_at", UtcTime, nullable=False),
    Column("created_by", Text, nullable=False),
    Column("expires_at", UtcTime),
    Column("last_used_at", UtcTime),
    Column("revoked_at", UtcTime),
    Column("revoked_by", Text),
    Column("revoked_reason", Text),
)

person_aliases = Table(
    "person_aliases",
    metadata,
    Column("alias", Text, primary_key=True),
    Column("person", Text, nullable=False, index=True),
    Column("linked_at", UtcTime, nullable=False),
    Column("linked_by", Text, nullable=False),
)

approvals = Table(
    "approvals",
    metadata,
    Column("id", _ID, primary_key=True),
    Column("digest", String(64), nullable=False),
    Column("owner_key", Text, nullable=False),
    Column("state", String(16), nullable=False),
    Column("principal", JSON, nullable=False),
    Column("dag_id", Text),
    Column("run_id", Text),
    Column("task_id", Text),
    Column("target", Text, nullable=False, index=True),
    Column("session_id", Text, nullable=False, index=True),
    Column("text", Text, nullable=False),
    Column("pairs", JSON, nullable=False),
    Column("rules", JSON, nullable=False),
    Column("terms", JSON, nullable=False),
    Column("policy_version", Text, nullable=False),
    Column("environment", JSON, nullable=False),
    Column("estimate", JSON),
    Column("sealed_parameters", LargeBinary, nullable=False),
    Column("parties", JSON, nullable=False),  # names that stand behind the request: none of them may decide
    Column("requested_at", UtcTime, nullable=False),
    Column("expires_at", UtcTime, nullable=False),
    Column("decided_at", UtcTime),
    Column("decided_by", Text),
    Column("decided_by_id", _ID),
    Column("comment", Text),
    Column("uses_left", Integer, nullable=False),
    Column("holders", Integer, nullable=False),  # connections waiting for it
    Column("held_until", UtcTime),  # the longest wait of those; without meaning where there are none
    Column(
        "detached", Boolean, nullable=False
    ),  # somebody asked who comes back later: no connection's end withdraws it
    # One open question a digest and owner: what makes asking idempotent under concurrency.
    Index(
        "uq_approvals_pending",
        "owner_key",
        "digest",
        unique=True,
        sqlite_where=text("state = 'pending'"),
        postgresql_where=text("state = 'pending'"),
    ),
    Index("ix_approvals_owner_key_digest", "owner_key", "digest"),
    Index("ix_approvals_state_expires_at", "state", "expires_at"),
    Index("ix_approvals_task", "dag_id", "run_id", "task_id"),
)

# One row a decision given. Today the first vote decides; a quorum counts rows.
approval_votes = Table(
    "approval_votes",
    metadata,
    Column("approval_id", _ID, ForeignKey("approvals.id", ondelete="CASCADE"), primary_key=True),
    Column("approver_id", _ID, primary_key=True),
    Column("approver", Text, nullable=False),
    Column("approve", Boolean, nullable=False),
    Column("comment", Text),
    Column("voted_at", UtcTime, nullable=False),
)

approval_views = Table(
    "approval_views",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("approval_id", _ID, ForeignKey("approvals.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("viewer_id", _ID, nullable=False),
    Column("viewer", Text, nullable=False),
    Column("viewed_at", UtcTime, nullable=False),
)

grant_uses = Table(
    "grant_uses",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("approval_id", _ID, ForeignKey("approvals.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("session_id", Text, nullable=False),
    Column("used_at", UtcTime, nullable=False),
)

notifications = Table(
    "notifications",
    metadata,
    Column("id", _ID, primary_key=True),
    Column("notifier", Text, nullable=False),
    Column("event", Text, nullable=False),
    Column("payload", JSON, nullable=False),
    Column("state", String(16), nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("next_attempt_at", UtcTime, nullable=False),
    Column("created_at", UtcTime, nullable=False),
    Column("sent_at", UtcTime),
    Column("last_error", Text),
    Index("ix_notifications_state_next_attempt_at", "state", "next_attempt_at"),
)

notifier_states = Table(
    "notifier_states",
    metadata,
    Column("notifier", Text, primary_key=True),
    Column("failures", Integer, nullable=False),  # in a row
    Column("paused_until", UtcTime),
    Column("last_error", Text),
    Column("last_failure_at", UtcTime),
    Column("last_success_at", UtcTime),
)

sessions = Table(
    "sessions",
    metadata,
    Column("id", _ID, primary_key=True),
    Column("process_id", _ID, nullable=False),
    Column("credential_id", _ID, index=True),
    Column("principal", JSON, nullable=False),
    Column("principal_key", Text, nullable=False, index=True),
    Column("task_source", Text),
    Column("dag_id", Text),
    Column("run_id", Text),
    Column("run_name", Text),  # what people call it, where that is not its id
    Column("task_id", Text),
    Column("map_index", Integer),
    Column("attempt_id", Text, index=True),
    Column("target", Text, nullable=False, index=True),
    Column("protocol", Text, nullable=False),
    Column("client_address", Text, nullable=False),
    Column("policy_version", Text, nullable=False),
    Column("opened_at", UtcTime, nullable=False, index=True),
    Column("closed_at", UtcTime),
    Column("closed_reason", Text),
    Column("actions", BigInteger, nullable=False),
    Column("refused", BigInteger, nullable=False),
    Column("rows", BigInteger, nullable=False),
    Column("masked", BigInteger, nullable=False),
    Index("ix_sessions_task", "dag_id", "run_id", "task_id"),
    Index(
        "ix_sessions_open",
        "process_id",
        sqlite_where=text("closed_at IS NULL"),
        postgresql_where=text("closed_at IS NULL"),
    ),
)

session_effects = Table(
    "session_effects",
    metadata,
    Column("session_id", _ID, ForeignKey("sessions.id", ondelete="CASCADE"), primary_key=True),
    Column("effect", Text, primary_key=True),
    Column("object", Text, primary_key=True),
    Index("ix_session_effects_effect", "effect", "object"),
    Index("ix_session_effects_object", "object"),
)

# Sequence numbers come from this one row, whose lock is held until commit: they are committed in their order, so a
# reader that has seen n has seen everything below n (a sequence of PostgreSQL would not promise that).
signal_counter = Table(
    "signal_counter",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("value", BigInteger, nullable=False),
)

signals = Table(
    "signals",
    metadata,
    Column("sequence", BigInteger, primary_key=True, autoincrement=False),
    Column("kind", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("payload", JSON, nullable=False),
    Column("sent_at", UtcTime, nullable=False, index=True),
)
