// Keep the status page as of now: ask how everything is every five seconds, and say when nobody answers.
(() => {
  "use strict";
  const EVERY_MS = 5000;
  const LOOK_MS = 250;
  const { messages, locale } = alhambra;
  let asked = 0;

  function summarise(summary) {
    const line = document.getElementById("summary");
    line.dataset.level = summary;
    line.textContent = messages[`summary_${summary}`];
  }

  // A part that was not there when the page was built gets a line like the others, under its own name.
  function lineOf(list, name) {
    const known = [...list.children].find((line) => line.dataset.component === name);
    if (known || !list.firstElementChild) return known;
    const line = list.firstElementChild.cloneNode(true);
    line.dataset.component = name;
    line.querySelector(".name").textContent = name;
    list.append(line);
    return line;
  }

  function show(health) {
    summarise(health.summary);
    const list = document.getElementById("components");
    if (!list) return;
    const parts = { ...health.services, ...health.workers };
    for (const [name, part] of Object.entries(parts)) {
      const line = lineOf(list, name);
      if (!line) continue;
      line.dataset.level = part.level;
      line.querySelector(".level").textContent = messages[`level_${part.level}`];
      line.querySelector(".detail").textContent = part.detail;
    }
    for (const line of [...list.children]) if (!(line.dataset.component in parts)) line.remove();
    document.getElementById("as-of").textContent = new Date().toLocaleTimeString(locale);
  }

  async function ask() {
    try {
      const answer = await fetch("/api/health", { signal: AbortSignal.timeout(EVERY_MS) });
      const health = await answer.json();
      if (document.getElementById("status")) show(health);
    } catch {
      if (document.getElementById("summary")) summarise("failed"); // whoever cannot be asked is not well
    }
  }

  // Pages come and go without a load: look whether this one is there, and ask at once when it comes.
  function look() {
    const page = document.getElementById("status");
    if (!page || document.hidden) asked = 0;
    else if (Date.now() - asked >= EVERY_MS) {
      asked = Date.now();
      ask();
    }
  }

  setInterval(look, LOOK_MS);
})();
