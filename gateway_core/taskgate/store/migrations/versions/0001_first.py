"""The first schema."""

import sqlalchemy as sa
from alembic import op

from taskgate.store.clock import UtcTime

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "api_keys",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("secret_hash", sa.String(length=64), nullable=False),
        sa.Column("scopes", sa.JSON(), nullable=False),
        sa.Column("groups", sa.JSON(), nullable=False),
        sa.Column("aliases", sa.JSON(), nullable=False),
        sa.Column("created_at", UtcTime(), nullable=False),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.Column("expires_at", UtcTime(), nullable=True),
        sa.Column("last_used_at", UtcTime(), nullable=True),
        sa.Column("revoked_at", UtcTime(), nullable=True),
        sa.Column("revoked_by", sa.Text(), nullable=True),
        sa.Column("revoked_reason", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_api_keys"),
    )
    op.create_index("ix_api_keys_name", "api_keys", ["name"], unique=False)
    op.create_table(
        "approvals",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("owner_key", sa.Text(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("principal", sa.JSON(), nullable=False),
        sa.Column("dag_id", sa.Text(), nullable=True),
        sa.Column("run_id", sa.Text(), nullable=True),
        sa.Column("task_id", sa.Text(), nullable=True),
        sa.Column("target", sa.Text(), nullable=False),
        sa.Column("session_id", sa.Text(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("pairs", sa.JSON(), nullable=False),
        sa.Column("rules", sa.JSON(), nullable=False),
        sa.Column("terms", sa.JSON(), nullable=False),
        sa.Column("policy_version", sa.Text(), nullable=False),
        sa.Column("environment", sa.JSON(), nullable=False),
        sa.Column("estimate", sa.JSON(), nullable=True),
        sa.Column("sealed_parameters", sa.LargeBinary(), nullable=False),
        sa.Column("parties", sa.JSON(), nullable=False),
        sa.Column("requested_at", UtcTime(), nullable=False),
        sa.Column("expires_at", UtcTime(), nullable=False),
        sa.Column("decided_at", UtcTime(), nullable=True),
        sa.Column("decided_by", sa.Text(), nullable=True),
        sa.Column("decided_by_id", sa.String(length=40), nullable=True),
        sa.Column("comment", sa.Text(), nullable=True),
        sa.Column("uses_left", sa.Integer(), nullable=False),
        sa.Column("holders", sa.Integer(), nullable=False),
        sa.Column("detached", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_approvals"),
    )
    op.create_index("ix_approvals_owner_key_digest", "approvals", ["owner_key", "digest"], unique=False)
    op.create_index("ix_approvals_session_id", "approvals", ["session_id"], unique=False)
    op.create_index("ix_approvals_state_expires_at", "approvals", ["state", "expires_at"], unique=False)
    op.create_index("ix_approvals_target", "approvals", ["target"], unique=False)
    op.create_index("ix_approvals_task", "approvals", ["dag_id", "run_id", "task_id"], unique=False)
    op.create_index(
        "uq_approvals_pending",
        "approvals",
        ["owner_key", "digest"],
        unique=True,
        sqlite_where=sa.text("state = 'pending'"),
        postgresql_where=sa.text("state = 'pending'"),
    )
    op.create_table(
        "credentials",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("principal", sa.JSON(), nullable=False),
        sa.Column("principal_key", sa.Text(), nullable=False),
        sa.Column("owner_key", sa.Text(), nullable=False),
        sa.Column("attempt_id", sa.Text(), nullable=True),
        sa.Column("target", sa.Text(), nullable=False),
        sa.Column("issued_at", UtcTime(), nullable=False),
        sa.Column("expires_at", UtcTime(), nullable=False),
        sa.Column("issued_by", sa.Text(), nullable=False),
        sa.Column("scram", sa.Text(), nullable=False),
        sa.Column("bearer_hash", sa.String(length=64), nullable=False),
        sa.Column("revoked_at", UtcTime(), nullable=True),
        sa.Column("revoked_by", sa.Text(), nullable=True),
        sa.Column("revoked_reason", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_credentials"),
    )
    op.create_index("ix_credentials_attempt_id", "credentials", ["attempt_id"], unique=False)
    op.create_index("ix_credentials_expires_at", "credentials", ["expires_at"], unique=False)
    op.create_index("ix_credentials_owner_key", "credentials", ["owner_key"], unique=False)
    op.create_index("ix_credentials_principal_key", "credentials", ["principal_key"], unique=False)
    op.create_index("ix_credentials_target", "credentials", ["target"], unique=False)
    op.create_table(
        "notifications",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("notifier", sa.Text(), nullable=False),
        sa.Column("event", sa.Text(), nullable=False),
        sa.Column("payload", sa.JSON(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("next_attempt_at", UtcTime(), nullable=False),
        sa.Column("created_at", UtcTime(), nullable=False),
        sa.Column("sent_at", UtcTime(), nullable=True),
        sa.Column("last_error", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_notifications"),
    )
    op.create_index(
        "ix_notifications_state_next_attempt_at", "notifications", ["state", "next_attempt_at"], unique=False
    )
    op.create_table(
        "notifier_states",
        sa.Column("notifier", sa.Text(), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("paused_until", UtcTime(), nullable=True),
        sa.Column("last_error", sa.Text(), nullable=True),
        sa.Column("last_failure_at", UtcTime(), nullable=True),
        sa.Column("last_success_at", UtcTime(), nullable=True),
        sa.PrimaryKeyConstraint("notifier", name="pk_notifier_states"),
    )
    op.create_table(
        "person_aliases",
        sa.Column("alias", sa.Text(), nullable=False),
        sa.Column("person", sa.Text(), nullable=False),
        sa.Column("linked_at", UtcTime(), nullable=False),
        sa.Column("linked_by", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("alias", name="pk_person_aliases"),
    )
    op.create_index("ix_person_aliases_person", "person_aliases", ["person"], unique=False)
    op.create_table(
        "processes",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("host", sa.Text(), nullable=False),
        sa.Column("pid", sa.BigInteger(), nullable=False),
        sa.Column("version", sa.Text(), nullable=False),
        sa.Column("started_at", UtcTime(), nullable=False),
        sa.Column("heartbeat_at", UtcTime(), nullable=False),
        sa.Column("stopped_at", UtcTime(), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_processes"),
    )
    op.create_table(
        "sessions",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("process_id", sa.String(length=40), nullable=False),
        sa.Column("credential_id", sa.String(length=40), nullable=True),
        sa.Column("principal", sa.JSON(), nullable=False),
        sa.Column("principal_key", sa.Text(), nullable=False),
        sa.Column("task_source", sa.Text(), nullable=True),
        sa.Column("dag_id", sa.Text(), nullable=True),
        sa.Column("run_id", sa.Text(), nullable=True),
        sa.Column("task_id", sa.Text(), nullable=True),
        sa.Column("map_index", sa.Integer(), nullable=True),
        sa.Column("attempt_id", sa.Text(), nullable=True),
        sa.Column("target", sa.Text(), nullable=False),
        sa.Column("protocol", sa.Text(), nullable=False),
        sa.Column("client_address", sa.Text(), nullable=False),
        sa.Column("policy_version", sa.Text(), nullable=False),
        sa.Column("opened_at", UtcTime(), nullable=False),
        sa.Column("closed_at", UtcTime(), nullable=True),
        sa.Column("closed_reason", sa.Text(), nullable=True),
        sa.Column("actions", sa.BigInteger(), nullable=False),
        sa.Column("refused", sa.BigInteger(), nullable=False),
        sa.Column("rows", sa.BigInteger(), nullable=False),
        sa.Column("masked", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_sessions"),
    )
    op.create_index("ix_sessions_attempt_id", "sessions", ["attempt_id"], unique=False)
    op.create_index("ix_sessions_credential_id", "sessions", ["credential_id"], unique=False)
    op.create_index(
        "ix_sessions_open",
        "sessions",
        ["process_id"],
        unique=False,
        sqlite_where=sa.text("closed_at IS NULL"),
        postgresql_where=sa.text("closed_at IS NULL"),
    )
    op.create_index("ix_sessions_opened_at", "sessions", ["opened_at"], unique=False)
    op.create_index("ix_sessions_principal_key", "sessions", ["principal_key"], unique=False)
    op.create_index("ix_sessions_target", "sessions", ["target"], unique=False)
    op.create_index("ix_sessions_task", "sessions", ["dag_id", "run_id", "task_id"], unique=False)
    op.create_table(
        "signal_counter",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("value", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_signal_counter"),
    )
    op.create_table(
        "signals",
        sa.Column("sequence", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("payload", sa.JSON(), nullable=False),
        sa.Column("sent_at", UtcTime(), nullable=False),
        sa.PrimaryKeyConstraint("sequence", name="pk_signals"),
    )
    op.create_index("ix_signals_sent_at", "signals", ["sent_at"], unique=False)
    op.create_table(
        "approval_views",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("approval_id", sa.String(length=40), nullable=False),
        sa.Column("viewer_id", sa.String(length=40), nullable=False),
        sa.Column("viewer", sa.Text(), nullable=False),
        sa.Column("viewed_at", UtcTime(), nullable=False),
        sa.ForeignKeyConstraint(
            ["approval_id"], ["approvals.id"], name="fk_approval_views_approval_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_approval_views"),
    )
    op.create_index("ix_approval_views_approval_id", "approval_views", ["approval_id"], unique=False)
    op.create_table(
        "approval_votes",
        sa.Column("approval_id", sa.String(length=40), nullable=False),
        sa.Column("approver_id", sa.String(length=40), nullable=False),
        sa.Column("approver", sa.Text(), nullable=False),
        sa.Column("approve", sa.Boolean(), nullable=False),
        sa.Column("comment", sa.Text(), nullable=True),
        sa.Column("voted_at", UtcTime(), nullable=False),
        sa.ForeignKeyConstraint(
            ["approval_id"], ["approvals.id"], name="fk_approval_votes_approval_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("approval_id", "approver_id", name="pk_approval_votes"),
    )
    op.create_table(
        "grant_uses",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("approval_id", sa.String(length=40), nullable=False),
        sa.Column("session_id", sa.Text(), nullable=False),
        sa.Column("used_at", UtcTime(), nullable=False),
        sa.ForeignKeyConstraint(
            ["approval_id"], ["approvals.id"], name="fk_grant_uses_approval_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_grant_uses"),
    )
    op.create_index("ix_grant_uses_approval_id", "grant_uses", ["approval_id"], unique=False)
    op.create_table(
        "session_effects",
        sa.Column("session_id", sa.String(length=40), nullable=False),
        sa.Column("effect", sa.Text(), nullable=False),
        sa.Column("object", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["session_id"], ["sessions.id"], name="fk_session_effects_session_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("session_id", "effect", "object", name="pk_session_effects"),
    )
    op.create_index("ix_session_effects_effect", "session_effects", ["effect", "object"], unique=False)
    op.create_index("ix_session_effects_object", "session_effects", ["object"], unique=False)
    op.execute("INSERT INTO signal_counter (id, value) VALUES (1, 0)")


def downgrade() -> None:
    op.drop_index("ix_session_effects_object", table_name="session_effects")
    op.drop_index("ix_session_effects_effect", table_name="session_effects")
    op.drop_table("session_effects")
    op.drop_index("ix_grant_uses_approval_id", table_name="grant_uses")
    op.drop_table("grant_uses")
    op.drop_table("approval_votes")
    op.drop_index("ix_approval_views_approval_id", table_name="approval_views")
    op.drop_table("approval_views")
    op.drop_index("ix_signals_sent_at", table_name="signals")
    op.drop_table("signals")
    op.drop_table("signal_counter")
    op.drop_index("ix_sessions_task", table_name="sessions")
    op.drop_index("ix_sessions_target", table_name="sessions")
    op.drop_index("ix_sessions_principal_key", table_name="sessions")
    op.drop_index("ix_sessions_opened_at", table_name="sessions")
    op.drop_index(
        "ix_sessions_open",
        table_name="sessions",
        sqlite_where=sa.text("closed_at IS NULL"),
        postgresql_where=sa.text("closed_at IS NULL"),
    )
    op.drop_index("ix_sessions_credential_id", table_name="sessions")
    op.drop_index("ix_sessions_attempt_id", table_name="sessions")
    op.drop_table("sessions")
    op.drop_table("processes")
    op.drop_index("ix_person_aliases_person", table_name="person_aliases")
    op.drop_table("person_aliases")
    op.drop_table("notifier_states")
    op.drop_index("ix_notifications_state_next_attempt_at", table_name="notifications")
    op.drop_table("notifications")
    op.drop_index("ix_credentials_target", table_name="credentials")
    op.drop_index("ix_credentials_principal_key", table_name="credentials")
    op.drop_index("ix_credentials_owner_key", table_name="credentials")
    op.drop_index("ix_credentials_expires_at", table_name="credentials")
    op.drop_index("ix_credentials_attempt_id", table_name="credentials")
    op.drop_table("credentials")
    op.drop_index(
        "uq_approvals_pending",
        table_name="approvals",
        sqlite_where=sa.text("state = 'pending'"),
        postgresql_where=sa.text("state = 'pending'"),
    )
    op.drop_index("ix_approvals_task", table_name="approvals")
    op.drop_index("ix_approvals_target", table_name="approvals")
    op.drop_index("ix_approvals_state_expires_at", table_name="approvals")
    op.drop_index("ix_approvals_session_id", table_name="approvals")
    op.drop_index("ix_approvals_owner_key_digest", table_name="approvals")
    op.drop_table("approvals")
    op.drop_index("ix_api_keys_name", table_name="api_keys")
    op.drop_table("api_keys")
