"""Leases: one leader a source: see the SQL of the same name."""

from db.migrate import run_script

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    run_script(__file__)
