"""An advisor watches the whole book: sorted by what moved, and one click from a portfolio."""

from __future__ import annotations

from fakes_dashboard import PORTFOLIOS, Stage
from tabs import OpenTab

RANKED = """(() => {
  const shown = [];
  dash_ag_grid.getApi("book").forEachNodeAfterFilterAndSort((node) => shown.push(Math.abs(node.data.FIELD)));
  return shown.length > 0 && shown.every((value, i) => i === 0 || shown[i - 1] >= value);
})()"""


async def test_what_moved_most_stands_on_top(stage: Stage, open_tab: OpenTab) -> None:
    tab = await open_tab("advisor")
    await tab.live()
    stage.live.paused = True
    await tab.until(RANKED.replace("FIELD", "day_pnl_pct"))
    await tab.page.click("[data-rank=amount]")
    await tab.until(RANKED.replace("FIELD", "day_pnl_reference"))
    assert tab.complaints == []


async def test_the_tiles_count_the_book(stage: Stage, open_tab: OpenTab) -> None:
    tab = await open_tab("advisor")
    await tab.live()
    counts = [
        int(await tab.until(f"document.querySelector('[data-field={field}]').textContent"))
        for field in ("portfolios", "gainers", "losers", "unmoved")
    ]
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
