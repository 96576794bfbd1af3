"""A client watches a portfolio move: numbers, table and charts, with nothing asked of the server for a change."""

from __future__ import annotations

from fakes import eventually
from fakes_dashboard import Stage
from tabs import OpenTab

EQUITY = "document.querySelector('[data-field=total_equity]').textContent"
SUM_OF_ROWS = """(() => {
  const rows = [];
  dash_ag_grid.getApi("holdings").forEachNode((node) => rows.push(node.data));
  return rows.reduce((sum, row) => sum + Math.round(row.value * 100), 0);
})()"""


def cents(text: str) -> int:
    return int("".join(filter(str.isdigit, text)))


async def test_numbers_change_without_a_request_per_change(stage: Stage, open_tab: OpenTab) -> None:
    tab = await open_tab("client")
    await tab.live()
    before, asked, applied = await tab.value(EQUITY), len(tab.requests), await tab.value("__alhambra.applied")
    await tab.until(f"__alhambra.applied > {applied + 4}")
    assert await tab.value(EQUITY) != before
    assert len(tab.requests) == asked
    assert tab.complaints == []


async def test_the_total_on_the_page_is_the_sum_of_the_rows_of_the_table(stage: Stage, open_tab: OpenTab) -> None:
    tab = await open_tab("client")
    await tab.live()
    stage.live.paused = True
    await tab.until(EQUITY)
    sent = sum(round(row["value"] * 100) for row in stage.live.book.rows())

    async def agree() -> bool:
        """Say whether total and rows are those that were sent last; that message may be on its way still."""
        return bool(cents(await tab.value(EQUITY)) == await tab.value(SUM_OF_ROWS) == sent)

    await eventually(agree, "total and table show what was sent, to the cent")


async def test_charts_are_drawn_and_the_intraday_line_grows(stage: Stage, open_tab: OpenTab) -> None:
    tab = await open_tab("client")
    line = "document.querySelector('#intraday .js-plotly-plot')"
    points = await tab.until(f"{line} && {line}.data && {line}.data[0].x.length")
    await tab.until(f"{line}.data[0].x.length > {points + 1}")
    assert await tab.value(f"{line}._fullLayout.xaxis.type") == "date"
    assert await tab.until("document.querySelectorAll('#ring .slice').length") == 5


async def test_the_allocation_can_be_seen_by_currency(stage: Stage, open_tab: OpenTab) -> None:
    tab = await open_tab("client")
    await tab.until("document.querySelectorAll('#legend li').length === 5")
    await tab.page.click("[data-dimension=currency]")
    await tab.until("document.querySelectorAll('#legend li').length === 3")
    assert await tab.value("document.querySelector('#legend .label').textContent") == "USD"


async def test_nothing_moves_under_the_readers_eyes(stage: Stage, open_tab: OpenTab) -> None:
    tab = await open_tab("client")
    await tab.live()
    assert await tab.value("window.__shift") < 0.02


async def test_another_portfolio_is_followed_without_loading_the_page_again(stage: Stage, open_tab: OpenTab) -> None:
    tab = await open_tab("client")
    await tab.live()
    await tab.value("window.__kept = true")
    await tab.page.click(".tab:not(.chosen)")
    await eventually(lambda: len(set(stage.live.streams.values()) - {stage.live.asked[0]["streams"][0]["stream"]}) == 1)
    await tab.until("document.querySelector('.tab.chosen').textContent.startsWith('Income')")
    assert await tab.value("window.__kept")
    assert tab.complaints == []


async def test_light_colours_stay_chosen(stage: Stage, open_tab: OpenTab) -> None:
    tab = await open_tab("client")
    await tab.page.click("#colours")
    await tab.page.reload()
    assert await tab.value("document.documentElement.dataset.scheme") == "light"


async def test_a_phone_shows_everything_within_its_width(stage: Stage, open_tab: OpenTab) -> None:
    tab = await open_tab("client", width=390, height=844)
    await tab.live()
    assert await tab.value("document.documentElement.scrollWidth") == 390
