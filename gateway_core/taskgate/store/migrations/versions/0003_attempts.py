"""Task attempts whose orchestrator is asked about them, and credentials of attempts that are over."""

import sqlalchemy as sa
from alembic import op

from taskgate.store.clock import UtcTime

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.add_column("credentials", sa.Column("confined_until", UtcTime(), nullable=True))
    op.create_table(
        "attempts",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("dag_id", sa.Text(), nullable=False),
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("task_id", sa.Text(), nullable=False),
        sa.Column("map_index", sa.Integer(), nullable=False),
        sa.Column("owner_key", sa.Text(), nullable=False),
        sa.Column("try_number", sa.Integer(), nullable=False),
        sa.Column("max_tries", sa.Integer(), nullable=False),
        sa.Column("began_at", UtcTime(), nullable=False),
        sa.Column("seen_at", UtcTime(), nullable=False),
        sa.Column("check_at", UtcTime(), nullable=False),
        sa.Column("over_at", UtcTime()),
        sa.Column("over_because", sa.Text()),
        sa.PrimaryKeyConstraint("id", name="pk_attempts"),
    )
    op.create_index("ix_attempts_owner_key", "attempts", ["owner_key"])
    alive = sa.text("over_at IS NULL")
    op.create_index("ix_attempts_alive", "attempts", ["source", "check_at"], sqlite_where=alive, postgresql_where=alive)
    op.create_index("ix_attempts_over_at", "attempts", ["over_at"])
