from __future__ import annotations

import asyncio
import re
import sys
from pathlib import Path

from fakes import eventually
from fakes_api import PASSWORD, Cast, RunningApi, create_valuation, email, publish

from db.live import LiveStore

GUIDE = Path(__file__).parents[2] / "docs" / "protocol.md"


async def test_the_guides_python_sample_follows_a_portfolio(
    api: RunningApi, store: LiveStore, cast: Cast, tmp_path: Path
) -> None:
    sample = re.findall(r"```python\n(.*?)```", GUIDE.read_text(encoding="utf-8"), re.DOTALL)[0]
    script, output = tmp_path / "follow.py", tmp_path / "output"
    script.write_text(sample, encoding="utf-8")
    await publish(store, create_valuation(cast.bens, {"AAPL": (100_000, 500)}, seq=1))
    command = (sys.executable, str(script), api.url, email("ben"), PASSWORD)
    with output.open("wb") as sink:
        process = await asyncio.create_subprocess_exec(*command, stdout=sink, stderr=sink)
        try:
            await eventually(lambda: "Core 1000.0 5.0" in output.read_text(), "the snapshot is shown")
            await publish(store, create_valuation(cast.bens, {"AAPL": (100_100, 600)}, seq=2))
            await eventually(lambda: "Core 1001.0 6.0" in output.read_text(), "the delta is shown")
        finally:
            process.kill()
            await process.wait()
