"""Splits and other corporate actions: see the SQL of the same name."""

from db.migrate import run_script

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    run_script(__file__)
