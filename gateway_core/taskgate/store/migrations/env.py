"""Run by Alembic. The connection and its transaction belong to the caller (`taskgate.store.migrate.upgrade`)."""

from alembic import context

from taskgate.store.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    transactional_ddl=True,
    render_as_batch=True,
)
context.run_migrations()
