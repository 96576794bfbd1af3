"""Imported statements: see the SQL of the same name."""

from db.migrate import run_script

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    run_script(__file__)
