"""Keep the rate of a booking: see the SQL of the same name."""

from db.migrate import run_script

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    run_script(__file__)
