"""Keep minutes as they are computed, with what they were computed from: see the SQL of the same name."""

from db.migrate import run_script

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    run_script(__file__)
