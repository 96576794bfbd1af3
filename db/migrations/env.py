"""Run the migrations on the connection that `db.migrate` hands over; alembic reads this file."""

from alembic import context

context.configure(connection=context.config.attributes["connection"], transactional_ddl=True)
with context.begin_transaction():
    context.run_migrations()
