// Tie stream and page together: one flush a frame for numbers and table, charts once a second.
(() => {
  "use strict";
  const HIDDEN_FLUSH_MS = 1000;
  const CHARTS_MS = 1000;
  const LOOK_MS = 100;
  let page = null;
  let scheduled = false;

  alhambra.currencyOf = (row) => (page && page.key === "portfolio_id" && row.base_currency) || (page && page.currency) || "USD";

  class Page {
    constructor(root) {
      this.root = root;
      this.currency = root.dataset.currency;
      this.key = root.dataset.key;
      this.stream = new alhambra.Stream(root.dataset.stream, this.key);
      this.table = this.key === "symbol" ? new alhambra.Table(root) : new alhambra.FloorTable(root, this.stream, () => connection.renew(this.stream));
      this.charts = this.key === "symbol" ? [new alhambra.Intraday(), new alhambra.Allocation(root)] : [new alhambra.Movers()];
      this.shown = new Map();
    }

    flush() {
      if (!this.stream.dirty) return;
      this.numbers();
      // Until the table is there the changes stay marked.
      if (this.table.show(this.stream)) this.stream.forget();
      alhambra.counters.flushes += 1;
    }

    numbers() {
      const values = { ...this.stream.totals, ...this.derived() };
      for (const element of this.root.querySelectorAll("[data-field]")) {
        const value = values[element.dataset.field];
        if (value !== undefined && value !== null) this.write(element, value);
      }
    }

    write(element, value) {
      const { kind, field, signed } = element.dataset;
      if (kind !== "age" && this.shown.get(element) === value) return;
      this.shown.set(element, value);
      if (kind === "money") {
        const [whole, cents] = alhambra.split(value, this.currency, signed);
        element.children[0].textContent = whole;
        element.children[1].textContent = cents;
      } else element.textContent = alhambra.kinds[kind](value, this.currency);
      if (signed || kind === "percent" || kind === "compact") tint(element, value);
      if (field === "stale_share") element.classList.toggle("warning", value > 0.005);
    }

    derived() {
      const { total_equity: equity, market_value: invested } = this.stream.totals;
      if (this.key === "symbol") return { invested_share: equity ? invested / equity : 0 };
      return this.stream.epoch === null ? {} : alhambra.breadth(this.stream.totals);
    }

    draw() {
      if (this.stream.epoch === null) return;
      for (const chart of this.charts) chart.show(this.stream, this.currency);
    }
  }

  function tint(element, value) {
    element.classList.toggle("up", value > 0);
    element.classList.toggle("down", value < 0);
  }

  const connection = new alhambra.Connection(schedule, (why) => {
    if (page) page.root.dataset.refused = alhambra.messages[why];
  });

  alhambra.connection = connection;

  function schedule() {
    if (scheduled) return;
    scheduled = true;
    if (document.hidden) setTimeout(flush, HIDDEN_FLUSH_MS);
    else requestAnimationFrame(flush);
  }

  function flush() {
    scheduled = false;
    if (page) page.flush();
  }

  // Pages come and go without a load: look which one is there.
  function look() {
    if (document.getElementById("signed-out")) return alhambra.signIn();
    const root = document.getElementById("live");
    if (root !== (page && page.root)) {
      page = root && new Page(root);
      connection.follow(page && page.stream);
    }
    if (page && page.stream.dirty) schedule();
  }

  function showState() {
    const badge = document.getElementById("connection");
    if (!badge) return;
    const state = connection.state();
    if (badge.dataset.state !== state) {
      badge.dataset.state = state;
      badge.children[1].textContent = alhambra.messages[state];
    }
    const old = state === "offline" || state === "stale";
    badge.children[2].textContent = old && connection.lastMessage ? alhambra.age(connection.lastMessage * 1e6) : "";
  }

  document.addEventListener("click", (event) => {
    const button = event.target.closest && event.target.closest(".choice");
    if (!button || !page) return;
    for (const one of button.parentElement.children) one.setAttribute("aria-pressed", String(one === button));
    const { dimension, rank, movement } = button.dataset;
    if (dimension) page.charts.at(-1).choose(dimension);
    if (rank) page.table.rankBy(rank);
    if (movement) page.table.move(movement);
    page.draw();
  });

  document.addEventListener("input", (event) => {
    if (event.target.id === "find" && page) page.table.find(event.target.value);
  });

  setInterval(look, LOOK_MS);
  setInterval(showState, 250);
  setInterval(() => page && !document.hidden && page.draw(), CHARTS_MS);
  setInterval(() => { if (page) { page.stream.dirty = true; schedule(); } }, CHARTS_MS); // ages grow without messages
})();
