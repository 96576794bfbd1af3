import asyncio
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Awaitable, Callable
from pathlib import Path

import psutil
import pytest
from fakes import eventually, soon

from alhambra.child import Child, State
from alhambra.errors import ChildFailed
from alhambra.launch import Launch
from alhambra.log_file import trim_log
from alhambra.supervise import open_supervisor

SERVE = "import time, pathlib, sys; pathlib.Path(sys.argv[1]).write_text('up'); time.sleep(600)"
STUBBORN = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); " + SERVE


def child(name: str, folder: Path, program: str = SERVE, **options: object) -> Child:
    mark = folder / name

    def launch() -> Launch:
        mark.unlink(missing_ok=True)
        return Launch((sys.executable, "-c", program, str(mark)))

    return Child(name, launch, exists(mark), **options)  # type: ignore[arg-type] - the options are the test's


def exists(mark: Path) -> Callable[[], Awaitable[bool]]:
    async def answers() -> bool:
        return await asyncio.to_thread(mark.exists)

    return answers


def is_alive(pid: int) -> bool:
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


async def test_a_child_that_is_killed_is_started_again_and_said_so(tmp_path: Path) -> None:
    told: list[str] = []
    async with open_supervisor(tmp_path, told.append) as supervisor:
        await supervisor.start(child("one", tmp_path))
        first = supervisor.pids["one"]
        os.kill(first, signal.SIGKILL)
        await eventually(lambda: supervisor.pids.get("one", first) != first, "there is a new process")
        await eventually(lambda: supervisor.states["one"] is State.READY, "it is ready")
    assert any("one was ended by signal 9" in line for line in told)


async def test_those_who_follow_a_restarted_child_are_restarted_too_and_others_are_not(tmp_path: Path) -> None:
    async with open_supervisor(tmp_path, lambda _line: None) as supervisor:
        follower = child("follower", tmp_path, follows=("broker",), rank=1)
        await supervisor.start(child("broker", tmp_path), follower, child("other", tmp_path, rank=1))
        before = dict(supervisor.pids)
        os.kill(before["broker"], signal.SIGKILL)
        await eventually(
            lambda: supervisor.pids.keys() == before.keys() and supervisor.pids["follower"] != before["follower"],
            "the follower is new",
        )
        assert supervisor.pids["broker"] != before["broker"]
        assert supervisor.pids["other"] == before["other"]


async def test_all_children_are_ended_in_time_although_one_ignores_being_asked(tmp_path: Path) -> None:
    loop = asyncio.get_running_loop()
    async with open_supervisor(tmp_path, lambda _line: None) as supervisor:
        await supervisor.start(child("polite", tmp_path), child("stubborn", tmp_path, STUBBORN, rank=1))
        pids = supervisor.pids.values()
        began = loop.time()
    assert loop.time() - began < 10
    assert not any(is_alive(pid) for pid in pids)


@pytest.mark.parametrize("turns", range(8))
async def test_stopping_works_although_a_child_died_a_moment_before(tmp_path: Path, turns: int) -> None:
    async with asyncio.timeout(10), open_supervisor(tmp_path, lambda _line: None) as supervisor:
        await supervisor.start(child("one", tmp_path))
        os.kill(supervisor.pids["one"], signal.SIGTERM)
        while supervisor.pids:  # noqa: ASYNC110 - turn by turn: which one it is matters here
            await asyncio.sleep(0)
        for _ in range(turns):  # the cancellation must not be lost in whichever step the keeper is
            await asyncio.sleep(0)
    assert supervisor.pids == {}


async def test_children_of_a_higher_rank_are_stopped_first(tmp_path: Path) -> None:
    order = tmp_path / "order"
    program = (
        "import signal, sys, pathlib\n"
        "name = pathlib.Path(sys.argv[1])\n"
        f"def end(*_): open({str(order)!r}, 'a').write(name.name + ' '); sys.exit(0)\n"
        "signal.signal(signal.SIGTERM, end); name.write_text('up')\n"
        "while True: signal.pause()"
    )
    async with open_supervisor(tmp_path, lambda _line: None) as supervisor:
        ranked = [child(f"rank{rank}", tmp_path, program, rank=rank) for rank in (0, 2, 1)]
        await supervisor.start(*ranked)
    assert order.read_text().split() == ["rank2", "rank1", "rank0"]


async def test_a_start_that_fails_names_the_culprit_shows_its_log_and_leaves_nothing(tmp_path: Path) -> None:
    pids: list[int] = []
    async with open_supervisor(tmp_path, lambda _line: None) as supervisor:
        await supervisor.start(child("good", tmp_path))
        pids.extend(supervisor.pids.values())
        with pytest.raises(ChildFailed) as failure:
            await supervisor.start(child("bad", tmp_path, "raise SystemExit('no such table')"))
    assert failure.value.name == "bad"
    assert "no such table" in failure.value.tail
    assert not any(is_alive(pid) for pid in pids)


async def test_a_grandchild_that_outlives_its_parent_is_ended_with_it(tmp_path: Path) -> None:
    program = (
        "import subprocess, sys, pathlib, time\n"
        "other = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        "pathlib.Path(sys.argv[1]).write_text(str(other.pid)); time.sleep(600)"
    )
    async with open_supervisor(tmp_path, lambda _line: None) as supervisor:
        await supervisor.start(child("parent", tmp_path, program))
        grandchild = int((tmp_path / "parent").read_text())
    await eventually(lambda: not is_alive(grandchild), "the grandchild is gone")


SUPERVISED = """
import asyncio, pathlib, sys
sys.path[:0] = {path!r}
from alhambra.supervise import open_supervisor
from test_supervise import child
folder = pathlib.Path({folder!r})
async def main():
    async with open_supervisor(folder, print) as supervisor:
        await supervisor.start(*(child(name, folder) for name in "abc"))
        (folder / "pids").write_text(" ".join(map(str, supervisor.pids.values())))
        await asyncio.sleep(600)
asyncio.run(main())
"""


def test_no_child_outlives_a_supervisor_that_is_killed(tmp_path: Path) -> None:
    program = textwrap.dedent(SUPERVISED).format(path=[*sys.path, str(Path(__file__).parent)], folder=str(tmp_path))
    with subprocess.Popen([sys.executable, "-c", program]) as supervisor:
        try:
            pids = soon((tmp_path / "pids").exists, "the children run") and (tmp_path / "pids").read_text
            children = soon(lambda: [int(pid) for pid in pids().split()], "their pids are said")
        finally:
            supervisor.kill()
    soon(lambda: not any(is_alive(pid) for pid in children), "the children are gone", seconds=5)


def test_a_log_is_kept_within_bounds_while_its_writer_goes_on(tmp_path: Path) -> None:
    file = tmp_path / "x.log"
    with file.open("ab", buffering=0) as writer:
        writer.write(b"old" * 100)
        trim_log(file, limit=200)
        writer.write(b"new")
    assert file.read_bytes() == b"new"
    assert (tmp_path / "x.log.1").read_bytes() == b"old" * 100
