// Bring rows into the table: all of them after a snapshot, then only the changed ones, each complete.
(() => {
  "use strict";
  const NARROW = "(max-width: 700px)";
  const RANK_EVERY_MS = 3000;

  // A table appears some time after its page: null until then.
  function api(name) {
    try {
      const found = window.dash_ag_grid && document.getElementById(name) && window.dash_ag_grid.getApi(name);
      return found && !found.isDestroyed() ? found : null;
    } catch {
      return null; // the grid throws where it is not yet mounted
    }
  }

  class Table {
    constructor(root) {
      this.name = root.dataset.table;
      this.ranked = root.dataset.ranked || null;
      this.wide = (document.querySelector("[data-wide]")?.dataset.wide || "").split(",");
      this.api = null;
      this.rankedAt = 0;
    }

    show(stream) {
      const found = api(this.name);
      if (!found) return false;
      const fresh = found !== this.api;
      if (fresh) this.adopt(found);
      if (this.ranked) this.rank(stream);
      else window.alhambra.largestWeight = Math.max(0, ...Array.from(stream.rows.values(), (row) => row.weight || 0));
      if (fresh || stream.replaced) found.setGridOption("rowData", [...stream.rows.values()]);
      else this.change(found, stream);
      return true;
    }

    adopt(found) {
      this.api = found;
      const fit = () => !found.isDestroyed() && found.setColumnsVisible(this.wide, !matchMedia(NARROW).matches);
      fit();
      matchMedia(NARROW).addEventListener("change", fit);
      if (!this.ranked) return;
      found.addEventListener("rowClicked", (event) => open(event.data));
      found.addEventListener("cellKeyDown", (event) => event.event.key === "Enter" && open(event.data));
    }

    change(found, stream) {
      const update = [];
      const add = [];
      for (const key of stream.touched) (found.getRowNode(String(key)) ? update : add).push(stream.rows.get(key));
      const remove = [...stream.removed].filter((key) => found.getRowNode(String(key))).map((key) => ({ [stream.key]: key }));
      if (update.length || add.length || remove.length) found.applyTransactionAsync({ update, add, remove });
    }

    // The order follows what moves, but only every few seconds: a table that never rests cannot be read.
    rank(stream) {
      const due = Date.now() - this.rankedAt > RANK_EVERY_MS;
      if (due) this.rankedAt = Date.now();
      const field = this.ranked === "percent" ? "day_pnl_pct" : "day_pnl_reference";
      for (const [key, row] of stream.rows) {
        if (!due && row.rank !== undefined) continue;
        const rank = Math.abs(row[field] || 0);
        if (rank === row.rank) continue;
        stream.rows.set(key, { ...row, rank });
        stream.touched.add(key);
      }
    }

    rankBy(what) {
      this.ranked = what;
      this.rankedAt = 0;
    }
  }

  // Go to a portfolio without loading the page again, as the links of the page do.
  function open(row) {
    history.pushState({}, "", `/portfolio/${encodeURIComponent(row.portfolio_id)}`);
    window.dispatchEvent(new CustomEvent("_dashprivate_pushstate"));
  }

  window.alhambra.Table = Table;
})();
