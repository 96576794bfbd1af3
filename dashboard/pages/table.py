"""Set up the tables: AG Grid in our colours, columns that align, rows that flash as they change."""

from __future__ import annotations

from typing import Any

import dash_ag_grid

from dashboard.i18n import client_messages, direction

THEME = (
    "themeQuartz.withParams({backgroundColor:'var(--panel)',foregroundColor:'var(--text)',"
    "headerTextColor:'var(--muted)',headerBackgroundColor:'var(--panel)',borderColor:'var(--line)',"
    "rowHoverColor:'var(--hover)',accentColor:'#4c8dff',fontFamily:'inherit',fontSize:12.5,headerFontSize:11.5,"
    "headerFontWeight:500,cellHorizontalPadding:10,rowHeight:32,headerHeight:34,wrapperBorder:false,wrapperBorderRadius:0,"
    "browserColorScheme:'inherit',valueChangeValueHighlightBackgroundColor:'transparent'})"
)
SIGN = {"up": {"function": "params.value > 0"}, "down": {"function": "params.value < 0"}}
FLASH = {
    "flash-up": {"function": "params.data && params.data.moved > 0"},
    "flash-down": {"function": "params.data && params.data.moved < 0"},
}


def text_column(field: str, title: str, width: int, **changes: Any) -> dict[str, Any]:
    """Return a column of text."""
    return {"field": field, "headerName": title, "width": width, "tooltipField": field} | changes


def number_column(field: str, title: str, width: int, kind: str, **changes: Any) -> dict[str, Any]:
    """Return a right-aligned column of numbers that the browser formats as `kind` says."""
    column: dict[str, Any] = {
        "field": field,
        "headerName": title,
        "width": width,
        "type": "numericColumn",
        "sortingOrder": ["desc", "asc", None],
        "valueFormatter": {"function": f"alhambraFormat(params, '{kind}')"},
    }
    return column | changes


def signed_column(field: str, title: str, width: int, kind: str, **changes: Any) -> dict[str, Any]:
    """Return a column of numbers that are green above zero and red below."""
    return number_column(field, title, width, kind, cellClassRules=SIGN, **changes)


def flashing_column(field: str, title: str, width: int, kind: str, **changes: Any) -> dict[str, Any]:
    """Return a column whose cells flash as they change. Few columns may: the fade is the table's main cost."""
    return number_column(field, title, width, kind, enableCellChangeFlash=True, cellClassRules=FLASH, **changes)


def table(name: str, key: str, columns: list[dict[str, Any]], **options: Any) -> dash_ag_grid.AgGrid:
    """Return an empty table whose rows, told apart by `key`, the live stream brings."""
    return _grid(name, columns, options, rowData=[], getRowId=f"params.data.{key}")


def long_table(name: str, columns: list[dict[str, Any]], **options: Any) -> dash_ag_grid.AgGrid:
    """Return an empty table of any length: the live stream brings the rows that stand on the screen."""
    blocks = {
        "cacheBlockSize": 100,
        "maxBlocksInCache": 10,
        "maxConcurrentDatasourceRequests": -1,  # no limit: the page answers at once, and sorting loses count of them
        "infiniteInitialRowCount": 40,  # as many as a screen shows: they stay while another order is on its way
        "rowBuffer": 4,
    }
    return _grid(name, columns, blocks | options, rowModelType="infinite")


def _grid(name: str, columns: list[dict[str, Any]], options: dict[str, Any], **more: Any) -> dash_ag_grid.AgGrid:
    settings: dict[str, Any] = {
        "theme": {"function": THEME},
        "enableRtl": direction() == "rtl",
        "asyncTransactionWaitMillis": 50,
        "cellFlashDuration": 250,
        "cellFadeDuration": 450,
        "animateRows": False,
        "suppressCellFocus": False,
        "suppressMovableColumns": True,
        "localeText": {"noRowsToShow": client_messages()["no_rows"]},
        "tooltipShowDelay": 600,
    }
    return dash_ag_grid.AgGrid(
        id=name,
        columnDefs=columns,
        defaultColDef={"sortable": True, "resizable": True, "suppressHeaderMenuButton": True},
        dashGridOptions=settings | options,
        className="table",
        style={"height": "100%"},
        **more,
    )
