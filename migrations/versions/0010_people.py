"""people: what the clips of each customer and agent come to"""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "people",
        sa.Column("kind", sa.String(length=8), nullable=False),
        sa.Column("id", sa.String(length=200), nullable=False),
        sa.Column("clips", sa.BigInteger(), nullable=False),
        sa.Column("first_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("heard", sa.Integer(), nullable=False),
        sa.Column("negative", sa.Integer(), nullable=False),
        sa.Column("level", sa.Float(precision=53), nullable=False),
        sa.Column("evidence", sa.Float(precision=53), nullable=False),
        sa.Column("before", sa.Float(precision=53), nullable=True),
        sa.Column("since", sa.Float(precision=53), nullable=True),
        sa.Column("clips_before", sa.Integer(), nullable=True),
        sa.Column("clips_since", sa.Integer(), nullable=True),
        sa.Column("changed_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("kind", "id", name="pk_people"),
    )
    for column in ("clips", "level", "evidence"):
        op.create_index(f"ix_people_kind_{column}_id", "people", ["kind", column, "id"])
    marks = op.create_table(
        "person_marks",
        sa.Column("id", ID, nullable=False),
        sa.Column("kind", sa.String(length=8), nullable=False),
        sa.Column("onward", sa.Boolean(), nullable=False),
        sa.Column("person", sa.String(length=200), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_person_marks"),
        sqlite_autoincrement=True,
    )
    op.create_index(
        "ix_person_marks_kind_onward_person", "person_marks", ["kind", "onward", "person"]
    )
    op.create_table(
        "person_baselines",
        sa.Column("kind", sa.String(length=8), nullable=False),
        sa.Column("mean", sa.Float(precision=53), nullable=False),
        sa.Column("concentration", sa.Float(precision=53), nullable=False),
        sa.PrimaryKeyConstraint("kind", name="pk_person_baselines"),
    )
    op.create_index("ix_clips_agent_id_at", "clips", ["agent_id", "at"])
    op.drop_index("ix_clips_agent_id", table_name="clips")
    # The clips that are there are counted by the service, beside its requests.
    op.bulk_insert(marks, [{"kind": kind, "onward": True} for kind in ("customer", "agent")])


def downgrade() -> None:
    op.create_index("ix_clips_agent_id", "clips", ["agent_id"])
    op.drop_index("ix_clips_agent_id_at", table_name="clips")
    op.drop_table("person_baselines")
    op.drop_table("person_marks")
    op.drop_table("people")
