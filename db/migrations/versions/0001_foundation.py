"""Lay the foundation: see the SQL of the same name."""

from db.migrate import run_script

revision = "0001"
down_revision = None


def upgrade() -> None:
    run_script(__file__)
