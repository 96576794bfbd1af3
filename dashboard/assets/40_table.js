// Bring rows into the table: all of them after a snapshot, then only the changed ones, each complete.
(() => {
  "use strict";
  const NARROW = "(max-width: 700px)";

  // A table appears some time after its page: null until then.
  function grid(name) {
    try {
      const found = window.dash_ag_grid && document.getElementById(name) && window.dash_ag_grid.getApi(name);
      return found && !found.isDestroyed() ? found : null;
    } catch {
      return null; // the grid throws where it is not yet mounted
    }
  }

  // Columns that a narrow screen does without.
  function wide() {
    return (document.querySelector("[data-wide]")?.dataset.wide || "").split(",");
  }

  function fitColumns(api) {
    const fit = () => !api.isDestroyed() && api.setColumnsVisible(wide(), !matchMedia(NARROW).matches);
    fit();
    matchMedia(NARROW).addEventListener("change", fit);
  }

  class Table {
    constructor(root) {
      this.name = root.dataset.table;
      this.api = null;
    }

    show(stream) {
      const found = grid(this.name);
      if (!found) return false;
      const fresh = found !== this.api;
      if (fresh) fitColumns(found);
      this.api = found;
      alhambra.largestWeight = Math.max(0, ...Array.from(stream.rows.values(), (row) => row.weight || 0));
      if (fresh || stream.replaced) found.setGridOption("rowData", [...stream.rows.values()]);
      else this.change(found, stream);
      return true;
    }

    change(found, stream) {
      const update = [];
      const add = [];
      for (const key of stream.touched) (found.getRowNode(String(key)) ? update : add).push(stream.rows.get(key));
      const remove = [...stream.removed].filter((key) => found.getRowNode(String(key))).map((key) => ({ [stream.key]: key }));
      if (update.length || add.length || remove.length) found.applyTransactionAsync({ update, add, remove });
    }
  }

  Object.assign(window.alhambra, { Table, grid, fitColumns, wide, narrow: matchMedia(NARROW) });
})();
