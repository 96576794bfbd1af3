// Say of a book how many rise and fall, what they gained and lost, and who is best and worst.
(() => {
  "use strict";

  function breadth(rows) {
    const up = rows.filter((row) => row.day_pnl_reference > 0);
    const down = rows.filter((row) => row.day_pnl_reference < 0);
    const sum = (some) => some.reduce((total, row) => total + row.day_pnl_reference, 0);
    const byPercent = [...rows].sort((a, b) => b.day_pnl_pct - a.day_pnl_pct);
    const [best, worst] = [byPercent.at(0), byPercent.at(-1)];
    const whole = rows.length || 1;
    draw([up.length / whole, (rows.length - up.length - down.length) / whole, down.length / whole], best, worst);
    return {
      gainers: up.length,
      losers: down.length,
      unmoved: rows.length - up.length - down.length,
      gainers_share: up.length / whole,
      losers_share: down.length / whole,
      gained: sum(up),
      lost: sum(down),
      best: best && best.day_pnl_pct,
      worst: worst && worst.day_pnl_pct,
    };
  }

  function draw(shares, best, worst) {
    const bar = document.getElementById("breadth");
    if (!bar) return;
    shares.forEach((share, i) => { bar.children[i].style.flexGrow = share; });
    document.getElementById("best-name").textContent = best ? `${best.client} · ${best.name}` : "";
    document.getElementById("worst-name").textContent = worst ? `${worst.client} · ${worst.name}` : "";
  }

  window.alhambra.breadth = breadth;
})();
