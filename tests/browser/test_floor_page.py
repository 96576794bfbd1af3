"""An advisor watches the whole book: sorted by what moved, and one click from a portfolio."""

from __future__ import annotations

from fakes_dashboard import PORTFOLIOS, Stage
from tabs import OpenTab

RANKED = """(() => {
  const api = dash_ag_grid.getApi("book");
  const shown = [...Array(COUNT).keys()].map((i) => Math.abs(api.getDisplayedRowAtIndex(i)?.data?.FIELD));
  return shown.every((value, i) => value >= 0 && (i === 0 || shown[i - 1] >= value));
})()""".replace("COUNT", str(len(PORTFOLIOS)))


async def test_what_moved_most_stands_on_top(stage: Stage, open_tab: OpenTab) -> None:
    tab = await open_tab("advisor")
    await tab.live()
    stage.live.paused = True
    await tab.page.click("[data-rank=amount]")
    await tab.until(RANKED.replace("FIELD", "day_pnl_reference"))
    await tab.page.click("[data-rank=percent]")
    await tab.until(RANKED.replace("FIELD", "day_pnl_pct"))
    assert tab.complaints == []


async def test_the_tiles_count_the_book(stage: Stage, open_tab: OpenTab) -> None:
    tab = await open_tab("advisor")
    await tab.live()
    texts = (
        "['portfolios', 'gainers', 'losers', 'unmoved'].map((name) => document.querySelector(`[data-field=${name}]`))"
    )
    read = f"{texts}.every((one) => one.textContent) && {texts}.map((one) => one.textContent)"  # at one moment
    counts = [int(text) for text in await tab.until(read)]
    assert counts[0] == len(PORTFOLIOS)
    assert sum(counts[1:]) == counts[0]


async def test_a_row_leads_to_its_portfolio(stage: Stage, open_tab: OpenTab) -> None:
    tab = await open_tab("advisor")
    await tab.live()
    await tab.page.click(".ag-center-cols-container .ag-row")
    await tab.until("location.pathname.startsWith('/portfolio/')")
    await tab.until("document.querySelector('#live.portfolio .owner')")
    await tab.live()
    assert tab.complaints == []
