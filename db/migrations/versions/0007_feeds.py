"""Symbols of venues, and crypto-assets: see the SQL of the same name."""

from db.migrate import run_script

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    run_script(__file__)
