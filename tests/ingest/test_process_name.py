"""A process is taken for dead only where that is certain: on the same machine, by number and start."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace

import pytest
from fakes import soon

from ingest.process_name import ProcessName, is_dead, own_name, parse_name

OWN = own_name()

pytestmark = pytest.mark.skipif(not OWN.machine, reason="this system does not tell its processes apart for sure")


def name_of(pid: int) -> ProcessName:
    """Return the name that another process of this machine gives itself."""
    with open(f"/proc/{pid}/stat", encoding="utf-8") as stat:
        return replace(OWN, pid=pid, since=stat.read().rpartition(")")[2].split()[19])


def test_a_name_is_the_same_when_it_is_read_again() -> None:
    assert parse_name(str(OWN)) == OWN == own_name()
    bare = ProcessName("host", 7)
    assert parse_name(str(bare)) == bare
    for text in ("", "somebody", "host x", "host 7 a b c d", "host -7"):
        assert parse_name(text) is None


def test_a_process_lives_until_it_has_ended_and_is_dead_while_nobody_has_asked_how() -> None:
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        name = name_of(process.pid)
        assert not is_dead(name, OWN)
    finally:
        process.kill()
    soon(lambda: is_dead(name, OWN), "the one that was killed is dead, as a zombie")
    process.communicate()
    assert is_dead(name, OWN)


def test_another_process_with_the_number_of_a_dead_one_is_not_taken_for_it() -> None:
    assert is_dead(replace(OWN, since=str(int(OWN.since) - 1)), OWN)
    assert not is_dead(OWN, OWN)


@pytest.mark.parametrize("elsewhere", [{"host": "other"}, {"machine": "other"}, {"space": "pid:[1]"}])
def test_of_a_process_elsewhere_nothing_is_known(elsewhere: dict[str, str]) -> None:
    process = subprocess.Popen([sys.executable, "-c", ""])
    gone = replace(OWN, pid=process.pid, since="1")
    process.wait()
    assert is_dead(gone, OWN)
    assert not is_dead(replace(gone, **elsewhere), OWN)  # type: ignore[arg-type]  # a mapping of texts
    assert not is_dead(ProcessName(OWN.host, process.pid), OWN)


def test_a_process_of_another_user_is_not_dead() -> None:
    if os.getuid() == 0:
        pytest.skip("root may signal everybody")
    assert not is_dead(replace(OWN, pid=1, since="0"), OWN)
