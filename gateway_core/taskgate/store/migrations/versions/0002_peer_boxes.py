"""What gateway processes seal messages to one another with."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.add_column("processes", sa.Column("box", sa.LargeBinary(), nullable=True))
