"""The status page keeps itself as of now, in a real browser."""

from __future__ import annotations

from dataclasses import replace

from fakes_dashboard import Stage
from tabs import OpenTab, Tab

LEVELS = "[...document.querySelectorAll('.component')].map((line) => line.dataset.level)"


def complaints(tab: Tab) -> list[str]:
    """Return what the browser complained of, but for hints at what only pages with a table and charts use."""
    return [one for one in tab.complaints if "preloaded" not in one]


async def test_staff_sees_a_part_fail_and_recover_without_a_load(stage: Stage, open_tab: OpenTab) -> None:
    tab = await open_tab("advisor", "/status")
    await tab.until("document.querySelectorAll('.component').length === 7")
    assert (await tab.value(LEVELS)).count("failed") == 1
    stage.data.components = tuple(replace(one, level="ok", detail="is well") for one in stage.data.components)
    stage.data.summary = "ok"
    await tab.until(f"{LEVELS}.every((level) => level === 'ok')")
    assert await tab.value("document.getElementById('summary').textContent") == "All is well."
    assert await tab.value("document.getElementById('as-of').textContent")
    assert complaints(tab) == []


async def test_a_client_reads_one_sentence_on_a_phone(stage: Stage, open_tab: OpenTab) -> None:
    tab = await open_tab("client", "/status", width=390, height=844)
    await tab.until("document.getElementById('summary')")
    assert await tab.value("document.querySelectorAll('.component').length") == 0
    assert await tab.value("document.documentElement.scrollWidth <= innerWidth")
    stage.data.summary = "ok"
    await tab.until("document.getElementById('summary').textContent === 'All is well.'")
    assert complaints(tab) == []
