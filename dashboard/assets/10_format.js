// Write numbers for people: the viewer's locale, Latin digits, the portfolio's currency.
window.alhambra = window.alhambra || {};
(() => {
  "use strict";
  const locale = document.documentElement.dataset.locale || "en-US";
  const messages = JSON.parse(document.getElementById("messages")?.textContent || "{}");
  const made = new Map();

  function intl(name, options) {
    const key = name + JSON.stringify(options);
    if (!made.has(key)) made.set(key, new Intl.NumberFormat(locale, { useGrouping: "always", ...options }));
    return made.get(key);
  }
  const signed = { signDisplay: "exceptZero" };
  const money = (currency, more) => intl("money", { style: "currency", currency, currencyDisplay: "narrowSymbol", ...more });
  const decimals = (least, most, more) =>
    intl("decimal", { minimumFractionDigits: least, maximumFractionDigits: most, ...more });

  function age(ns) {
    if (!ns) return "";
    const seconds = Math.max(0, Date.now() / 1000 - ns / 1e9);
    if (seconds < 60) return say("age_seconds", Math.floor(seconds));
    if (seconds < 3600) return say("age_minutes", Math.floor(seconds / 60));
    if (seconds < 86400) return say("age_hours", Math.floor(seconds / 3600));
    return say("age_days", Math.floor(seconds / 86400));
  }
  const say = (key, n) => (messages[key] || key).replace("{n}", n);

  const kinds = {
    amount: (value, currency) => money(currency, { maximumFractionDigits: 0 }).format(value),
    // whole units while they are short, else thousands and millions
    compact: (value, currency) =>
      money(currency, {
        maximumFractionDigits: Math.abs(value) < 1e5 ? 0 : 1,
        ...(Math.abs(value) < 1e5 ? {} : { notation: "compact" }),
        ...signed,
      }).format(value),
    percent: (value) => decimals(2, 2, signed).format(value) + "%",
    share: (value) => intl("share", { style: "percent", minimumFractionDigits: 1, maximumFractionDigits: 1 }).format(value),
    count: (value) => decimals(0, 0).format(value),
    quantity: (value) => decimals(0, 6).format(value),
    price: (value) => (Math.abs(value) < 10 ? decimals(4, 4) : decimals(2, 2)).format(value),
    age: (value) => age(value),
  };

  // An amount in two parts, so that the cents can be set smaller; null where the currency has none.
  function split(value, currency, withSign) {
    const parts = money(currency, withSign ? signed : {}).formatToParts(value);
    const at = parts.findIndex((part) => part.type === "decimal");
    const join = (some) => some.map((part) => part.value).join("");
    return at < 0 ? [join(parts), ""] : [join(parts.slice(0, at)), join(parts.slice(at))];
  }

  function cell(params, kind) {
    if (params.value === null || params.value === undefined) return "";
    if (kind === "money" || kind === "signed") {
      const digits = money(alhambra.currencyOf(params.data), {}).resolvedOptions().maximumFractionDigits;
      return decimals(digits, digits, kind === "signed" ? signed : {}).format(params.value);
    }
    return kinds[kind](params.value);
  }

  Object.assign(window.alhambra, { kinds, split, messages, age, locale });
  window.dashAgGridFunctions = Object.assign(window.dashAgGridFunctions || {}, {
    alhambraFormat: cell,
    // The bar of the largest position fills its cell.
    alhambraWeight: (params) => ({
      backgroundSize: `${Math.max(0, Math.min(1, (params.value || 0) / (alhambra.largestWeight || 1))) * 100}% 3px`,
    }),
  });
})();
