import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
from fakes import soon

from alhambra.data_folder import open_data_folder
from alhambra.launch import Launch
from alhambra.ports import free_port
from alhambra.running import read_running

ALHAMBRA = (sys.executable, "-m", "alhambra.main")
START_SECONDS = 90


def environment(**names: str) -> dict[str, str]:
    ours = ("DATABASE_URL", "REDIS_URL", "KAFKA_BOOTSTRAP_SERVERS", "IBOSS_API_URL", "MARKET_FEED")
    kept = {name: value for name, value in os.environ.items() if name not in ours}
    return {**kept, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path), **names}


def run(*arguments: str, **names: str) -> subprocess.CompletedProcess[str]:
    command = (*ALHAMBRA, *arguments)
    return subprocess.run(command, env=environment(**names), capture_output=True, text=True, timeout=30, check=False)


def refused(*arguments: str, **names: str) -> str:
    """Return the one sentence with which `alhambra up` refuses to start."""
    done = run("up", *arguments, **names)
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1, done.stderr
    return done.stderr


def test_a_port_in_use_is_one_sentence(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert f"Port {port} is in use" in refused("--port", str(port), "--data", str(tmp_path / "data"))
    assert not (tmp_path / "data").exists()


def test_a_folder_of_another_version_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "VERSION").write_text("999\n")
    assert "is of version '999'" in refused("--port", str(free_port()), "--data", str(tmp_path))


def test_a_folder_in_use_is_one_sentence(tmp_path: Path) -> None:
    with open_data_folder(tmp_path):
        assert "is in use by process" in refused("--port", str(free_port()), "--data", str(tmp_path))


def test_a_full_disk_is_one_sentence(tmp_path: Path) -> None:
    mount = ("mount", "-t", "tmpfs", "-o", "size=20m", "small", str(tmp_path))
    if os.geteuid() != 0 or subprocess.run(mount, check=False).returncode:
        pytest.skip("needs the right to mount a small disk")
    try:
        assert "is full" in refused("--port", str(free_port()), "--data", str(tmp_path))
    finally:
        subprocess.run(("umount", str(tmp_path)), check=True)


def test_an_unknown_feed_is_one_sentence(tmp_path: Path) -> None:
    assert "feed" in refused("--port", str(free_port()), "--data", str(tmp_path), "--feed", "tea leaves")


def test_a_given_server_that_is_not_there_is_one_sentence(tmp_path: Path) -> None:
    nowhere = f"redis://127.0.0.1:{free_port()}/0"
    assert "REDIS_URL is set" in refused("--port", str(free_port()), "--data", str(tmp_path), REDIS_URL=nowhere)


@contextmanager
def platform(data: Path, *arguments: str) -> Iterator[tuple[dict[str, Any], subprocess.Popen[str]]]:
    """Run the whole platform; gives the line it prints when everything answers."""
    command = (*ALHAMBRA, "up", "--ready-json", "--port", str(free_port()), "--data", str(data), *arguments)
    command = Launch(command, death_signal=signal.SIGTERM).leashed_command()  # a killed test run leaves nothing
    with (
        (data.parent / "up.err").open("a+") as errors,
        subprocess.Popen(command, env=environment(), stdout=subprocess.PIPE, stderr=errors, text=True) as process,
    ):
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            errors.seek(0)
            assert line, errors.read()
            yield json.loads(line), process
        finally:
            process.send_signal(signal.SIGTERM)
            rest = process.communicate(timeout=12)[0]
            assert rest == "", "standard output holds one line alone"


def is_alive(pid: int) -> bool:
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


def healthy(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/api/health", timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


@pytest.mark.integration
@pytest.mark.timeout(240)
def test_the_platform_lives_survives_the_death_of_its_parts_and_ends_whole(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with platform(data, "--portfolios", "6") as (first, process):
        assert healthy(first["url"])
        os.kill(first["pids"]["stream"], signal.SIGKILL)
        soon(lambda: _renewed(data, first["pids"], "stream"), "the stream is started again", START_SECONDS)
        soon(lambda: healthy(first["url"]), "everything is well again", START_SECONDS)
        pids = {*first["pids"].values(), *(read_running(data) or pytest.fail("it runs")).pids.values()}
        began = time.monotonic()
        process.send_signal(signal.SIGTERM)
        assert process.wait(12) == 0
        assert time.monotonic() - began < 10
    assert not [pid for pid in pids if is_alive(pid)]
    assert not (data / "lock").exists()
    said = (tmp_path / "up.err").read_text()
    assert "stream was ended by signal 9" in said
    assert "\x1b" not in said

    with platform(data) as (second, process):
        assert healthy(second["url"])
        assert second["logins"] == first["logins"]
        pids = set(second["pids"].values())
        process.kill()
        process.wait()
        soon(lambda: not [pid for pid in pids if is_alive(pid)], "no child outlives the killed supervisor")


def _renewed(data: Path, before: dict[str, int], name: str) -> bool:
    running = read_running(data)
    return running is not None and running.pids.get(name, before[name]) != before[name]
