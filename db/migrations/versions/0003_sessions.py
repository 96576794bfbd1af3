"""Know when exchanges hold sessions and where a portfolio's day begins: see the SQL of the same name."""

from db.migrate import run_script

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    run_script(__file__)
