// Draw the charts, at most once a second: they cost more than all numbers together.
(() => {
  "use strict";
  const MOST_POINTS = 5000;
  const MOST_PARTS = 9;
  const MOVERS_MS = 3000; // bars that never rest cannot be read, and drawing them is the page's largest single cost
  const OTHER_COLOUR = "#56617a";

  const plot = (name) => {
    const found = document.getElementById(name)?.querySelector(".js-plotly-plot");
    return found && found.data && found._fullLayout && window.Plotly ? found : null;
  };
  // The axis shows what it is given, so give it this machine's time of day; as text, else it takes it for a number.
  const local = (ms) => new Date(ms - new Date(ms).getTimezoneOffset() * 60000).toISOString().slice(0, -1);

  class Intraday {
    constructor() {
      this.at = null;
      this.last = 0;
    }

    show(stream) {
      const found = plot("intraday");
      if (!found || stream.totals.day_pnl === undefined) return;
      const ms = stream.eventNs / 1e6;
      if (found !== this.at) this.begin(found);
      if (ms - this.last < 900) return;
      this.last = ms;
      Plotly.extendTraces(found, { x: [[local(ms)]], y: [[stream.totals.day_pnl]] }, [0], MOST_POINTS);
    }

    begin(found) {
      this.at = found;
      const times = Array.from(found.data[0].x);
      this.last = times.length ? times[times.length - 1] : 0;
      Plotly.restyle(found, { x: [times.map(local)] }, [0]);
    }
  }

  class Allocation {
    constructor(root) {
      this.labels = JSON.parse(root.querySelector("[data-labels]").dataset.labels);
      this.dimension = "asset_class";
      this.shown = "";
    }

    choose(dimension) {
      this.dimension = dimension;
    }

    show(stream, currency) {
      const found = plot("ring");
      const amounts = stream.totals.allocation && stream.totals.allocation[this.dimension];
      if (!found || !amounts) return;
      const parts = this.parts(amounts);
      const colours = found._fullLayout && parts.map((part, i) => (part.other ? OTHER_COLOUR : palette(i)));
      Plotly.restyle(found, {
        labels: [parts.map((part) => part.label)],
        values: [parts.map((part) => Math.max(0, part.amount))],
        "marker.colors": [colours],
      }, [0]);
      this.legend(parts, colours, currency);
    }

    // The largest first; what is small is one part, so that the sum stays the whole.
    parts(amounts) {
      const all = Object.entries(amounts).map(([key, amount]) => ({ label: this.label(key), amount }));
      all.sort((a, b) => b.amount - a.amount);
      if (all.length <= MOST_PARTS) return all;
      const rest = all.splice(MOST_PARTS - 1);
      return [...all, { label: alhambra.messages.other, amount: rest.reduce((sum, part) => sum + part.amount, 0), other: true }];
    }

    label(key) {
      const known = this.labels[this.dimension];
      if (known) return known[key] || key;
      if (this.dimension !== "country" || !/^[A-Z]{2}$/.test(key)) return key;
      return new Intl.DisplayNames(alhambra.locale, { type: "region", fallback: "code" }).of(key);
    }

    legend(parts, colours, currency) {
      const list = document.getElementById("legend");
      const whole = parts.reduce((sum, part) => sum + part.amount, 0) || 1;
      while (list.children.length > parts.length) list.lastChild.remove();
      parts.forEach((part, i) => {
        const item = list.children[i] || list.appendChild(entry());
        const [mark, label, amount, share] = item.children;
        mark.style.background = colours[i];
        label.textContent = part.label;
        amount.textContent = alhambra.kinds.amount(part.amount, currency);
        share.textContent = alhambra.kinds.share(part.amount / whole);
      });
      const middle = document.querySelector(".middle");
      middle.children[0].textContent = alhambra.kinds.share(parts.length ? parts[0].amount / whole : 0);
      middle.children[1].textContent = parts.length ? parts[0].label : "";
    }
  }

  class Movers {
    show(stream) {
      const found = plot("movers");
      const first = stream.totals.movers;
      if (!found || !first || (found === this.found && Date.now() - this.drawnAt < MOVERS_MS)) return;
      const up = token("--up");
      const down = token("--down");
      this.found = found;
      this.drawnAt = Date.now();
      Plotly.restyle(found, {
        x: [first.map((row) => row.day_pnl_reference)],
        y: [first.map((row) => `${row.client} · ${row.name}`)],
        "marker.color": [first.map((row) => (row.day_pnl_reference > 0 ? up : down))],
      }, [0]);
    }
  }

  const token = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const palette = (i) => token(`--part-${i + 1}`);

  function entry() {
    const item = document.createElement("li");
    for (const name of ["mark", "label", "number amount", "number share"]) {
      item.appendChild(document.createElement("span")).className = name;
    }
    return item;
  }

  Object.assign(window.alhambra, { Intraday, Allocation, Movers });
})();
