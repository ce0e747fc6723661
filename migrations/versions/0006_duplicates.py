"""duplicates: fingerprints of recordings, pairs that were found, and what was decided of pairs"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def _clip(name: str, table: str) -> list[sa.schema.SchemaItem]:
    key = sa.ForeignKeyConstraint(
        [name], ["clips.id"], name=op.f(f"fk_{table}_{name}"), ondelete="CASCADE"
    )
    return [sa.Column(name, ID, nullable=False), key]


def upgrade() -> None:
    op.create_table(
        "fingerprints",
        *_clip("clip_id", "fingerprints"),
        sa.Column("packed", sa.LargeBinary(), nullable=False),
        sa.Column("compared", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("clip_id", name=op.f("pk_fingerprints")),
    )
    op.create_index(op.f("ix_fingerprints_compared"), "fingerprints", ["compared"])
    op.create_table(
        "duplicate_pairs",
        *_clip("low_id", "duplicate_pairs"),
        *_clip("high_id", "duplicate_pairs"),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("similarity", sa.Float(precision=53), nullable=False),
        sa.PrimaryKeyConstraint("low_id", "high_id", "kind", name=op.f("pk_duplicate_pairs")),
    )
    op.create_index(op.f("ix_duplicate_pairs_high_id"), "duplicate_pairs", ["high_id"])
    op.create_table(
        "duplicate_decisions",
        *_clip("low_id", "duplicate_decisions"),
        *_clip("high_id", "duplicate_decisions"),
        sa.Column("decision", sa.String(length=7), nullable=False),
        sa.Column("decided_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("low_id", "high_id", name=op.f("pk_duplicate_decisions")),
    )
    op.create_index(op.f("ix_duplicate_decisions_high_id"), "duplicate_decisions", ["high_id"])


def downgrade() -> None:
    op.drop_table("duplicate_decisions")
    op.drop_table("duplicate_pairs")
    op.drop_table("fingerprints")
