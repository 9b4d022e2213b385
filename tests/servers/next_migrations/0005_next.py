"""A migration that no version has: a table with rows, a column more for an old one, and a pause between the two."""

import os
import time
from pathlib import Path

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    made = op.create_table("next_things", sa.Column("id", sa.Integer(), primary_key=True))
    op.bulk_insert(made, [{"id": number} for number in range(100)])
    half_way = os.environ.get("NEXT_VERSION_HALF_WAY")
    if half_way:
        Path(half_way).touch()
        time.sleep(60)
    with op.batch_alter_table("person_aliases") as table:
        table.add_column(sa.Column("next_note", sa.Text(), nullable=True))
