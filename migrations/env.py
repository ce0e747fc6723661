"""Runs migrations on the connection that the store passes, or on the settings' database."""

from alembic import context
from sqlalchemy import create_engine

from app.settings import load_settings
from app.store.analysis_tables import Base  # which knows all tables


def run(connection) -> None:
    context.configure(
        connection=connection,
        target_metadata=Base.metadata,
        compare_type=True,
        render_as_batch=connection.dialect.name == "sqlite",
    )
    with context.begin_transaction():
        context.run_migrations()


if context.is_offline_mode():
    context.configure(
        url=load_settings().sqlalchemy_url,
        target_metadata=Base.metadata,
        literal_binds=True,
    )
    with context.begin_transaction():
        context.run_migrations()
elif (given := context.config.attributes.get("connection")) is not None:
    run(given)
else:
    with create_engine(load_settings().sqlalchemy_url).connect() as opened:
        run(opened)
