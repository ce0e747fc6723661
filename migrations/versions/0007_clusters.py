"""clusters: runs that group clips, what each found, its members and its map"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

JSON = sa.JSON(none_as_null=True).with_variant(postgresql.JSONB(none_as_null=True), "postgresql")


def of_run(table: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(
        ["run_id"], ["cluster_runs.id"], name=f"fk_{table}_run_id", ondelete="CASCADE"
    )


def upgrade() -> None:
    op.create_table(
        "cluster_runs",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("model_id", sa.Integer(), nullable=False),
        sa.Column("algorithm", sa.String(length=10), nullable=False),
        sa.Column("n_clusters", sa.Integer(), nullable=True),
        sa.Column("seed", sa.BigInteger(), nullable=False),
        sa.Column("filters", JSON, nullable=False),
        sa.Column("previous", sa.Integer(), nullable=True),
        sa.Column("state", sa.String(length=10), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("message", sa.Text(), nullable=True),
        sa.Column("summary", JSON, nullable=True),
        sa.ForeignKeyConstraint(["model_id"], ["models.id"], name="fk_cluster_runs_model_id"),
        sa.PrimaryKeyConstraint("id", name="pk_cluster_runs"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_cluster_runs_state", "cluster_runs", ["state"])
    op.create_table(
        "clusters",
        sa.Column("run_id", sa.Integer(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("lasting_id", sa.Integer(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("profile", JSON, nullable=False),
        sa.Column("centre", sa.LargeBinary(), nullable=False),
        of_run("clusters"),
        sa.PrimaryKeyConstraint("run_id", "number", name="pk_clusters"),
    )
    op.create_table(
        "cluster_members",
        sa.Column("run_id", sa.Integer(), nullable=False),
        sa.Column("cluster", sa.Integer(), nullable=False),
        sa.Column("last_id", sa.BigInteger(), nullable=False),
        sa.Column("ids", sa.LargeBinary(), nullable=False),
        of_run("cluster_members"),
        sa.PrimaryKeyConstraint("run_id", "cluster", "last_id", name="pk_cluster_members"),
    )
    op.create_table(
        "cluster_points",
        sa.Column("run_id", sa.Integer(), nullable=False),
        sa.Column("last_id", sa.BigInteger(), nullable=False),
        sa.Column("ids", sa.LargeBinary(), nullable=False),
        sa.Column("clusters", sa.LargeBinary(), nullable=False),
        sa.Column("emotions", sa.LargeBinary(), nullable=False),
        sa.Column("places", sa.LargeBinary(), nullable=False),
        of_run("cluster_points"),
        sa.PrimaryKeyConstraint("run_id", "last_id", name="pk_cluster_points"),
    )


def downgrade() -> None:
    for table in ("cluster_points", "cluster_members", "clusters", "cluster_runs"):
        op.drop_table(table)
