// Dark or light, before anything is painted: what was chosen on this machine, else dark.
(() => {
  "use strict";
  const kept = () => {
    try {
      return localStorage.getItem("scheme");
    } catch {
      return null; // storage may be forbidden; then the choice lasts as long as the page
    }
  };
  const root = document.documentElement;
  root.dataset.scheme = kept() === "light" ? "light" : "dark";
  document.addEventListener("click", (event) => {
    if (!event.target.closest || !event.target.closest("#colours")) return;
    root.dataset.scheme = root.dataset.scheme === "light" ? "dark" : "light";
    try {
      localStorage.setItem("scheme", root.dataset.scheme);
    } catch {
      // as above
    }
  });
})();
