"""spaces: a second model beside the active one, and what it makes of the clips"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
FLOAT = sa.Float(precision=53)
LABELS = ("angry", "disgusted", "fearful", "happy", "neutral", "other", "sad", "surprised")


def upgrade() -> None:
    op.add_column(
        "models", sa.Column("beside", sa.Boolean(), nullable=False, server_default=sa.false())
    )
    op.create_table(
        "recognitions",
        sa.Column("model_id", sa.Integer(), nullable=False),
        sa.Column("clip_id", ID, nullable=False),
        sa.Column("emotion", sa.String(length=9), nullable=True),
        sa.Column("confidence", FLOAT, nullable=True),
        *(sa.Column(f"score_{label}", FLOAT, nullable=True) for label in (*LABELS, "unknown")),
        sa.ForeignKeyConstraint(
            ["clip_id"], ["clips.id"], name="fk_recognitions_clip_id", ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["model_id"], ["models.id"], name="fk_recognitions_model_id"),
        sa.PrimaryKeyConstraint("model_id", "clip_id", name="pk_recognitions"),
    )
    op.create_index("ix_recognitions_clip_id", "recognitions", ["clip_id"])


def downgrade() -> None:
    op.drop_table("recognitions")
    op.drop_column("models", "beside")
