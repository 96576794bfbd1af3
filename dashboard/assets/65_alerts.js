// Ring for alerts: they come on the page's connection until they are seen; rules are set and deleted over REST.
(() => {
  "use strict";
  const NEWEST = 30;
  const TOAST_MS = 9000;
  const TOASTS = 3;
  const FRESH_MS = 60000; // what is older when it arrives was raised while nobody looked: it counts, without a toast
  const ASK_AGAIN_MS = 2000;
  const NO_RETRY = 3500;
  const OF_INSTRUMENTS = ["price", "price_change_pct", "stale_price"];
  const UNITS = { price_change_pct: "%", day_pnl_pct: "%", stale_share: "%", stale_price: "s" };
  const { connection, messages, kinds } = alhambra;
  const { socket } = connection;
  const panel = document.getElementById("alerts");
  if (!panel || !panel.showPopover) return; // nobody is signed in, or a browser from before 2024
  const form = document.getElementById("alert-form");
  const complaint = form.querySelector(".complaint");
  const alerts = new Map(); // by seq, the newest only
  let seen = 0; // up to here all are acknowledged
  let known = 0; // what was seen when the panel was opened: it marks the rest as new
  let rules = null; // null until the panel was opened once

  const clock = new Intl.DateTimeFormat(alhambra.locale, { hour: "2-digit", minute: "2-digit", second: "2-digit" });
  const day = new Intl.DateTimeFormat(alhambra.locale, { day: "numeric", month: "short" });

  function element(tag, className, ...children) {
    const made = document.createElement(tag);
    made.className = className;
    made.append(...children);
    return made;
  }

  // Staleness of a price and of a portfolio are told apart by what they are about.
  function kindOf(one) {
    if (one.kind !== "stale") return one.kind;
    return one.subject.startsWith("quote:") ? "stale_price" : "stale_share";
  }

  function figure(kind, value, currency) {
    if (kind === "price") return `${kinds.price(value)} ${currency}`;
    if (kind === "stale_share") return kinds.share(value);
    if (kind === "stale_price") return messages.age_seconds.replace("{n}", kinds.count(Math.round(value)));
    return kind.endsWith("_pct") ? kinds.percent(value) : kinds.amount(value, currency);
  }

  // A sentence in the viewer's order of words, its figure in an island that reads from left to right.
  function sentence(one) {
    const kind = kindOf(one);
    const said = element("span", "what");
    for (const part of messages[`alert_${one.direction}`].split(/(\{what\}|\{level\})/)) {
      if (part === "{what}") said.append(messages[`kind_${kind}`]);
      else if (part === "{level}") said.append(element("bdi", "number", figure(kind, one.threshold, one.currency)));
      else said.append(part);
    }
    return said;
  }

  function name(one) {
    const [kind, key] = one.subject.split(/:(.*)/s);
    return element("b", "", element("bdi", "", kind === "quote" ? key : one.title || messages.rule_silenced));
  }

  function moment(ms) {
    const at = new Date(ms);
    const today = at.toDateString() === new Date().toDateString();
    return element("bdi", "when number", today ? clock.format(at) : `${day.format(at)} ${clock.format(at)}`);
  }

  function alertLine(tag, one) {
    const value = element("bdi", "value number", figure(kindOf(one), one.value, one.currency));
    const line = element(tag, "alert", name(one), value, sentence(one), moment(one.raisedMs));
    line.classList.toggle("fresh", one.seq > known);
    return line;
  }

  function ruleLine(rule) {
    const remove = element("button", "remove", "×");
    remove.type = "button";
    remove.title = messages.rule_delete;
    remove.setAttribute("aria-label", messages.rule_delete);
    remove.addEventListener("click", () => discard(rule));
    const state = element("span", "state", messages[`rule_${rule.state}`]);
    state.dataset.state = rule.state;
    return element("li", "rule", name(rule), state, sentence(rule), remove);
  }

  function show() {
    const waiting = [...alerts.keys()].filter((seq) => seq > seen).length;
    const bell = document.getElementById("bell");
    if (bell) {
      bell.classList.toggle("rings", waiting > 0);
      bell.querySelector(".waiting").textContent = waiting > 99 ? "99+" : waiting || "";
    }
    if (!panel.matches(":popover-open")) return;
    const newest = [...alerts.values()].sort((one, other) => other.seq - one.seq).slice(0, NEWEST);
    fill("alert-list", newest.map((one) => alertLine("li", one)), messages.no_alerts);
    if (rules) fill("alert-rules", rules.map(ruleLine), messages.no_rules);
  }

  function fill(id, lines, otherwise) {
    document.getElementById(id).replaceChildren(...(lines.length ? lines : [element("li", "none", otherwise)]));
  }

  function keep(one) {
    alerts.set(one.seq, one);
    const oldest = [...alerts.keys()].sort((a, b) => a - b);
    for (const seq of oldest.slice(0, -200)) alerts.delete(seq);
  }

  socket.on("alert", ({ seq, alert }) => {
    if (alerts.has(seq)) return; // replayed to a new connection
    const one = { ...alert, seq, raisedMs: alert.raised_ns / 1e6 };
    keep(one);
    const rule = rules && rules.find((each) => each.id === alert.rule);
    if (rule) rule.state = rule.repeat === "once" ? "done" : "tripped";
    if (panel.matches(":popover-open") && !document.hidden) acknowledge();
    else if (Date.now() - one.raisedMs < FRESH_MS) toast(one);
    show();
  });

  function toast(one) {
    const shown = alertLine("button", one);
    shown.type = "button";
    shown.classList.add("toast");
    shown.addEventListener("click", () => { shown.remove(); panel.showPopover(); });
    const all = document.getElementById("toasts");
    all.append(shown);
    while (all.children.length > TOASTS) all.firstChild.remove();
    setTimeout(() => shown.remove(), TOAST_MS);
  }

  function follow() {
    socket.timeout(10000).emit("subscribe", { id: "alerts", streams: [{ stream: "alerts" }] }, (late, answer) => {
      const again = late || (answer.error && answer.error.code < NO_RETRY);
      if (again && socket.connected) setTimeout(follow, ASK_AGAIN_MS * (1 + Math.random()));
    });
  }

  // What stands in the open panel has been seen.
  function acknowledge() {
    const newest = Math.max(0, ...alerts.keys());
    if (newest <= seen) return;
    socket.timeout(10000).emit("acknowledge", { id: "seen", seq: newest }, (late, answer) => {
      if (late || answer.error) return; // they come again, and are acknowledged when the panel is opened again
      seen = Math.max(seen, newest);
      show();
    });
  }

  async function ask(method, path, body) {
    const headers = body ? { "content-type": "application/json" } : {};
    const answer = await fetch(`/api/alerts${path}`, { method, headers, body: body && JSON.stringify(body) });
    if (answer.status === 401) alhambra.signIn();
    const found = await answer.json();
    if (!answer.ok) throw new Error(answer.status === 400 || answer.status === 429 ? found.error : messages.failed);
    return found;
  }

  async function attempt(act) {
    complaint.hidden = true;
    try {
      await act();
    } catch (error) {
      complaint.textContent = error instanceof TypeError ? messages.failed : error.message; // TypeError: no network
      complaint.hidden = false;
    }
    show();
  }

  const read = () => attempt(async () => {
    const [held, raised] = await Promise.all([ask("GET", "/rules"), ask("GET", `?limit=${NEWEST}`)]);
    rules = held;
    for (const one of raised) {
      if (!alerts.has(one.seq)) keep({ ...one, raisedMs: Date.parse(one.raisedAt) });
      if (one.acknowledgedAt) seen = known = Math.max(seen, one.seq);
    }
    acknowledge();
  });

  const discard = (rule) => attempt(async () => {
    await ask("DELETE", `/rules/${rule.id}`);
    rules = rules.filter((one) => one !== rule);
  });

  const set = () => attempt(async () => {
    const { kind, symbol, direction, threshold, again } = form.elements;
    const level = Number(threshold.value);
    const asked = {
      kind: kind.value.startsWith("stale") ? "stale" : kind.value,
      direction: direction.value,
      threshold: kind.value === "stale_share" ? level / 100 : level,
      repeat: again.checked ? "each_time" : "once",
    };
    if (OF_INSTRUMENTS.includes(kind.value)) asked.instrument = symbol.value.trim().toUpperCase();
    else asked.portfolio = portfolio();
    rules = [await ask("POST", "/rules", asked), ...(rules || [])];
    threshold.value = "";
  });

  function portfolio() {
    const [kind, id] = (connection.stream ? connection.stream.name : "").split(":");
    return kind === "portfolio" ? id : undefined;
  }

  // What can be asked depends on what is watched: a symbol or this portfolio, which unit, and above only.
  function adapt() {
    const { kind, symbol, direction } = form.elements;
    const ofPortfolio = form.querySelectorAll("optgroup")[1];
    ofPortfolio.disabled = !portfolio();
    if (ofPortfolio.disabled && !OF_INSTRUMENTS.includes(kind.value)) kind.value = "price";
    symbol.hidden = !OF_INSTRUMENTS.includes(kind.value);
    symbol.required = !symbol.hidden;
    const isStale = kind.value.startsWith("stale");
    direction.disabled = isStale;
    if (isStale) direction.value = "above";
    const row = connection.stream && connection.stream.rows.get(symbol.value.trim().toUpperCase());
    const currency = symbol.hidden ? connection.stream.totals.base_currency : row && row.currency;
    form.querySelector(".unit").textContent = UNITS[kind.value] || currency || "";
  }

  function offerSymbols() {
    const rows = portfolio() ? [...connection.stream.rows.values()] : [];
    const held = rows.filter((row) => row.asset_class !== "cash").map((row) => {
      const option = element("option", "");
      option.value = row.symbol;
      option.label = row.name;
      return option;
    });
    document.getElementById("alert-symbols").replaceChildren(...held);
  }

  panel.addEventListener("toggle", (event) => {
    const isOpen = event.newState === "open";
    document.getElementById("bell")?.setAttribute("aria-expanded", String(isOpen));
    known = seen;
    if (!isOpen) return;
    offerSymbols();
    adapt();
    document.getElementById("toasts").replaceChildren();
    show();
    if (rules === null) read();
    else acknowledge();
  });
  form.addEventListener("input", adapt);
  form.addEventListener("submit", (event) => { event.preventDefault(); set(); });
  socket.on("connect", follow);
  if (socket.connected) follow();

  // The head is drawn by the application, in its own time: then the browser is told that the bell opens the panel.
  setInterval(() => {
    const bell = document.getElementById("bell");
    if (!bell || bell.hasAttribute("popovertarget")) return;
    bell.setAttribute("popovertarget", "alerts");
    bell.setAttribute("aria-expanded", "false");
    show();
  }, 200);
})();
