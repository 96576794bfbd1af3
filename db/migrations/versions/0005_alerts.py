"""Alerts on prices and portfolios: see the SQL of the same name."""

from db.migrate import run_script

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    run_script(__file__)
