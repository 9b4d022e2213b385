"""Until when connections wait for an approval."""

import sqlalchemy as sa
from alembic import op

from taskgate.store.clock import UtcTime

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.add_column("approvals", sa.Column("held_until", UtcTime(), nullable=True))
