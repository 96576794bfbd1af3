import io
import socket
from pathlib import Path

from rich.console import Console

from alhambra.doctor import Finding, database_finding, examine, folder_finding, port_finding, show
from alhambra.ports import free_port
from alhambra.settings import DoorSettings


async def test_where_nothing_is_missing_all_is_said_to_be_there(tmp_path: Path) -> None:
    findings = await examine(tmp_path / "data", free_port(), DoorSettings())
    assert [one.subject for one in findings if one.ok is False] == []
    assert show(findings, Console(file=io.StringIO()))


async def test_a_database_that_is_away_or_not_migrated_is_a_fault_with_advice(
    empty_postgres_url: str,
) -> None:
    away = await database_finding(f"postgresql://127.0.0.1:{free_port()}/none")
    assert (away.ok, away.advice) == (False, "Start it or mend the URL.")
    bare = await database_finding(empty_postgres_url)
    assert (bare.ok, bare.advice) == (False, "Run `alhambra migrate`.")


async def test_a_migrated_database_is_well(postgres_url: str) -> None:
    assert (await database_finding(postgres_url)).ok


def test_a_taken_port_is_a_fault_unless_it_is_ours() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert port_finding(port, running=False).ok is False
        assert port_finding(port, running=True).ok


def test_a_folder_of_another_version_is_a_fault(tmp_path: Path) -> None:
    (tmp_path / "VERSION").write_text("999")
    assert folder_finding(tmp_path, running=False).ok is False


def test_one_fault_makes_the_whole_unwell() -> None:
    findings = [Finding("a", True, "there"), Finding("b", None, "absent"), Finding("c", False, "broken", "mend it")]
    assert not show(findings, Console(file=io.StringIO()))
