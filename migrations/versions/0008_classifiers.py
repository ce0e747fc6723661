"""classifiers: users' labels, what was learnt from them, and its scores"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
JSON = sa.JSON(none_as_null=True).with_variant(postgresql.JSONB(none_as_null=True), "postgresql")
TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "classifiers",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("is_whole", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_classifiers"),
        sa.UniqueConstraint("name", name="uq_classifiers_name"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "classifier_labels",
        sa.Column("classifier_id", sa.Integer(), nullable=False),
        sa.Column("clip_id", ID, nullable=False),
        sa.Column("label", sa.String(length=200), nullable=False),
        sa.ForeignKeyConstraint(
            ["classifier_id"],
            ["classifiers.id"],
            name="fk_classifier_labels_classifier_id",
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["clip_id"], ["clips.id"], name="fk_classifier_labels_clip_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("classifier_id", "clip_id", name="pk_classifier_labels"),
    )
    op.create_index("ix_classifier_labels_clip_id", "classifier_labels", ["clip_id"])
    op.create_table(
        "classifier_fits",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("classifier_id", sa.Integer(), nullable=True),
        sa.Column("model_id", sa.Integer(), nullable=False),
        sa.Column("trained_at", TIME, nullable=False),
        sa.Column("classes", JSON, nullable=False),
        sa.Column("dtype", sa.String(length=3), nullable=False),
        sa.Column("shapes", JSON, nullable=False),
        sa.Column("mean", sa.LargeBinary(), nullable=False),
        sa.Column("scale", sa.LargeBinary(), nullable=False),
        sa.Column("weights", sa.LargeBinary(), nullable=False),
        sa.Column("bias", sa.LargeBinary(), nullable=False),
        sa.Column("quality", JSON, nullable=False),
        sa.ForeignKeyConstraint(
            ["classifier_id"],
            ["classifiers.id"],
            name="fk_classifier_fits_classifier_id",
            ondelete="SET NULL",
        ),
        sa.ForeignKeyConstraint(["model_id"], ["models.id"], name="fk_classifier_fits_model_id"),
        sa.PrimaryKeyConstraint("id", name="pk_classifier_fits"),
        sa.UniqueConstraint(
            "classifier_id", "model_id", name="uq_classifier_fits_classifier_id_model_id"
        ),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "classifier_scores",
        sa.Column("clip_id", ID, nullable=False),
        sa.Column("fit_id", sa.Integer(), nullable=False),
        sa.Column("class_number", sa.Integer(), nullable=False),
        sa.Column("probability", sa.Float(precision=53), nullable=False),
        sa.Column("is_top", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(
            ["clip_id"], ["clips.id"], name="fk_classifier_scores_clip_id", ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["fit_id"], ["classifier_fits.id"], name="fk_classifier_scores_fit_id"
        ),
        sa.PrimaryKeyConstraint("clip_id", "fit_id", "class_number", name="pk_classifier_scores"),
        sqlite_with_rowid=False,
    )
    op.create_index(
        "ix_classifier_scores_fit_id_class_number_probability_clip_id",
        "classifier_scores",
        ["fit_id", "class_number", "probability", "clip_id"],
    )
    op.create_table(
        "classifier_applies",
        sa.Column("classifier_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("fit_id", sa.Integer(), nullable=True),
        sa.Column("state", sa.String(length=10), nullable=False),
        sa.Column("done", sa.BigInteger(), nullable=False),
        sa.Column("total", sa.BigInteger(), nullable=False),
        sa.Column("counts", JSON, nullable=False),
        sa.Column("started_at", TIME, nullable=False),
        sa.Column("finished_at", TIME, nullable=True),
        sa.Column("message", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(
            ["classifier_id"],
            ["classifiers.id"],
            name="fk_classifier_applies_classifier_id",
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["fit_id"],
            ["classifier_fits.id"],
            name="fk_classifier_applies_fit_id",
            ondelete="SET NULL",
        ),
        sa.PrimaryKeyConstraint("classifier_id", name="pk_classifier_applies"),
    )
    op.create_index("ix_classifier_applies_fit_id", "classifier_applies", ["fit_id"])


def downgrade() -> None:
    for name in ("applies", "scores", "fits", "labels"):
        op.drop_table(f"classifier_{name}")
    op.drop_table("classifiers")
