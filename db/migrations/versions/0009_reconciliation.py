"""Breaks between positions and bookings: see the SQL of the same name."""

from db.migrate import run_script

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    run_script(__file__)
