"""first tables"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
JSON = sa.JSON(none_as_null=True).with_variant(postgresql.JSONB(none_as_null=True), "postgresql")


def upgrade() -> None:
    op.create_table(
        "idempotency_keys",
        sa.Column("key", sa.String(length=200), nullable=False),
        sa.Column("fingerprint", sa.String(length=64), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("clip_id", ID, nullable=False),
        sa.Column("second_clip_id", ID, nullable=True),
        sa.Column("answer", JSON, nullable=True),
        sa.PrimaryKeyConstraint("key", name="pk_idempotency_keys"),
    )
    op.create_index("ix_idempotency_keys_clip_id", "idempotency_keys", ["clip_id"])
    op.create_index("ix_idempotency_keys_created_at", "idempotency_keys", ["created_at"])
    op.create_index("ix_idempotency_keys_second_clip_id", "idempotency_keys", ["second_clip_id"])

    op.create_table(
        "models",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(length=500), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("dimension", sa.Integer(), nullable=False),
        sa.Column("bundled", sa.Boolean(), nullable=False),
        sa.Column("active", sa.Boolean(), nullable=False),
        sa.Column("prior_mean", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_models"),
        sa.UniqueConstraint("digest", name="uq_models_digest"),
    )
    op.create_table(
        "database",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_database"),
    )
    op.create_table(
        "doomed_files",
        sa.Column("clip_id", ID, autoincrement=False, nullable=False),
        sa.Column("audio_key", sa.String(length=40), nullable=True),
        sa.Column("result_dir", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("clip_id", name="pk_doomed_files"),
    )
    op.create_table(
        "clips",
        sa.Column("id", ID, nullable=False),
        sa.Column("model_id", sa.Integer(), nullable=False),
        sa.Column("stored_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("recorded_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("duration", sa.Float(precision=53), nullable=False),
        sa.Column("channel", sa.String(length=5), nullable=False),
        sa.Column("container", sa.String(length=20), nullable=False),
        sa.Column("codec", sa.String(length=40), nullable=False),
        sa.Column("sample_rate", sa.Integer(), nullable=False),
        sa.Column("channels", sa.Integer(), nullable=False),
        sa.Column("file_sha256", sa.String(length=64), nullable=False),
        sa.Column("audio_sha256", sa.String(length=64), nullable=False),
        sa.Column("customer_id", sa.String(length=200), nullable=True),
        sa.Column("call_id", sa.String(length=200), nullable=True),
        sa.Column("agent_id", sa.String(length=200), nullable=True),
        sa.Column("metadata", JSON, nullable=False),
        sa.Column("indexable", sa.Boolean(), nullable=False),
        sa.Column("emotion", sa.String(length=9), nullable=False),
        sa.Column("confidence", sa.Float(precision=53), nullable=False),
        sa.Column("audio_key", sa.String(length=40), nullable=True),
        sa.Column("result_dir", sa.Text(), nullable=True),
        sa.Column("warnings", JSON, nullable=False),
        sa.Column("score_angry", sa.Float(precision=53), nullable=False),
        sa.Column("score_disgusted", sa.Float(precision=53), nullable=False),
        sa.Column("score_fearful", sa.Float(precision=53), nullable=False),
        sa.Column("score_happy", sa.Float(precision=53), nullable=False),
        sa.Column("score_neutral", sa.Float(precision=53), nullable=False),
        sa.Column("score_other", sa.Float(precision=53), nullable=False),
        sa.Column("score_sad", sa.Float(precision=53), nullable=False),
        sa.Column("score_surprised", sa.Float(precision=53), nullable=False),
        sa.Column("score_unknown", sa.Float(precision=53), nullable=False),
        sa.ForeignKeyConstraint(["model_id"], ["models.id"], name="fk_clips_model_id"),
        sa.PrimaryKeyConstraint("id", name="pk_clips"),
        sa.UniqueConstraint("audio_key", name="uq_clips_audio_key"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_clips_agent_id", "clips", ["agent_id"])
    op.create_index("ix_clips_at", "clips", ["at"])
    op.create_index("ix_clips_audio_sha256", "clips", ["audio_sha256"])
    op.create_index("ix_clips_call_id", "clips", ["call_id"])
    op.create_index("ix_clips_customer_id_at", "clips", ["customer_id", "at"])
    op.create_index("ix_clips_emotion_confidence", "clips", ["emotion", "confidence"])
    op.create_index("ix_clips_file_sha256", "clips", ["file_sha256"])

    op.create_table(
        "clip_metadata",
        sa.Column("clip_id", ID, nullable=False),
        sa.Column("digest", sa.LargeBinary(length=16), nullable=False),
        sa.ForeignKeyConstraint(
            ["clip_id"], ["clips.id"], name="fk_clip_metadata_clip_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("clip_id", "digest", name="pk_clip_metadata"),
    )
    op.create_index("ix_clip_metadata_digest_clip_id", "clip_metadata", ["digest", "clip_id"])

    op.create_table(
        "clip_tags",
        sa.Column("clip_id", ID, nullable=False),
        sa.Column("tag", sa.String(length=200), nullable=False),
        sa.ForeignKeyConstraint(
            ["clip_id"], ["clips.id"], name="fk_clip_tags_clip_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("clip_id", "tag", name="pk_clip_tags"),
    )
    op.create_index("ix_clip_tags_tag_clip_id", "clip_tags", ["tag", "clip_id"])

    op.create_table(
        "embeddings",
        sa.Column("model_id", sa.Integer(), nullable=False),
        sa.Column("clip_id", ID, nullable=False),
        sa.Column("vector", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["clip_id"], ["clips.id"], name="fk_embeddings_clip_id", ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["model_id"], ["models.id"], name="fk_embeddings_model_id"),
        sa.PrimaryKeyConstraint("model_id", "clip_id", name="pk_embeddings"),
    )
    op.create_index("ix_embeddings_clip_id", "embeddings", ["clip_id"])


def downgrade() -> None:

    op.drop_table("embeddings")

    op.drop_table("clip_tags")

    op.drop_table("clip_metadata")

    op.drop_table("clips")
    op.drop_table("models")

    op.drop_table("doomed_files")
    op.drop_table("database")
    op.drop_table("idempotency_keys")
