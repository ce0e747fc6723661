"""reports, and the schedules that they are made on"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

JSON = sa.JSON(none_as_null=True).with_variant(postgresql.JSONB(none_as_null=True), "postgresql")
INSTANT = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "reports",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("schedule_id", sa.Integer(), nullable=True),
        sa.Column("slot", INSTANT, nullable=True),
        sa.Column("filters", JSON, nullable=False),
        sa.Column("grouping", JSON, nullable=False),
        sa.Column("previous", sa.Integer(), nullable=True),
        sa.Column("cluster_run", sa.Integer(), nullable=True),
        sa.Column("state", sa.String(length=10), nullable=False),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.Column("finished_at", INSTANT, nullable=True),
        sa.Column("message", sa.Text(), nullable=True),
        sa.Column("figures", JSON, nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_reports"),
        sa.UniqueConstraint("schedule_id", "slot", name="uq_reports_schedule_id_slot"),
        sqlite_autoincrement=True,
    )
    for column in ("cluster_run", "created_at", "state"):
        op.create_index(f"ix_reports_{column}", "reports", [column])
    op.create_table(
        "schedules",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("cron", sa.String(length=200), nullable=False),
        sa.Column("time_zone", sa.String(length=100), nullable=False),
        sa.Column("filters", JSON, nullable=False),
        sa.Column("grouping", JSON, nullable=False),
        sa.Column("catch_up", sa.Integer(), nullable=False),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.Column("last_slot", INSTANT, nullable=True),
        sa.Column("next_slot", INSTANT, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_schedules"),
        sqlite_autoincrement=True,
    )


def downgrade() -> None:
    for table in ("schedules", "reports"):
        op.drop_table(table)
