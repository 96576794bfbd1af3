"""`alhambra watch` finds what is meant, prints lines where there is no terminal, and leaves one as it was."""

from __future__ import annotations

import asyncio
import io
import os
import pty
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from fakes import eventually
from fakes_api import PASSWORD, Cast, RunningApi, create_valuation, email, open_api, publish, publish_totals, seed_cast
from rich.console import Console

from alhambra.data_folder import DataFolder
from alhambra.errors import CannotStart
from alhambra.running import Address, write_running
from alhambra.watch import Wish, run_watch
from db.live import LiveStore, create_redis

COMMAND = (sys.executable, "-m", "alhambra.main", "watch")


@pytest.fixture(scope="module")
async def cast(module_postgres_url: str) -> Cast:
    return await seed_cast(module_postgres_url)


@pytest.fixture(scope="module")
async def api(module_postgres_url: str, module_redis_url: str, cast: Cast) -> AsyncIterator[RunningApi]:
    redis = create_redis(module_redis_url, "tests")
    store = LiveStore(redis)
    await publish(store, create_valuation(cast.bens, {"AAPL": (100_000, 500), "USD": (7, 0)}, seq=1))
    await publish_totals(store, {cast.growth: (10_000, 100), cast.income: (5_000, -30)})
    async with open_api(module_postgres_url, module_redis_url, sign_in_attempts=1000) as running:
        yield running
    await redis.aclose()


@pytest.fixture
def data(api: RunningApi, tmp_path: Path) -> Path:
    """Return a data folder that says that the platform runs, with ben, an advisor and compliance as its people."""
    folder = DataFolder(tmp_path / "data")
    folder.run.mkdir(parents=True)
    folder.lock_file.touch()
    people = (("client", "ben"), ("advisor", "advisor"), ("compliance", "compliance"))
    logins = [{"role": role, "name": name, "email": email(name), "password": PASSWORD} for role, name in people]
    write_running(folder, Address(api.url, logins, [], "", "", "", "", {}))
    return tmp_path / "data"


async def first_line(wish: Wish) -> str:
    """Watch until the first line is printed, and return it."""
    output = io.StringIO()
    watching = asyncio.create_task(run_watch(wish, Console(file=output, width=200)))
    try:
        await eventually(lambda: watching.done() or "\n" in output.getvalue(), "a line is printed")
    finally:
        watching.cancel()
        await asyncio.wait({watching})
    if not watching.cancelled():
        watching.result()
    return output.getvalue().splitlines()[0]


async def test_without_options_it_watches_what_the_first_client_has(data: Path) -> None:
    assert "Core  USD 1,000.07  day +5.00  +0.50 %  whole" in await first_line(Wish(data=data))


async def test_a_portfolio_is_found_by_a_part_of_its_name_or_by_its_id(data: Path, cast: Cast) -> None:
    assert "  Core  " in await first_line(Wish("cor", data=data))
    assert "  Core  " in await first_line(Wish(str(cast.bens), data=data))
    with pytest.raises(CannotStart, match="'nothing'"):
        await first_line(Wish("nothing", data=data))


async def test_an_advisor_watches_the_book(data: Path, api: RunningApi, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALHAMBRA_PASSWORD", PASSWORD)
    assert "USD 300.00  day +1.40" in await first_line(Wish(url=api.url, email=email("advisor")))
    with pytest.raises(CannotStart, match=r"Several portfolios have 'o' .* Growth of Ana Alba, Income of Ana Alba"):
        await first_line(Wish("o", url=api.url, email=email("advisor")))
    with pytest.raises(CannotStart, match="there are: Growth of Ana Alba"):
        await first_line(Wish("cor", url=api.url, email=email("advisor")))


async def test_what_keeps_it_from_watching_is_one_sentence(
    api: RunningApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALHAMBRA_PASSWORD", "wrong")
    wishes = {
        "Nothing runs in": Wish(data=tmp_path),
        "does not answer": Wish(url="http://127.0.0.1:9", demo=True),
        "Give the address": Wish(url="127.0.0.1", demo=True),
        "Say who you are": Wish(url=api.url),
        "refuses: The name or the password is wrong": Wish(url=api.url, email=email("ben")),
    }
    for sentence, wish in wishes.items():
        with pytest.raises(CannotStart, match=sentence):
            await first_line(wish)


@asynccontextmanager
async def terminal(*options: str) -> AsyncIterator[tuple[asyncio.subprocess.Process, bytearray]]:
    """Run the command in a pseudo-terminal; yields the process and what it has written so far."""
    ours, theirs = pty.openpty()
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "80", "LINES": "24"}
    process = await asyncio.create_subprocess_exec(
        *COMMAND, *options, stdin=theirs, stdout=theirs, stderr=theirs, env=environment, start_new_session=True
    )
    os.close(theirs)
    written, loop = bytearray(), asyncio.get_running_loop()

    def read() -> None:
        try:
            written.extend(os.read(ours, 65536))
        except OSError:  # the other end is closed
            loop.remove_reader(ours)

    loop.add_reader(ours, read)
    try:
        yield process, written
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
        loop.remove_reader(ours)
        os.close(ours)


@pytest.mark.parametrize(("end", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
async def test_a_terminal_is_left_as_it_was(api: RunningApi, end: signal.Signals, status: int) -> None:
    async with terminal("--demo", "--url", api.url) as (process, written):
        await eventually(lambda: b"Demonstration" in written and "● live".encode() in written, "it is drawn", 40)
        process.send_signal(end)
        assert await asyncio.wait_for(process.wait(), 20) == status
        await eventually(lambda: written.rfind(b"\x1b[?1049l") > written.rfind(b"\x1b[?1049h"), "the screen is back")
        assert written.rfind(b"\x1b[?25h") > written.rfind(b"\x1b[?25l")
        assert b"Traceback" not in written


async def test_who_reads_its_lines_may_stop(api: RunningApi) -> None:
    process = await asyncio.create_subprocess_exec(
        *COMMAND, "--demo", "--url", api.url, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stderr is not None
    assert b"Demonstration" in await asyncio.wait_for(process.stdout.readline(), 40)
    process.stdout.feed_eof()
    process._transport.get_pipe_transport(1).close()  # type: ignore[attr-defined]  # as `| head -1` does
    assert await asyncio.wait_for(process.wait(), 20) == 0
    assert await process.stderr.read() == b""
