"""Draw what is watched: figures, a small chart and a table, whose places stay while the numbers in them change."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.cells import cell_len, set_cell_size
from rich.console import Console, ConsoleOptions, RenderResult
from rich.text import Text

from alhambra.client import State, Update
from alhambra.watch_columns import FIGURES, FLOOR, HOLDINGS, Column, Figure, currency_of, sums_of, worth_of
from alhambra.watch_figures import age, align, amount, chart, minor_units

CHART_LINES, CHART_SAMPLES = 3, 600
SAMPLE_S = 1.0  # a column of the chart is a second
FLASH_S = 0.7
ORDER_S = 5.0  # how long an order of rows stays, so that two of about the same value do not change places all the time
RATE_S = 10.0  # over which updates are counted
FIGURE_WIDTH, NAME_OF_CHART = 19, "Day P&L"
LEAST_GAP, SHORTEST_NAME = 2, 8
HIGH = 18  # lines from which there is room for the chart
NARROWEST = 60
MARKS = {
    State.LIVE: ("●", "green"),
    State.STALE: ("◐", "yellow"),
    State.CONNECTING: ("○", "yellow"),
    State.OFFLINE: ("○", "red"),
}
UP, DOWN = "green", "red"


@dataclass(frozen=True, slots=True)
class Link:
    """Hold how the connection stands: `age_s` is that of the newest price, by the server's clock."""

    state: State
    url: str
    round_trip_ns: int | None = None
    age_s: float | None = None


class WatchScreen:
    """Remember what a terminal shows of a stream, and draw it; times are seconds of any steady clock."""

    def __init__(self, title: str) -> None:
        self._title = title
        self._update: Update | None = None
        self._samples: deque[float] = deque(maxlen=CHART_SAMPLES)
        self._sampled_at = float("-inf")
        self._order: list[str] = []
        self._ordered_at = float("-inf")
        self._moves: dict[tuple[str, str], tuple[float, bool]] = {}
        self._taken: deque[float] = deque()
        self._widths: dict[tuple[str, str], int] = {}

    @property
    def update(self) -> Update | None:
        """Return the newest update."""
        return self._update

    def take(self, update: Update, now: float) -> None:
        """Take an update."""
        before, self._update = self._update, update
        if before is None or (before.epoch, before.seq) != (update.epoch, update.seq):
            self._taken.append(now)
        self._sample(update.totals.get("day_pnl", update.totals.get("price")), now)
        if before is not None:
            self._note_moves(before, update, now)
        if update.rows.keys() != set(self._order) or now - self._ordered_at > ORDER_S:
            self._order, self._ordered_at = self._sorted(update), now

    def lines(self, width: int, height: int, now: float, link: Link) -> list[Text]:
        """Draw exactly `height` lines of at most `width` cells."""
        lines = [self._headline(width, link), Text()]
        if self._update is None:
            lines += [Text(f"  Waiting for the first state from {link.url} …", "dim")]
        else:
            lines += self._figures(width, self._update)
            lines += self._chart(width) if height >= HIGH else []
            lines += self._table(self._update, width, height - len(lines) - 2, now)
        lines = lines[: height - 2]
        lines += [Text()] * (height - 1 - len(lines)) + [self._footer(now, link)]
        if link.state is not State.LIVE:  # what is not of now must not look as if it were
            for line in lines[1:-1]:
                line.stylize("dim")
        return lines

    def _sample(self, value: float | None, now: float) -> None:
        if value is None:
            return
        if now - self._sampled_at < SAMPLE_S and self._samples:
            self._samples[-1] = value
        else:
            self._samples.append(value)
            self._sampled_at = now

    def _note_moves(self, before: Update, update: Update, now: float) -> None:
        for key in update.changed:
            old, new = before.rows.get(key, {}), update.rows[key]
            for column in _columns(update):
                field = column.field
                if column.moving and field in old and old[field] != new[field]:
                    self._moves[(key, field)] = (now, new[field] > old[field])
        self._moves = {place: move for place, move in self._moves.items() if now - move[0] < FLASH_S}

    @staticmethod
    def _sorted(update: Update) -> list[str]:
        if "view_order" in update.totals:
            return list(update.rows)
        field = worth_of(update)
        return sorted(update.rows, key=lambda key: (-update.rows[key].get(field, 0.0), key))

    def _headline(self, width: int, link: Link) -> Text:
        totals: Mapping[str, Any] = {} if self._update is None else self._update.totals
        mark, colour = MARKS[link.state]
        far = "" if link.round_trip_ns is None else f"  {link.round_trip_ns / 1e6:.1f} ms"
        right = Text.assemble((f"{mark} {link.state}", f"bold {colour}"), (far.rjust(10), "dim"))
        name = totals.get("name") or self._title
        left = Text.assemble((f" {name}", "bold"), (f"  {currency_of(totals) or ''}", "dim"))
        left.truncate(max(0, width - right.cell_len - 2), overflow="ellipsis", pad=True)
        return left + " " + right

    def _figures(self, width: int, update: Update) -> list[Text]:
        shown = [one for one in FIGURES if isinstance(update.totals.get(one.field), int | float)]
        shown = shown[: (width - 1) // FIGURE_WIDTH]
        each = (width - 1) // max(1, len(shown))
        titles, values = Text(" "), Text(" ")
        for figure in shown:
            titles.append(set_cell_size(figure.title, each), "dim")
            values.append(set_cell_size(figure.text(update.totals, update.totals), each), _figure_style(figure, update))
        return [titles, values, Text()]

    def _chart(self, width: int) -> list[Text]:
        digits = minor_units(currency_of(self._update.totals if self._update else {}))
        low, high = min(self._samples, default=0.0), max(self._samples, default=0.0)
        marks = [amount(high, digits, signed=True), amount(low, digits, signed=True)]
        room = self._width("", "chart", [*marks, NAME_OF_CHART])
        drawn = chart(tuple(self._samples), max(1, width - room - 3), CHART_LINES)
        rises = bool(self._samples) and self._samples[-1] >= self._samples[0]
        lines = [
            Text.assemble((f" {drawing} ", UP if rises else DOWN), (mark.rjust(room), "dim"))
            for drawing, mark in zip(drawn, (marks[0], NAME_OF_CHART, marks[1]), strict=True)
        ]
        return [*lines, Text()]

    def _table(self, update: Update, width: int, height: int, now: float) -> list[Text]:
        columns = [one for one in _columns(update) if width >= one.from_width]
        fits = len(self._order) <= height - 2
        keys = self._order if fits else self._order[: max(0, height - 3)]
        texts = {column.field: self._texts(column, keys, update) for column in columns}
        titles = {column.field: column.title.format(currency=currency_of(update.totals)) for column in columns}
        sums = sums_of(update, keys)
        widths = {
            one.field: self._width("table", one.field, [*texts[one.field], titles[one.field], *sums.texts(one.field)])
            for one in columns
        }
        gaps = _fit(widths, columns, width)
        lines = [_line([(titles[one.field], widths[one.field], one.left, "") for one in columns], gaps)]
        lines[0].stylize("dim underline", 1)
        for index, key in enumerate(keys):
            cells = [
                (texts[one.field][index], widths[one.field], one.left, self._style(one, key, update, now))
                for one in columns
            ]
            lines.append(_line(cells, gaps))
        for row, style in zip(sums.rows[fits:], ("dim", "bold")[fits:], strict=True):
            lines.append(_line([(row.get(one.field, ""), widths[one.field], one.left, style) for one in columns], gaps))
        return lines

    @staticmethod
    def _texts(column: Column, keys: Sequence[str], update: Update) -> list[str]:
        texts = [column.text(update.rows[key], update.totals) for key in keys]
        return texts if column.left else align(texts)

    def _width(self, part: str, name: str, texts: Sequence[str]) -> int:
        """Return the width of a column: that of its widest text ever, so that it never moves."""
        widest = max((cell_len(text) for text in texts), default=0)
        found = self._widths[(part, name)] = max(widest, self._widths.get((part, name), 0))
        return found

    def _style(self, column: Column, key: str, update: Update, now: float) -> str:
        value = update.rows[key][column.field]
        if column.signed:
            return _sign_style(value)
        moved_at, up = self._moves.get((key, column.field), (float("-inf"), True))
        if column.moving and now - moved_at < FLASH_S:
            return f"bold {UP if up else DOWN}"
        return "bold" if column.field in ("symbol", "name") and column.left and column.from_width == 0 else ""

    def _footer(self, now: float, link: Link) -> Text:
        parts = [link.url, "Ctrl-C ends it"]
        if self._update is not None:
            price = [] if link.age_s is None else [f"newest price {age(link.age_s)} ago"]
            position = f"position {self._update.epoch}/{self._update.seq}"
            parts = [*price, f"{self._rate(now):.1f} updates/s", "Ctrl-C ends it", position]
        return Text(" " + " · ".join(parts), "dim")

    def _rate(self, now: float) -> float:
        while self._taken and now - self._taken[0] > RATE_S:
            self._taken.popleft()
        return (len(self._taken) - 1) / max(1.0, now - self._taken[0]) if self._taken else 0.0


class Drawing:
    """Draw a screen into whatever size the terminal has now."""

    def __init__(self, screen: WatchScreen, now: float, link: Link) -> None:
        self._screen = screen
        self._now = now
        self._link = link

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        height = options.height or console.height
        for line in self._screen.lines(max(NARROWEST, options.max_width), height, self._now, self._link):
            line.no_wrap, line.overflow = True, "crop"
            yield line


def _columns(update: Update) -> tuple[Column, ...]:
    """Return the columns that every row of the stream has a value for."""
    columns = FLOOR if update.stream.startswith("floor:") else HOLDINGS
    return tuple(one for one in columns if all(one.field in row for row in update.rows.values()))


def _figure_style(figure: Figure, update: Update) -> str:
    return f"bold {_sign_style(update.totals[figure.field])}" if figure.signed else "bold"


def _sign_style(value: float) -> str:
    return UP if value > 0 else DOWN if value < 0 else "dim"


def _fit(widths: dict[str, int], columns: Sequence[Column], width: int) -> list[int]:
    """Fill the width: names get what is left or lose what is missing; returns the gaps before the columns."""
    gaps = max(1, len(columns) - 1)
    room = width - 2 - sum(widths.values()) - LEAST_GAP * gaps
    names = [one.field for one in columns if one.left and one.field in ("name", "client")]
    for field in names:
        widths[field] = max(SHORTEST_NAME, widths[field] + room // len(names))
    each, more = divmod(0 if names else max(0, room), gaps)
    return [0, *(LEAST_GAP + each + (index < more) for index in range(gaps))]


def _line(cells: Sequence[tuple[str, int, bool, str]], gaps: Sequence[int]) -> Text:
    line = Text(" ")
    for (text, width, left, style), gap in zip(cells, gaps, strict=False):
        cut = text if cell_len(text) <= width else set_cell_size(text, width - 1) + "…"
        padding = " " * (width - cell_len(cut))
        line.append(" " * gap).append(cut + padding if left else padding + cut, style)
    return line
