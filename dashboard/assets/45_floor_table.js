// Show a floor of any length: the server sorts and filters, and sends only the rows that stand on the screen.
(() => {
  "use strict";
  const STEP = 4; // the window begins and ends at multiples of so many rows, so that small movements ask for nothing
  const AT_REST = 4; // rows above and below the screen
  const SCROLLING = 16;
  const LOOK_MS = 100;
  const REST_MS = 1000;
  const TYPED_MS = 150;
  const REORDER_S = 3; // a table that never rests cannot be read
  const LONGEST = 500;
  const AT_FIRST = 32; // rows, before it is known how many the screen has room for
  const RANKS = { percent: "abs_day_pnl_pct", amount: "abs_day_pnl_reference" };
  const MOVEMENTS = { all: [], up: [condition("day_pnl_reference", ">", 0)], down: [condition("day_pnl_reference", "<", 0)] };
  const EMPTY = Object.freeze({});

  function condition(column, op, value) {
    return { column, op, value };
  }

  class FloorTable {
    constructor(root, stream, subscribe) {
      this.name = root.dataset.table;
      this.columns = root.dataset.columns.split(",");
      this.stream = stream;
      this.subscribe = subscribe;
      this.api = null;
      this.placed = new Map(); // the row at each place of the table that the server has filled
      this.count = null;
      this.rank = "percent";
      this.found = "";
      this.movement = "all";
      this.sort = [this.byRank()];
      this.range = [0, AT_FIRST];
      this.focused = null; // the key of the row that has the keyboard
      this.looking = this.typing = this.resting = 0;
      this.wish();
    }

    byRank() {
      return { column: RANKS[this.rank], descending: true };
    }

    // Put into the stream's request what is to be seen; false where that is what it asks for already.
    wish() {
      const filter = [...MOVEMENTS[this.movement]];
      if (this.found) filter.push(condition("label", "contains", this.found));
      const hidden = alhambra.narrow.matches ? alhambra.wide() : [];
      const asks = {
        view: { sort: this.sort, filter, range: this.range, reorder_s: REORDER_S },
        fields: { rows: this.columns.filter((column) => !hidden.includes(column)) },
      };
      if (JSON.stringify(asks) === JSON.stringify(this.stream.asks)) return false;
      this.stream.asks = asks;
      return true;
    }

    ask() {
      if (this.wish()) this.subscribe();
    }

    show(stream) {
      const found = alhambra.grid(this.name);
      if (!found) return false;
      if (found !== this.api) this.adopt(found);
      const { view_rows: count, view_first: first, view_order: order } = stream.totals;
      if (order === undefined) return true;
      this.size(count);
      this.place(new Map(order.map((key, i) => [first + i, stream.rows.get(key)])));
      return true;
    }

    adopt(found) {
      this.api = found;
      this.placed = new Map();
      this.count = null;
      alhambra.fitColumns(found);
      found.setGridOption("datasource", { getRows: (asked) => this.answer(asked) });
      const on = (names, handle) => names.forEach((name) => found.addEventListener(name, handle));
      on(["bodyScroll", "viewportChanged", "gridSizeChanged"], () => this.lookSoon());
      on(["sortChanged"], () => this.sorted());
      on(["rowClicked"], (event) => open(event.data));
      on(["cellKeyDown"], (event) => event.event.key === "Enter" && open(event.data));
      on(["cellFocused"], (event) => { this.focused = this.placed.get(event.rowIndex)?.portfolio_id ?? null; });
      alhambra.narrow.addEventListener("change", () => this.ask());
      this.lookSoon();
    }

    // The grid asks for rows by place as it makes room for them: what the server has not sent stays empty.
    answer(asked) {
      const rows = [];
      for (let index = asked.startRow; index < asked.endRow; index += 1) rows.push(this.placed.get(index) || EMPTY);
      asked.successCallback(rows, this.count ?? 1);
    }

    // The grid forgets its length whenever it is sorted.
    size(count) {
      this.count = count;
      if (this.api.getDisplayedRowCount() !== count) this.api.setRowCount(count, true);
    }

    place(placed) {
      const before = this.placed;
      this.placed = placed;
      for (const index of before.keys()) if (!placed.has(index)) this.put(index, before.get(index), EMPTY);
      for (const [index, row] of placed) this.put(index, before.get(index), row);
      this.keepFocus();
    }

    // A cell flashes where the same portfolio's figure moved, not where another portfolio came to stand.
    put(index, held, row) {
      const node = held !== row && index < this.count && this.api.getDisplayedRowAtIndex(index);
      if (!node) return;
      if (node.data && node.data.portfolio_id === row.portfolio_id) node.updateData(row);
      else node.setData(row);
    }

    // The keyboard stays with the portfolio it was on, while that is to be seen.
    keepFocus() {
      const cell = this.focused && this.api.getFocusedCell();
      if (!cell || this.placed.get(cell.rowIndex)?.portfolio_id === this.focused) return;
      const { top, bottom } = this.api.getVerticalPixelRange();
      for (const [index, row] of this.placed) {
        const above = index * this.height();
        const seen = above >= top && above + this.height() <= bottom;
        if (row.portfolio_id === this.focused && seen) this.api.setFocusedCell(index, cell.column);
      }
    }

    height() {
      return this.api.getSizesForCurrentTheme().rowHeight;
    }

    // Follow the scrolling as it goes, with more rows than are seen; at rest those that are seen will do.
    lookSoon() {
      this.looking = this.looking || setTimeout(() => this.look(SCROLLING), LOOK_MS);
      clearTimeout(this.resting);
      this.resting = setTimeout(() => this.look(AT_REST), REST_MS);
    }

    look(margin) {
      this.looking = 0;
      if (!this.api || this.api.isDestroyed()) return;
      const { top, bottom } = this.api.getVerticalPixelRange();
      if (bottom <= top) return;
      const first = Math.max(0, Math.floor(top / this.height() / STEP) * STEP - margin);
      const last = Math.ceil(bottom / this.height() / STEP) * STEP + margin;
      if (margin === SCROLLING && this.covers(top, bottom)) return;
      this.range = [first, Math.min(LONGEST, last - first)];
      this.ask();
    }

    covers(top, bottom) {
      const [first, count] = this.range;
      return first * this.height() <= top && Math.min(bottom, this.count * this.height()) <= (first + count) * this.height();
    }

    sorted() {
      const columns = this.api.getColumnState().filter((one) => one.sort);
      columns.sort((a, b) => a.sortIndex - b.sortIndex);
      const named = (one) => (one.colId === "rank" ? this.byRank() : { column: one.colId, descending: one.sort === "desc" });
      this.sort = columns.map(named);
      if (!columns.some((one) => one.colId === "rank")) press("rank", null);
      if (this.count !== null) this.size(this.count);
      this.fromTheTop();
    }

    rankBy(what) {
      this.rank = what;
      this.api?.applyColumnState({ state: [{ colId: "rank", sort: "desc" }], defaultState: { sort: null } });
      this.sort = [this.byRank()];
      this.fromTheTop();
    }

    move(which) {
      this.movement = which;
      this.fromTheTop();
    }

    find(text) {
      clearTimeout(this.typing);
      this.typing = setTimeout(() => {
        this.found = text.trim();
        this.fromTheTop();
      }, TYPED_MS);
    }

    fromTheTop() {
      this.range = [0, this.range[1]];
      if (this.api && this.count) this.api.ensureIndexVisible(0, "top");
      this.ask();
    }
  }

  function press(kind, value) {
    for (const one of document.querySelectorAll(`[data-${kind}]`)) one.setAttribute("aria-pressed", String(one.dataset[kind] === value));
  }

  // Go to a portfolio without loading the page again, as the links of the page do.
  function open(row) {
    if (!row || !row.portfolio_id) return;
    history.pushState({}, "", `/portfolio/${encodeURIComponent(row.portfolio_id)}`);
    window.dispatchEvent(new CustomEvent("_dashprivate_pushstate"));
  }

  window.alhambra.FloorTable = FloorTable;
})();
