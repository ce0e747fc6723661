"""reembedding: which model a reindex makes the active one"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("reindexes", sa.Column("model", sa.String(length=500), nullable=True))


def downgrade() -> None:
    op.drop_column("reindexes", "model")
