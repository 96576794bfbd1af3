// Say of a book how many rise and fall, what they gained and lost, and who is best and worst.
(() => {
  "use strict";

  function breadth(totals) {
    const { portfolios, gainers, losers, best, worst } = totals;
    const unmoved = portfolios - gainers - losers;
    const whole = portfolios || 1;
    draw([gainers / whole, unmoved / whole, losers / whole], best, worst);
    return {
      unmoved,
      gainers_share: gainers / whole,
      losers_share: losers / whole,
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
