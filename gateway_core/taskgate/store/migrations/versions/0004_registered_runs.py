"""Flow runs that a worker has made known, and what people call runs."""

import sqlalchemy as sa
from alembic import op

from taskgate.store.clock import UtcTime

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.add_column("sessions", sa.Column("run_name", sa.Text(), nullable=True))
    op.add_column("attempts", sa.Column("process_run_id", sa.Text(), nullable=True))
    op.add_column("attempts", sa.Column("process_generation", sa.Integer(), nullable=True))
    op.create_table(
        "registered_runs",
        sa.Column("id", sa.String(40), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("flow_run_id", sa.Text(), nullable=False),
        sa.Column("facts", sa.JSON(), nullable=False),
        sa.Column("secret_hash", sa.String(64), nullable=False),
        sa.Column("token_hash", sa.String(64)),
        sa.Column("registered_by", sa.Text(), nullable=False),
        sa.Column("registered_at", UtcTime(), nullable=False),
        sa.Column("expires_at", UtcTime(), nullable=False),
        sa.Column("exchanged_at", UtcTime()),
        sa.Column("ended_at", UtcTime()),
        sa.Column("ended_because", sa.Text()),
        sa.PrimaryKeyConstraint("id", name="pk_registered_runs"),
    )
    op.create_index("ix_registered_runs_registered_at", "registered_runs", ["registered_at"])
    op.create_index("ix_registered_runs_flow_run", "registered_runs", ["source", "flow_run_id"])
    op.create_index(
        "ix_registered_runs_live",
        "registered_runs",
        ["source", "id"],
        sqlite_where=sa.text("ended_at IS NULL"),
        postgresql_where=sa.text("ended_at IS NULL"),
    )
