"""imports: clips of which less is known, and what was imported

Undoing it fails while there are clips whose scores or file facts are not known.
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
FLOAT = sa.Float(precision=53)
SCORES = ("angry", "disgusted", "fearful", "happy", "neutral", "other", "sad", "surprised")
COLUMNS = {
    "duration": FLOAT,
    "container": sa.String(length=20),
    "codec": sa.String(length=40),
    "sample_rate": sa.Integer(),
    "channels": sa.Integer(),
    "file_sha256": sa.String(length=64),
    "audio_sha256": sa.String(length=64),
    "emotion": sa.String(length=9),
    "confidence": FLOAT,
    **{f"score_{label}": FLOAT for label in (*SCORES, "unknown")},
}


def upgrade() -> None:
    set_nullable(True)
    op.create_table(
        "imports",
        sa.Column("key", sa.String(length=64), nullable=False),
        sa.Column("model_id", sa.Integer(), nullable=False),
        sa.Column("rows", sa.BigInteger(), nullable=False),
        sa.Column("done", sa.BigInteger(), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("clip_id", ID, nullable=True),
        sa.ForeignKeyConstraint(
            ["clip_id"], ["clips.id"], name="fk_imports_clip_id", ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["model_id"], ["models.id"], name="fk_imports_model_id"),
        sa.PrimaryKeyConstraint("key", "model_id", name="pk_imports"),
    )
    op.create_index("ix_imports_clip_id", "imports", ["clip_id"])


def downgrade() -> None:
    op.drop_table("imports")
    set_nullable(False)


def set_nullable(nullable: bool) -> None:
    connection = op.get_bind()
    sqlite = connection.dialect.name == "sqlite"
    # SQLite makes the table anew, and would give the ids of deleted clips again.
    highest = None
    if sqlite:
        highest = connection.scalar(sa.text("SELECT seq FROM sqlite_sequence WHERE name = 'clips'"))
    with op.batch_alter_table("clips", table_kwargs={"sqlite_autoincrement": True}) as batch:
        for name, type_ in COLUMNS.items():
            batch.alter_column(name, existing_type=type_, nullable=nullable)
    if highest is not None:
        connection.execute(sa.text("DELETE FROM sqlite_sequence WHERE name = 'clips'"))
        connection.execute(
            sa.text("INSERT INTO sqlite_sequence (name, seq) VALUES ('clips', :seq)"),
            {"seq": highest},
        )
